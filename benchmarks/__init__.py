"""Measurements of what mlmon promises: ``python -m benchmarks.NAME``. See docs/benchmarks.md."""
