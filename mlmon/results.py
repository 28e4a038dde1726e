"""What a comparison of a window with its reference finds.

These frozen dataclasses are the one form of a result: they are computed, stored, served and shown. A docstring's
attributes are also the descriptions of the fields in the API documentation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from mlmon.measures import Measure as Measure
from mlmon.measures import Method as Method
from mlmon.schema import FeatureKind


class ResultStatus(StrEnum):
    """Whether a feature or the predictions were compared and, if not, why.

    `INSUFFICIENT_DATA` and `CONSTANT` are compared too: there is no score or it is 0, but missing values are judged.
    """

    OK = "ok"
    INSUFFICIENT_DATA = "insufficient_data"
    CONSTANT = "constant"
    MISSING_COLUMN = "missing_column"
    TYPE_CHANGED = "type_changed"
    AMBIGUOUS_DATES = "ambiguous_dates"  # day and month cannot be told apart
    NO_REFERENCE = "no_reference"  # the reference has no predictions
    ERROR = "error"
    IDENTIFIER = "identifier"  # left out on purpose


NOT_COMPARED = (
    ResultStatus.MISSING_COLUMN,
    ResultStatus.TYPE_CHANGED,
    ResultStatus.AMBIGUOUS_DATES,
    ResultStatus.NO_REFERENCE,
    ResultStatus.ERROR,
)
NOT_COMPARED_PREDICTIONS = (ResultStatus.TYPE_CHANGED, ResultStatus.NO_REFERENCE, ResultStatus.ERROR)  # given, at least


class LeftOutReason(StrEnum):
    """Why a column is left out of a comparison on purpose."""

    IDENTIFIER = "identifier"  # its values identify rows or count them
    INDEX_COLUMN = "index_column"  # it is the index of a data frame
    IGNORED = "ignored"  # the user asked for it
    NOT_IN_REFERENCE = "not_in_reference"


class Channel(StrEnum):
    """What a hypothesis of the verdict is about."""

    DISTRIBUTION = "distribution"  # a feature's values
    MISSING_VALUES = "missing_values"  # a feature's share of missing values
    PREDICTION = "prediction"
    CORRELATION = "correlation"  # between two numeric features


class Test(StrEnum):
    """Which kind of change a test of the verdict sees."""

    __test__ = False  # for pytest

    LOCATION = "location"  # values are higher or lower
    SCALE = "scale"  # values are further apart or closer together
    SHAPE = "shape"  # the shares of values between deciles
    TAILS = "tails"  # the share of extreme values
    CATEGORIES = "categories"  # the shares of all categories
    CATEGORY = "category"  # the share of one category
    INFINITIES = "infinities"  # the share of infinities
    MISSING = "missing"  # the share of missing values
    CORRELATION = "correlation"


class VerdictStatus(StrEnum):
    """What the verdict says."""

    QUIET = "quiet"
    ALARM = "alarm"
    INCOMPLETE = "incomplete"  # no alarm, but not everything could be compared
    INSUFFICIENT_DATA = "insufficient_data"
    NOT_ASKED = "not_asked"  # the policy asks for thresholds only


class Badge(StrEnum):
    """A limit of the data behind a verdict."""

    INDEPENDENCE_UNVERIFIED = "independence_unverified"  # the reference is too short to measure dependence in time
    BURSTY = "bursty"  # rows depend so much on their neighbours that longer windows are needed
    SMALL_REFERENCE = "small_reference"  # fewer than ten reference rows for each row of the window
    INSUFFICIENT_REFERENCE = "insufficient_reference"  # too short for the dependence of some features


class QualityEvent(StrEnum):
    """A problem of a column's data, apart from its distribution."""

    MISSING_VALUES = "missing_values"  # the share of missing values rose
    OUT_OF_RANGE = "out_of_range"  # values below the reference's smallest or above its largest
    UNSEEN_CATEGORIES = "unseen_categories"
    TYPE_CHANGED = "type_changed"
    BECAME_CONSTANT = "became_constant"
    COLUMN_MISSING = "column_missing"


