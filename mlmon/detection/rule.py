"""The budget of a verdict: which p-values are an alarm, and how large a change must be to matter."""

PARTS = 4  # features, missing values, predictions and correlations have a quarter of the budget each
NUMERIC_TESTS = 4  # location, scale, shape and tails
CATEGORICAL_TESTS = 2  # the contingency table, and the category that changed most
SMALLEST_EFFECT = 0.15  # standard deviations of the score in the reference; of X-squared, Cohen's w
SMALLEST_MISSING_DIFFERENCE = 0.02


def largest_p_value(false_alarm_budget: int, *, tests: int, windows: int) -> float:
    """Return the largest p-value that is an alarm.

    By Bonferroni's inequality, at most one check in `false_alarm_budget` then raises a false alarm, however its tests
    depend on each other.

    Parameters
    ----------
    false_alarm_budget
        A: at most one false alarm in A checks.
    tests
        The number of tests of this part in one window: 4 or 2 for each feature, 1 for the missing values of each
        feature, 1 for each pair.
    windows
        The number of windows that are compared.

    Examples
    --------
    >>> largest_p_value(10_000, tests=40, windows=2)
    3.125e-07
    """
    return 1.0 / (false_alarm_budget * PARTS * windows * tests)
