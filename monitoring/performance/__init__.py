"""How right predictions are, with the ground truth and estimated without it: pure functions over arrays."""