QUANTILE_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, slots=True)
class Distribution:
    """Two samples counted in the same bins or categories, to be drawn over each other.

    Attributes
    ----------
    labels
        Names of k categories. Empty for numbers.
    edges
        k + 1 edges of the bins, from the smallest to the largest finite value of both samples. Empty for categories.
    reference, current
        k counts each.
    reference_quantiles, current_quantiles
        Quantiles of the finite values at `QUANTILE_LEVELS`. Empty for categories.
    """

    labels: tuple[str, ...]
    edges: tuple[float, ...]
    reference: tuple[int, ...]
    current: tuple[int, ...]
    reference_quantiles: tuple[float, ...] = ()
    current_quantiles: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class HypothesisResult:
    """The test of one hypothesis of the verdict.

    Attributes
    ----------
    channel
        What the hypothesis is about: a feature's values (distribution), its share of missing values, or the
        predictions.
    name
        The feature. Empty for the predictions.
    p_value
        The smallest p-value of all tests and windows, times their number, corrected for dependence in time.
    effect
        How large the change is, by the test that saw it: for location, scale, tails and one category, in standard
        deviations of the score in the reference; for shape and categories Cohen's w; for missing values the share in
        the window minus the share in the reference; for a correlation the difference of Fisher's z.
    passes_gate
        Whether the effect is large enough to matter.
    window_rows
        The length of the window that the p-value comes from.
    dispersion
        phi: how many times the counts of windows vary more than those of independent rows, at least 1.
    is_alarm
        Whether the p-value is at most `alpha` and the effect passes the gate.
    is_listed
        Whether an alarm lists it: by Benjamini and Hochberg at .05, if the effect passes the gate.
    test
        The test that saw the change. Null in checks by the first edition of the rule.
    other_name
        The second feature of a correlation.
    alpha
        The largest p-value that is an alarm.
    gate
        The smallest effect that matters.
    degrees_of_dispersion
        nu: how sure phi is. Null if it is an upper limit.
    season
        The phases by which the window was compared: hour_of_day, weekday or hour_of_week. Empty without.
    outcome
        What the test counted or measured, such as "above 412" or a category.
    reference_value, current_value
        The figures of both samples: shares of the outcome, or medians, or correlations.
    """

    channel: Channel
    name: str
    p_value: float
    effect: float
    passes_gate: bool
    window_rows: int
    dispersion: float = 1.0
    is_alarm: bool = False
    is_listed: bool = False
    test: Test | None = None
    other_name: str = ""
    alpha: float = 0.0
    gate: float = 0.15
    degrees_of_dispersion: float | None = None
    season: str = ""
    outcome: str = ""
    reference_value: float | None = None
    current_value: float | None = None

    @property
    def key(self) -> str:
        """Identifies the hypothesis among those of its model, also in other checks."""
        return f"{self.channel}:{self.name}" + (f":{self.other_name}" if self.other_name else "")

    @property
    def subject(self) -> str:
        """What the hypothesis is about: the feature's name, both names of a pair, or "predictions"."""
        if self.channel is Channel.PREDICTION:
            return "predictions"
        return f"{self.name} and {self.other_name}" if self.other_name else self.name


@dataclass(frozen=True, slots=True)
class QualityFinding:
    """A problem of a column's data.

    Attributes
    ----------
    event
        The kind of problem.
    count
        How many rows of the window have it.
    share
        The share of the window's rows that have it.
    detail
        The values concerned, if they can be named.
    is_notable
        Whether it concerns more than a stray row, and the reference does not have it too.
    """

    event: QualityEvent
    count: int
    share: float
    detail: str
    is_notable: bool


