"""The budget of a verdict, and how large a change must be to matter."""

PARTS = 4  # features, missing values, predictions and correlations have a quarter of the budget each
SMALLEST_EFFECT = 0.15  # standard deviations of the score in the reference; of X-squared, Cohen's w
SMALLEST_MISSING_DIFFERENCE = 0.02
