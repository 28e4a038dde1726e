"""A comparison's features and predictions as lines of a page: every figure a text, every picture a shape."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from mlmon.figures import number_text, share_text
from mlmon.measures import MEASURES
from mlmon.report.pictures import Picture, levels_of, picture_of
from mlmon.results import (
    ComparisonResult,
    FeatureResult,
    HypothesisResult,
    PredictionResult,
    QualityFinding,
    ResultStatus,
    VerdictStatus,
)
from mlmon.sentences import (
    STATUS_TEXTS,
    evidence_of,
    found_by,
    p_value_text,
    quality_sentence,
    sentence_of,
    smallest_change_of,
    subject_of,
)

NOTHING = "-"


class Tone(StrEnum):
    """How a line stands out."""

    ALARM = "alarm"  # the verdict's
    WARNING = "warning"  # a threshold's, or data that could not be compared
    PLAIN = "plain"
    GOOD = "good"


@dataclass(frozen=True, slots=True)
class Tag:
    """One or two words of a state, and what they mean."""

    text: str
    tone: Tone
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer of the verdict: what changed, and the figures behind it."""

    subject: str
    sentence: str
    evidence: str
    window: str
    smallest_change: str
    is_listed: bool


@dataclass(frozen=True, slots=True)
class Figure:
    """A number with its name, how it was computed here, and what it means."""

    name: str
    value: str
    parameters: str = ""
    definition: str = ""
    is_score: bool = False


@dataclass(frozen=True, slots=True)
class FeatureView:
    """One feature.

    Attributes
    ----------
    what
        What changed, where something did.
    score, threshold, p_value, effect, missing
        Texts; a dash where there is none.
    score_percent, threshold_percent
        Of the longest bar of all features.
    """

    name: str
    kind: str
    tag: Tag
    what: str
    score: str
    score_name: str
    threshold: str
    score_percent: float
    threshold_percent: float
    p_value: str
    effect: str
    missing: str
    status_detail: str
    picture: Picture | None
    findings: tuple[Finding, ...]
    figures: tuple[Figure, ...]
    measures: tuple[Figure, ...]
    quality: tuple[str, ...]
    is_open: bool


@dataclass(frozen=True, slots=True)
class PredictionView:
    """The predictions."""

    tag: Tag
    what: str
    figures: tuple[Figure, ...]
    picture: Picture | None
    findings: tuple[Finding, ...]


def tone_of(result: ComparisonResult) -> Tone:
    """Return how a comparison as a whole stands out."""
    if result.verdict.status is VerdictStatus.ALARM:
        return Tone.ALARM
    if result.is_drifted:
        return Tone.WARNING
    return Tone.GOOD if result.verdict.status is not VerdictStatus.INSUFFICIENT_DATA else Tone.PLAIN


def feature_views(result: ComparisonResult) -> list[FeatureView]:
    """Return the features: those of an alarm first, strongest first, then the others by score over threshold."""
    ranked = sorted(result.ranked_features, key=lambda feature: _alarm_rank(result, feature))
    longest = max((max(feature.score or 0.0, feature.threshold) for feature in ranked), default=0.0) or 1.0
    return [_feature_view(feature, longest) for feature in ranked]


def listed_findings(result: ComparisonResult) -> list[Finding]:
    """Return what an alarm tells to look at, strongest first."""
    return [finding_of(found, found_by(result, found)) for found in result.listed_hypotheses]


def prediction_view(prediction: PredictionResult) -> PredictionView:
    """Return the predictions as they are shown."""
    labels = tuple(prediction.reference_dist)
    shares = (
        np.array([distribution.get(label, 0.0) for label in labels])
        for distribution in (prediction.reference_dist, prediction.current_dist)
    )
    figures = (
        Figure("Jensen-Shannon divergence", _number(prediction.js_divergence, 3), "natural log", "", True),
        Figure("Threshold", f"{prediction.threshold:g}"),
        Figure("Chi-squared", _number(prediction.chi2_statistic, 4)),
        Figure("p-value", _p_value(prediction.p_value), "as if rows were independent"),
    )
    found = prediction.verdict
    return PredictionView(
        tag=_prediction_tag(prediction),
        what=sentence_of(found, prediction) if found is not None and found.is_listed else "",
        figures=figures,
        picture=levels_of(labels, *shares) if labels else None,
        findings=() if found is None else (finding_of(found, prediction),),
    )


def _alarm_rank(result: ComparisonResult, feature: FeatureResult) -> int:
    """Return the place among what an alarm lists; all others behind them, in the order that they have."""
    listed = [found.name for found in result.listed_hypotheses]
    return listed.index(feature.name) if feature.is_confirmed and feature.name in listed else len(listed)