@dataclass(frozen=True, slots=True)
class FeatureResult:
    """One feature of the window compared with the reference.

    Attributes
    ----------
    name
        The feature.
    kind
        Whether the values are numbers or categories.
    threshold
        The score above which the feature has drifted.
    status
        Whether the feature was compared and, if not, why.
    status_detail
        The status in words.
    method
        What the score is. Null if nothing was compared, or if the score is the rise in missing values.
    score
        How far the window is from the reference, by the method. If the window has too few values for that, how much the
        share of missing values rose, if by more than the threshold. Null otherwise.
    is_drifted
        Whether the score is above the threshold.
    statistic
        The KS statistic of a numeric feature, X-squared of a categorical one.
    p_value
        The p-value of the statistic if rows were independent. The verdict has its own p-value.
    reference_mean, current_mean
        The mean of the finite values. Null for a categorical feature.
    n_reference
        Reference rows in which the feature has a value.
    n_current
        Window rows in which the feature has a value.
    n_missing_reference
        Reference rows in which the feature is missing.
    n_missing_current
        Window rows in which the feature is missing.
    measures
        All measures, by method. Empty if they were not asked for.
    distribution
        Both samples, for drawing. None if it was not asked for.
    verdict
        The hypothesis about the values. Null without a verdict, or if there was nothing to test.
    missing_verdict
        The hypothesis about the share of missing values.
    no_verdict_reason
        Why the verdict does not judge the values although they were compared. Empty if it does.
    smallest_visible
        By test: the smallest effect that this window could have shown as an alarm. Empty if it was not asked for.
    quality
        Problems of the data.
    """

    name: str
    kind: FeatureKind
    threshold: float
    status: ResultStatus = ResultStatus.OK
    status_detail: str = ""
    method: Method | None = None
    score: float | None = None
    is_drifted: bool = False
    statistic: float | None = None
    p_value: float | None = None
    reference_mean: float | None = None
    current_mean: float | None = None
    n_reference: int = 0
    n_current: int = 0
    n_missing_reference: int = 0
    n_missing_current: int = 0
    measures: Mapping[Method, Measure] = field(default_factory=dict)
    distribution: Distribution | None = None
    verdict: HypothesisResult | None = None
    missing_verdict: HypothesisResult | None = None
    no_verdict_reason: str = ""
    smallest_visible: Mapping[Test, float] = field(default_factory=dict)
    quality: tuple[QualityFinding, ...] = ()

    @property
    def strength(self) -> float:
        """The score divided by its threshold; -1 without a score."""
        if self.score is None:
            return -1.0
        return self.score / max(self.threshold, 1e-9)

    @property
    def hypotheses(self) -> tuple[HypothesisResult, ...]:
        """The hypotheses about the feature: its values, then its missing values."""
        return tuple(found for found in (self.verdict, self.missing_verdict) if found is not None)

    @property
    def is_confirmed(self) -> bool:
        """Whether the verdict's alarm lists this feature."""
        return any(found.is_listed for found in self.hypotheses)


@dataclass(frozen=True, slots=True)
class PredictionResult:
    """The predictions of the window compared with those of the reference.

    Attributes
    ----------
    threshold
        The divergence above which the predictions have drifted.
    status
        Whether the predictions were compared and, if not, why.
    status_detail
        The status in words.
    js_divergence
        The Jensen-Shannon divergence of the two distributions, natural log.
    chi2_statistic
        X-squared of the counts. Classes that expect fewer than 20 rows are pooled.
    p_value
        The p-value of X-squared if rows were independent.
    is_drifted
        Whether the divergence is above the threshold.
    reference_dist, current_dist
        Shares that sum to 1, by class or by decile of the reference.
    verdict
        The hypothesis about the predictions. Null without a verdict.
    no_verdict_reason
        Why the verdict does not judge the predictions although they were compared. Empty if it does.
    """

    threshold: float
    status: ResultStatus = ResultStatus.OK
    status_detail: str = ""
    js_divergence: float | None = None
    chi2_statistic: float | None = None
    p_value: float | None = None
    is_drifted: bool = False
    reference_dist: Mapping[str, float] = field(default_factory=dict)
    current_dist: Mapping[str, float] = field(default_factory=dict)
    verdict: HypothesisResult | None = None
    no_verdict_reason: str = ""


