"""The verdict under a false-alarm budget: tests of a window's mean scores against those of a reference."""