def _feature_view(feature: FeatureResult, longest: float) -> FeatureView:
    found = feature.verdict
    return FeatureView(
        name=feature.name,
        kind=feature.kind.value,
        tag=_feature_tag(feature),
        what="; ".join(sentence_of(found, feature) for found in _hypotheses(feature) if found.is_listed),
        score=_number(feature.score, 3),
        score_name=MEASURES[feature.method].name if feature.method else "",
        threshold=f"{feature.threshold:g}",
        score_percent=100 * (feature.score or 0.0) / longest,
        threshold_percent=100 * feature.threshold / longest,
        p_value=_p_value(_telling_p_value(feature)),
        effect=NOTHING if found is None else f"{found.effect:.2f}",
        missing=_missing(feature),
        status_detail=feature.status_detail,
        picture=picture_of(feature.distribution),
        findings=tuple(finding_of(found, feature) for found in _hypotheses(feature)),
        figures=tuple(_figures(feature)),
        measures=tuple(_measures(feature)),
        quality=tuple(quality_sentence(finding) for finding in _told(feature.quality)),
        is_open=feature.is_confirmed,
    )


def _telling_p_value(feature: FeatureResult) -> float | None:
    """Return the p-value behind a feature's tag: of what the verdict lists, be it values or missing ones."""
    listed = [found.p_value for found in _hypotheses(feature) if found.is_listed]
    if listed:
        return min(listed)
    return feature.p_value if feature.verdict is None else feature.verdict.p_value


def _hypotheses(feature: FeatureResult) -> Sequence[HypothesisResult]:
    return [found for found in (feature.verdict, feature.missing_verdict) if found is not None]


def _told(findings: Sequence[QualityFinding]) -> list[QualityFinding]:
    return sorted(findings, key=lambda finding: (not finding.is_notable, -finding.share))


def finding_of(found: HypothesisResult, result: FeatureResult | PredictionResult | None) -> Finding:
    """Return one answer of the verdict as it is shown, with the result that it belongs to."""
    return Finding(
        subject=subject_of(found),
        sentence=sentence_of(found, result),
        evidence=evidence_of(found),
        window=f"{found.window_rows:,} rows" + (f", phi = {found.dispersion:.1f}" if found.dispersion >= 1.05 else ""),
        smallest_change=smallest_change_of(found),
        is_listed=found.is_listed,
    )


def _feature_tag(feature: FeatureResult) -> Tag:
    if feature.is_confirmed:
        return Tag("drift", Tone.ALARM, "The verdict lists this feature: a real change, large enough to matter.")
    if feature.is_drifted:
        return Tag("above threshold", Tone.WARNING, "The score is above its threshold; the verdict raises no alarm.")
    if feature.status is ResultStatus.OK:
        return Tag("no drift", Tone.GOOD)
    tone = Tone.PLAIN if feature.status in _HARMLESS else Tone.WARNING
    return Tag(feature.status.value.replace("_", " "), tone, STATUS_TEXTS[feature.status])


_HARMLESS = (ResultStatus.CONSTANT, ResultStatus.IDENTIFIER, ResultStatus.INSUFFICIENT_DATA)


def _prediction_tag(prediction: PredictionResult) -> Tag:
    if prediction.verdict is not None and prediction.verdict.is_listed:
        return Tag("drift", Tone.ALARM, "The verdict lists the predictions: a real change, large enough to matter.")
    if prediction.is_drifted:
        return Tag("above threshold", Tone.WARNING, "The divergence is above its threshold; no alarm.")
    if prediction.status is ResultStatus.OK:
        return Tag("no drift", Tone.GOOD)
    return Tag(prediction.status.value.replace("_", " "), Tone.PLAIN, STATUS_TEXTS[prediction.status])


def _figures(feature: FeatureResult) -> list[Figure]:
    figures = [
        Figure("Rows with a value", f"{feature.n_current:,}", f"reference {feature.n_reference:,}"),
        Figure(
            "Missing",
            share_text(_missing_share(feature.n_missing_current, feature.n_current)),
            f"reference {share_text(_missing_share(feature.n_missing_reference, feature.n_reference))}",
        ),
    ]
    if feature.reference_mean is not None or feature.current_mean is not None:
        reference_mean = NOTHING if feature.reference_mean is None else number_text(feature.reference_mean, 4)
        mean = NOTHING if feature.current_mean is None else number_text(feature.current_mean, 4)
        figures.append(Figure("Mean", mean, f"reference {reference_mean}"))
    if feature.p_value is not None:
        figures.append(Figure("Simple p-value", _p_value(feature.p_value), "as if rows were independent"))
    return figures


def _measures(feature: FeatureResult) -> list[Figure]:
    return [
        Figure(
            name=MEASURES[method].name,
            value=_number(measure.value, 4),
            parameters=", ".join(_parameter(name, value) for name, value in measure.parameters.items()),
            definition=MEASURES[method].text,
            is_score=method is feature.method,
        )
        for method, measure in feature.measures.items()
    ]


def _parameter(name: str, value: object) -> str:
    """Return one: "bins 16", "statistic 1,550", "p = 2e-221"."""
    if name == "p_value" and isinstance(value, float):
        return p_value_text(value)
    return f"{name.replace('_', ' ')} {number_text(value, 4) if isinstance(value, float) else value}"


def _missing(feature: FeatureResult) -> str:
    return share_text(_missing_share(feature.n_missing_current, feature.n_current))


def _missing_share(missing: int, present: int) -> float:
    return missing / max(1, missing + present)


def _number(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"


def _p_value(value: float | None) -> str:
    return NOTHING if value is None else p_value_text(value).removeprefix("p = ").removeprefix("p ")
