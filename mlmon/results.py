"""What a comparison of a window with its reference finds: plain values, as they are stored and answered."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from mlmon.measures import Measure as Measure
from mlmon.measures import Method as Method
from mlmon.schema import FeatureKind


class ResultStatus(StrEnum):
    """Whether a result can be read as drift, and if not, why."""

    OK = "ok"
    INSUFFICIENT_DATA = "insufficient_data"
    CONSTANT = "constant"
    MISSING = "missing"
    TYPE_CHANGED = "type_changed"
    IDENTIFIER = "identifier"
    ERROR = "error"


class Channel(StrEnum):
    """What a hypothesis of the verdict is about."""

    DISTRIBUTION = "distribution"  # a feature's values
    MISSING_VALUES = "missing_values"  # a feature's share of missing values
    PREDICTION = "prediction"  # the model's answers


class VerdictStatus(StrEnum):
    """What the verdict says."""

    QUIET = "quiet"
    ALARM = "alarm"
    INSUFFICIENT_DATA = "insufficient_data"
    NOT_ASKED = "not_asked"  # the policy asks for thresholds only


class Badge(StrEnum):
    """What a reader of the verdict should know about the data behind it."""

    INDEPENDENCE_UNVERIFIED = "independence_unverified"  # the reference is too short to measure dependence in time
    BURSTY = "bursty"  # rows depend so much on their neighbours that longer windows are needed
    SMALL_REFERENCE = "small_reference"  # fewer than ten reference rows for each row of the window


class QualityEvent(StrEnum):
    """What is wrong with a column's data, whatever its distribution."""

    MISSING_VALUES = "missing_values"  # the share of missing values rose
    OUT_OF_RANGE = "out_of_range"  # values beyond the reference's smallest and largest
    UNSEEN_CATEGORIES = "unseen_categories"
    TYPE_CHANGED = "type_changed"
    BECAME_CONSTANT = "became_constant"
    COLUMN_MISSING = "column_missing"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Scores above which something has drifted.

    Attributes
    ----------
    feature
        For every feature that has none of its own.
    by_feature
        Own thresholds, by feature name.
    prediction
        For the Jensen-Shannon divergence of the predictions, natural log.
    """

    feature: float
    prediction: float
    by_feature: Mapping[str, float] = field(default_factory=dict)

    def of(self, feature_name: str) -> float:
        """Return the threshold of one feature."""
        return self.by_feature.get(feature_name, self.feature)


@dataclass(frozen=True, slots=True)
class Criteria:
    """What a comparison is asked for.

    Attributes
    ----------
    thresholds
        For the scores.
    methods
        By feature name, what its score is; others: KS of numbers, Cohen's w of levels.
    unmonitored
        Features that are left out.
    gives_verdict
        Whether there is a verdict, or scores and thresholds only.
    false_alarm_budget
        A: the verdict raises at most one false alarm in so many checks.
    extra_window_rows
        Lengths of further windows with the same end that the verdict looks at, beside the whole one.
    monitors_correlation, monitors_joint_distribution
        Whether pairs of features, and all features together (by a classifier), are compared too; information only.
    """

    thresholds: Thresholds
    methods: Mapping[str, Method] = field(default_factory=dict)
    unmonitored: frozenset[str] = frozenset()
    gives_verdict: bool = True
    false_alarm_budget: int = 10_000
    extra_window_rows: tuple[int, ...] = ()
    monitors_correlation: bool = False
    monitors_joint_distribution: bool = False


QUANTILE_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, slots=True)
class Distribution:
    """Two samples counted in the same bins or levels, to be drawn over each other.

    Attributes
    ----------
    labels
        Names of k levels; empty for numbers.
    edges
        k + 1 edges of the bins, the outer ones the smallest and largest finite value of both; empty for levels.
    reference, current
        Counts, k of each.
    reference_quantiles, current_quantiles
        Of the finite values, at `QUANTILE_LEVELS`; empty for levels, and in checks of releases that kept none.
    """

    labels: tuple[str, ...]
    edges: tuple[float, ...]
    reference: tuple[int, ...]
    current: tuple[int, ...]
    reference_quantiles: tuple[float, ...] = ()
    current_quantiles: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class HypothesisResult:
    """One question of the verdict and its answer.

    Attributes
    ----------
    channel, name
        What it is about; the feature's name, "" for the predictions.
    p_value
        Corrected for dependence in time; of the most telling window where there are several.
    effect
        Debiased Cohen's w; for missing values the difference of their shares, current less reference.
    passes_gate
        Whether the effect is large enough to matter.
    window_rows
        Length of the window that it comes from.
    dispersion
        phi, at least 1: how many times the counts of windows vary more than those of independent rows.
    chi2_statistic, degrees_of_freedom
        Of levels or deciles, before division by phi; None for missing values tested by Fisher's test.
    smallest_detectable
        The smallest effect that this window could have shown at the verdict's level.
    is_alarm
        p-value at most the verdict's level, and the gate passed.
    is_listed
        Among those to look at after an alarm: by Benjamini and Hochberg at .05, and the gate passed.
    """

    channel: Channel
    name: str
    p_value: float
    effect: float
    passes_gate: bool
    window_rows: int
    dispersion: float = 1.0
    chi2_statistic: float | None = None
    degrees_of_freedom: int | None = None
    smallest_detectable: float | None = None
    is_alarm: bool = False
    is_listed: bool = False

    @property
    def key(self) -> str:
        """Identifies the hypothesis among those of its model, also between checks."""
        return f"{self.channel}:{self.name}"


@dataclass(frozen=True, slots=True)
class QualityFinding:
    """Something wrong with a column's data.

    Attributes
    ----------
    count, share
        Rows of the window that it concerns, and their share.
    is_notable
        Whether it is more than a stray row: large enough a share, and not what the reference itself has.
    """

    event: QualityEvent
    count: int
    share: float
    detail: str
    is_notable: bool


@dataclass(frozen=True, slots=True)
class FeatureResult:
    """One feature of the window against the reference.

    Attributes
    ----------
    method, score
        What the score is; None where nothing could be compared.
    is_drifted
        score > threshold; never with a status other than ok.
    statistic, p_value
        The KS distance of a numeric feature, X-squared of a categorical one, and its p-value, as if rows were
        independent of each other. The verdict's p-value is that of `verdict`.
    reference_mean, current_mean
        Of the finite values; None for a categorical feature.
    n_reference, n_current
        Values that are not missing.
    measures
        By the method's name; empty where they were not asked for.
    distribution
        For drawing; None where it was not asked for.
    verdict, missing_verdict
        The feature's hypotheses; None without a verdict, or where there is nothing to test.
    quality
        What is wrong with the data.
    """

    name: str
    kind: FeatureKind
    threshold: float
    status: ResultStatus = ResultStatus.OK
    status_detail: str = ""
    method: Method = Method.NONE
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
    quality: tuple[QualityFinding, ...] = ()

    @property
    def strength(self) -> float:
        """How many times its threshold the score is; -1 without a score."""
        if self.score is None:
            return -1.0
        return self.score / max(self.threshold, 1e-9)

    @property
    def is_confirmed(self) -> bool:
        """Whether the verdict's alarm lists this feature, for its values or for its missing ones."""
        return any(found is not None and found.is_listed for found in (self.verdict, self.missing_verdict))


