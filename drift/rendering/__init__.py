"""What the admin shows about checks and incidents besides a result, which `mlmon.report` shows."""
