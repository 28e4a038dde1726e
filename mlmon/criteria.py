"""What a comparison is asked for: thresholds, methods, windows and the budget of the verdict."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mlmon.measures import Method


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Scores above which a feature or the predictions have drifted.

    Attributes
    ----------
    feature
        The threshold of every feature without one of its own.
    by_feature
        Thresholds of single features, by feature name.
    prediction
        The threshold of the predictions' Jensen-Shannon divergence, natural log.
    """

    feature: float
    prediction: float
    by_feature: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Criteria:
    """What to compare, and what counts as drift.

    Attributes
    ----------
    methods
        What the score of single features is, by feature name. The default is KS for numbers and Cohen's w for
        categories.
    unmonitored
        Features to leave out.
    gives_verdict
        Whether to give a verdict, or scores and thresholds only.
    false_alarm_budget
        A: the verdict raises at most one false alarm in A checks.
    extra_window_rows
        Lengths of further windows with the same end that the verdict also tests.
    is_seasonal
        Whether the verdict compares the rows of each hour of the day, or weekday, with those of the reference, where
        that explains something.
    monitors_correlation
        Whether the verdict compares pairs of numeric features.
    monitors_joint_distribution
        Whether to compare all features together, by a classifier, which is information only.
    """

    thresholds: Thresholds
    methods: Mapping[str, Method] = field(default_factory=dict)
    unmonitored: frozenset[str] = frozenset()
    gives_verdict: bool = True
    false_alarm_budget: int = 10_000
    extra_window_rows: tuple[int, ...] = ()
    is_seasonal: bool = False
    monitors_correlation: bool = True
    monitors_joint_distribution: bool = False
