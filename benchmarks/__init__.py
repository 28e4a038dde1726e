"""Measurements of what mlmon claims: ``python -m benchmarks.NAME``. See docs/benchmarks.md."""