@dataclass(frozen=True, slots=True)
class NotCompared:
    """A feature of the reference that could not be compared, or the predictions.

    Attributes
    ----------
    feature
        Its name, or "predictions".
    reason
        One of `NOT_COMPARED`.
    detail
        The reason in words.
    """

    feature: str
    reason: ResultStatus
    detail: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A column that is left out of a comparison on purpose.

    Attributes
    ----------
    feature
        The name of the column.
    reason
        Why it is left out.
    detail
        The reason in words.
    """

    feature: str
    reason: LeftOutReason
    detail: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of the reference a comparison covers. Every feature of the reference is in exactly one of the three.

    Attributes
    ----------
    compared
        How many features were compared.
    not_compared
        The features that could not be compared, and the predictions if they could not.
    left_out
        Columns that were left out on purpose, those included that only the window has.
    """

    compared: int
    not_compared: tuple[NotCompared, ...]
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True, slots=True)
class JointChange:
    """How well a classifier separates the window's rows from the reference's.

    Attributes
    ----------
    auc
        The area under the ROC curve on held-out rows. At .5 the classifier cannot separate them.
    p_value
        The one-sided p-value of the Mann-Whitney test of that area against .5.
    telling_features
        The features that matter most to the classifier, strongest first.
    """

    auc: float
    p_value: float
    telling_features: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether there is drift, with at most one false alarm in A checks, however many features are monitored.

    Attributes
    ----------
    status
        Alarm, quiet, or why there is no verdict.
    detail
        Why there is no verdict or why it is incomplete, in words. Empty if it is complete.
    false_alarm_budget
        A: the verdict raises at most one false alarm in A checks.
    closest
        What came closest to an alarm, relative to its alpha, whether or not the effect passes the gate. Empty if
        nothing was tested.
    alpha
        The largest p-value of it that is an alarm: 1 / (4 A d), where features, missing values, predictions and
        correlations have a quarter of the budget each, and d is the number of hypotheses of its quarter.
    smallest_p_value
        Its p-value.
    hypotheses
        How many tests were made, over all windows.
    window_rows
        The lengths of the windows, the main one first.
    badges
        Limits of the data behind the verdict.
    """

    status: VerdictStatus
    detail: str = ""
    false_alarm_budget: int = 0
    closest: str = ""
    alpha: float = 0.0
    smallest_p_value: float | None = None
    hypotheses: int = 0
    window_rows: tuple[int, ...] = ()
    badges: tuple[Badge, ...] = ()


NO_VERDICT = Verdict(status=VerdictStatus.NOT_ASKED)


@dataclass(frozen=True, slots=True)
class ComparisonResult:
    """One window compared with its reference: a result for every monitored feature, in the reference's order.

    Attributes
    ----------
    n_reference, n_current
        Rows of the reference and of the window.
    features
        The features' results.
    prediction
        The predictions' result.
    verdict
        The verdict on all of them.
    correlations
        The hypotheses about pairs of numeric features with a p-value below .01, the smallest first, at most 100. Null
        if pairs were not compared.
    joint_change
        How well a classifier separates window and reference. Null if it was not asked for, or with too few rows.
    left_out
        Columns that have no feature result because they are left out on purpose.
    """

    n_reference: int
    n_current: int
    features: tuple[FeatureResult, ...]
    prediction: PredictionResult
    verdict: Verdict = NO_VERDICT
    correlations: tuple[HypothesisResult, ...] | None = None
    joint_change: JointChange | None = None
    left_out: tuple[LeftOut, ...] = ()

    @property
    def coverage(self) -> Coverage:
        """How much of the reference was compared."""
        not_compared = tuple(
            NotCompared(feature.name, feature.status, feature.status_detail)
            for feature in self.features
            if feature.status in NOT_COMPARED
        )
        if self.prediction.status in NOT_COMPARED_PREDICTIONS:
            not_compared += (NotCompared("predictions", self.prediction.status, self.prediction.status_detail),)
        identifiers = tuple(
            LeftOut(feature.name, LeftOutReason.IDENTIFIER, feature.status_detail)
            for feature in self.features
            if feature.status is ResultStatus.IDENTIFIER
        )
        without = {*NOT_COMPARED, ResultStatus.IDENTIFIER}
        compared = sum(feature.status not in without for feature in self.features)
        return Coverage(compared, not_compared, (*identifiers, *self.left_out))

    @property
    def is_anything_compared(self) -> bool:
        """Whether at least one feature or the predictions were compared."""
        return self.coverage.compared > 0 or self.prediction.status not in NOT_COMPARED

    @property
    def drifted_features(self) -> tuple[FeatureResult, ...]:
        """The features that have drifted, strongest first."""
        drifted = (feature for feature in self.features if feature.is_drifted)
        return tuple(sorted(drifted, key=lambda feature: (-feature.strength, feature.name)))

    @property
    def ranked_features(self) -> tuple[FeatureResult, ...]:
        """All features, strongest first by score over threshold."""
        return tuple(sorted(self.features, key=lambda feature: (-feature.strength, feature.name)))

    @property
    def is_drifted(self) -> bool:
        """Whether a feature or the predictions have drifted."""
        return self.prediction.is_drifted or any(feature.is_drifted for feature in self.features)

    @property
    def hypotheses(self) -> tuple[HypothesisResult, ...]:
        """Every hypothesis of the verdict, in no particular order; of pairs those in `correlations`."""
        of_features = (found for feature in self.features for found in feature.hypotheses)
        of_predictions = (self.prediction.verdict,) if self.prediction.verdict else ()
        return (*of_features, *of_predictions, *(self.correlations or ()))

    @property
    def listed_hypotheses(self) -> tuple[HypothesisResult, ...]:
        """The hypotheses that an alarm lists, strongest first: by p-value, then by effect; correlations come last."""
        listed = (found for found in self.hypotheses if found.is_listed)
        # A step of the mean changes correlations too while the window has both sides of it: features come first.
        return tuple(
            sorted(
                listed,
                key=lambda found: (
                    found.channel is Channel.CORRELATION,
                    found.p_value,
                    -abs(found.effect),
                    found.key,
                ),
            )
        )