@dataclass(frozen=True, slots=True)
class PredictionResult:
    """The predictions of the window against those of the reference.

    Attributes
    ----------
    js_divergence
        Jensen-Shannon divergence of the two distributions, natural log.
    chi2_statistic, p_value
        Two-sample chi-squared of their counts (small classes pooled).
    reference_dist, current_dist
        Shares that sum to 1, by class or by bin of the reference's deciles.
    verdict
        The predictions' hypothesis; None without a verdict.
    """

    threshold: float
    status: ResultStatus = ResultStatus.OK
    js_divergence: float | None = None
    chi2_statistic: float | None = None
    p_value: float | None = None
    is_drifted: bool = False
    reference_dist: Mapping[str, float] = field(default_factory=dict)
    current_dist: Mapping[str, float] = field(default_factory=dict)
    verdict: HypothesisResult | None = None


@dataclass(frozen=True, slots=True)
class CorrelationChange:
    """A pair of numeric features whose rank correlation changed; p-value Bonferroni-corrected over all pairs."""

    first: str
    second: str
    reference_correlation: float
    current_correlation: float
    p_value: float


@dataclass(frozen=True, slots=True)
class JointChange:
    """How well a classifier tells the window's rows from the reference's.

    Attributes
    ----------
    auc
        Area under the ROC curve on held-out rows; .5 where they cannot be told apart.
    p_value
        One-sided, of the Mann-Whitney test of that area against .5.
    telling_features
        Those whose shuffling costs the classifier most, strongest first.
    """

    auc: float
    p_value: float
    telling_features: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer under a false-alarm budget: at most one false alarm in A checks, however many features are monitored.

    Attributes
    ----------
    detail
        Why there is none, in words; else "".
    alpha
        The p-value from which on a hypothesis is an alarm: 1 / (A * hypotheses).
    hypotheses
        How many there are, over all windows.
    smallest_p_value
        Of all hypotheses, gate or not; None without any.
    window_rows
        Lengths of the windows, the whole one first.
    """

    status: VerdictStatus
    detail: str = ""
    false_alarm_budget: int = 0
    alpha: float = 0.0
    hypotheses: int = 0
    smallest_p_value: float | None = None
    window_rows: tuple[int, ...] = ()
    badges: tuple[Badge, ...] = ()


NO_VERDICT = Verdict(status=VerdictStatus.NOT_ASKED)


@dataclass(frozen=True, slots=True)
class ComparisonResult:
    """One window against its reference, with a result for every monitored feature in the reference's order.

    Attributes
    ----------
    correlation_changes
        Pairs with a p-value below 1e-3, the smallest first; None where pairs were not compared.
    joint_change
        None where no classifier was asked for, or there were too few rows.
    """

    n_reference: int
    n_current: int
    features: tuple[FeatureResult, ...]
    prediction: PredictionResult
    verdict: Verdict = NO_VERDICT
    correlation_changes: tuple[CorrelationChange, ...] | None = None
    joint_change: JointChange | None = None

    @property
    def drifted_features(self) -> tuple[FeatureResult, ...]:
        """Features that have drifted, strongest first."""
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
        """Every hypothesis of the verdict, in no particular order."""
        of_features = (
            found for feature in self.features for found in (feature.verdict, feature.missing_verdict) if found
        )
        return (*of_features, *((self.prediction.verdict,) if self.prediction.verdict else ()))

    @property
    def listed_hypotheses(self) -> tuple[HypothesisResult, ...]:
        """What an alarm tells to look at, strongest first: by p-value, then by effect."""
        listed = (found for found in self.hypotheses if found.is_listed)
        return tuple(sorted(listed, key=lambda found: (found.p_value, -abs(found.effect), found.key)))
