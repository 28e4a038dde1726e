"""What a comparison of a window with its reference finds: plain values, as they are stored and answered."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from models_registry.schema import FeatureKind


class ResultStatus(StrEnum):
    """Whether a result can be read as drift, and if not, why."""

    OK = "ok"
    INSUFFICIENT_DATA = "insufficient_data"
    CONSTANT = "constant"
    MISSING = "missing"
    TYPE_CHANGED = "type_changed"
    IDENTIFIER = "identifier"
    ERROR = "error"


class Method(StrEnum):
    """How a feature was compared: what its score and its statistic are."""

    KOLMOGOROV_SMIRNOV = "kolmogorov_smirnov"  # score and statistic: D
    CHI_SQUARED = "chi_squared"  # statistic: X-squared of the pooled levels; score: their debiased Cohen's w
    NONE = ""


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
class FeatureResult:
    """One feature of the window against the reference.

    Attributes
    ----------
    score
        KS distance of a numeric feature (0 to 1), debiased Cohen's w of a categorical one (from 0 on); None where
        nothing could be compared.
    is_drifted
        score > threshold; never with a status other than ok.
    reference_mean, current_mean
        Of the finite values; None for a categorical feature.
    n_reference, n_current
        Values that are not missing.
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

    @property
    def strength(self) -> float:
        """How many times its threshold the score is; -1 without a score."""
        if self.score is None:
            return -1.0
        return self.score / max(self.threshold, 1e-9)


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
    """

    threshold: float
    status: ResultStatus = ResultStatus.OK
    js_divergence: float | None = None
    chi2_statistic: float | None = None
    p_value: float | None = None
    is_drifted: bool = False
    reference_dist: Mapping[str, float] = field(default_factory=dict)
    current_dist: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ComparisonResult:
    """One window against its reference, with a result for every feature in the reference's order."""

    n_reference: int
    n_current: int
    features: tuple[FeatureResult, ...]
    prediction: PredictionResult

    @property
    def drifted_features(self) -> tuple[FeatureResult, ...]:
        """Features that have drifted, strongest first."""
        return tuple(feature for feature in self.ranked_features if feature.is_drifted)

    @property
    def ranked_features(self) -> tuple[FeatureResult, ...]:
        """All features, strongest first by score over threshold."""
        return tuple(sorted(self.features, key=lambda feature: (-feature.strength, feature.name)))

    @property
    def is_drifted(self) -> bool:
        """Whether a feature or the predictions have drifted."""
        return self.prediction.is_drifted or any(feature.is_drifted for feature in self.features)
