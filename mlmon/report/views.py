"""A comparison as texts and shapes: what the templates of the admin and of the HTML report show."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from mlmon.figures import number_text, share_text
from mlmon.measures import EFFECT, MEASURES, P_VALUE, PHI
from mlmon.report.pictures import Picture, picture_of, shares_picture
from mlmon.results import (
    NOT_COMPARED,
    ComparisonResult,
    FeatureResult,
    HypothesisResult,
    Method,
    PredictionResult,
    ResultStatus,
    VerdictStatus,
)
from mlmon.sentences import (
    BADGE_TEXTS,
    FILE_ADVICE,
    LEFT_OUT_TEXTS,
    STATUS_TEXTS,
    coverage_sentence,
    evidence_of,
    joint_sentence,
    p_value_text,
    quality_sentence,
    sentence_of,
    smallest_visible_texts,
    verdict_sentence,
)

NOTHING = "-"
SHOWN_PHI = 1.05
GLOSSARY = (
    ("p", P_VALUE),
    ("Effect", EFFECT),
    ("phi", PHI.removeprefix("phi: ")),
    (MEASURES[Method.JENSEN_SHANNON_DIVERGENCE].name, MEASURES[Method.JENSEN_SHANNON_DIVERGENCE].text),
)
HARMLESS_STATUSES = (ResultStatus.CONSTANT, ResultStatus.IDENTIFIER, ResultStatus.INSUFFICIENT_DATA)


class Tone(StrEnum):
    """How strongly a line stands out."""

    ALARM = "alarm"  # the verdict's alarm
    WARNING = "warning"  # a score above its threshold, or data that could not be compared
    PLAIN = "plain"
    GOOD = "good"


@dataclass(frozen=True, slots=True)
class Tag:
    """A state in one or two words, and what it means."""

    text: str
    tone: Tone
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """A hypothesis of the verdict: what changed, and the figures behind it."""

    subject: str
    sentence: str
    evidence: str
    window: str
    is_listed: bool


@dataclass(frozen=True, slots=True)
class Figure:
    """A number with its name, how it was computed here, and its definition."""

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
        What changed; empty if the verdict lists nothing.
    score, threshold, p_value, effect, missing
        Numbers as text, or a dash.
    visible
        The smallest changes that the window could have shown: what, and how large.
    score_percent, threshold_percent
        Percent of the longest bar of all features.
    """

    name: str
    kind: str
    tag: Tag
    what: str
    score: str
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
    visible: tuple[tuple[str, str], ...]
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


@dataclass(frozen=True, slots=True)
class Uncompared:
    """A column that was not compared: the reason in a few words and in a sentence, and what to do about it."""

    name: str
    reason: str
    detail: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class ResultView:
    """A whole comparison.

    Attributes
    ----------
    coverage
        What could not be compared, in a sentence; "" if everything was.
    not_compared, left_out
        Columns that could not be compared, and columns that were left out on purpose.
    badges
        Limits of the data behind the verdict, in sentences.
    findings
        What the alarm lists, strongest first.
    features
        The features that the alarm lists, strongest first, then the others by score over threshold.
    prediction
        None if the compared data have no predictions.
    together
        Sentences about changes between features.
    """

    tone: Tone
    verdict: str
    coverage: str
    not_compared: tuple[Uncompared, ...]
    left_out: tuple[Uncompared, ...]
    badges: tuple[str, ...]
    findings: tuple[Finding, ...]
    features: tuple[FeatureView, ...]
    prediction: PredictionView | None
    together: tuple[str, ...]
    glossary: tuple[tuple[str, str], ...] = GLOSSARY


def result_view(
    result: ComparisonResult,
    *,
    has_predictions: bool = True,
    advice: Mapping[ResultStatus, str] = FILE_ADVICE,
) -> ResultView:
    """Return a comparison as it is shown.

    Parameters
    ----------
    advice
        What to do about a feature that could not be compared, by reason.
    """
    status = result.verdict.status
    if status is VerdictStatus.ALARM:
        tone = Tone.ALARM
    elif result.is_drifted or status is VerdictStatus.INCOMPLETE:
        tone = Tone.WARNING
    else:
        tone = Tone.PLAIN if status is VerdictStatus.INSUFFICIENT_DATA else Tone.GOOD
    return ResultView(
        tone=tone,
        verdict=verdict_sentence(result),
        coverage=coverage_sentence(result),
        not_compared=tuple(
            Uncompared(each.feature, status_words(each.reason), each.detail, advice[each.reason])
            for each in result.coverage.not_compared
        ),
        left_out=tuple(
            Uncompared(each.feature, LEFT_OUT_TEXTS[each.reason], each.detail) for each in result.coverage.left_out
        ),
        badges=tuple(BADGE_TEXTS[badge] for badge in result.verdict.badges),
        findings=tuple(finding_of(found) for found in result.listed_hypotheses),
        features=feature_views(result),
        prediction=prediction_view(result.prediction) if has_predictions else None,
        together=(joint_sentence(result.joint_change),) if result.joint_change else (),
    )


def feature_views(result: ComparisonResult) -> tuple[FeatureView, ...]:
    """Return the features: those that the alarm lists, strongest first, then the others by score over threshold."""
    listed = [found.name for found in result.listed_hypotheses]
    ranked = sorted(
        result.ranked_features,
        key=lambda feature: listed.index(feature.name) if feature.is_confirmed else len(listed),
    )
    longest = max((max(feature.score or 0.0, feature.threshold) for feature in ranked), default=0.0) or 1.0
    return tuple(_feature_view(feature, longest) for feature in ranked)


def _feature_view(feature: FeatureResult, longest: float) -> FeatureView:
    listed = [found for found in feature.hypotheses if found.is_listed]
    p_value = feature.p_value if feature.verdict is None else feature.verdict.p_value
    return FeatureView(
        name=feature.name,
        kind=feature.kind.value,
        tag=_feature_tag(feature),
        what="; ".join(sentence_of(found) for found in listed),
        score=_number(feature.score, 3),
        threshold=f"{feature.threshold:g}",
        score_percent=100 * (feature.score or 0.0) / longest,
        threshold_percent=100 * feature.threshold / longest,
        p_value=p_value_figure(min((found.p_value for found in listed), default=p_value)),
        effect=NOTHING if feature.verdict is None else f"{feature.verdict.effect:.2f}",
        missing=_missing_share(feature.n_missing_current, feature.n_current),
        status_detail=feature.status_detail or feature.no_verdict_reason,
        picture=picture_of(feature.distribution),
        findings=tuple(finding_of(found) for found in feature.hypotheses),
        figures=_figures(feature),
        measures=_measures(feature),
        visible=smallest_visible_texts(feature),
        quality=tuple(
            quality_sentence(finding)
            for finding in sorted(feature.quality, key=lambda finding: (not finding.is_notable, -finding.share))
        ),
        is_open=feature.is_confirmed,
    )


def prediction_view(prediction: PredictionResult) -> PredictionView:
    """Return the predictions as they are shown."""
    labels, found = tuple(prediction.reference_dist), prediction.verdict
    shares = (
        np.array([distribution.get(label, 0.0) for label in labels])
        for distribution in (prediction.reference_dist, prediction.current_dist)
    )
    if found is not None and found.is_listed:
        tag = Tag("drift", Tone.ALARM, "The verdict lists the predictions: a real change, large enough to matter.")
    elif prediction.is_drifted:
        tag = Tag("above threshold", Tone.WARNING, "The divergence is above its threshold; no alarm.")
    elif prediction.status is ResultStatus.OK:
        tag = Tag("no drift", Tone.GOOD)
    else:
        failed = prediction.status in NOT_COMPARED and prediction.status is not ResultStatus.MISSING_COLUMN
        tone = Tone.WARNING if failed else Tone.PLAIN
        tag = Tag(status_words(prediction.status), tone, STATUS_TEXTS[prediction.status])
    return PredictionView(
        tag=tag,
        what=sentence_of(found) if found is not None and found.is_listed else prediction.no_verdict_reason,
        figures=(
            Figure("Jensen-Shannon divergence", _number(prediction.js_divergence, 3), "natural log", is_score=True),
            Figure("Threshold", f"{prediction.threshold:g}"),
            Figure("Chi-squared", _number(prediction.chi2_statistic, 4)),
            Figure("p-value", p_value_figure(prediction.p_value), "if rows were independent"),
        ),
        picture=shares_picture(labels, *shares) if labels else None,
        findings=() if found is None else (finding_of(found),),
    )


def finding_of(found: HypothesisResult) -> Finding:
    """Return a hypothesis as it is shown."""
    nu = found.degrees_of_dispersion
    phi = f", phi = {found.dispersion:.1f}" if found.dispersion >= SHOWN_PHI else ""
    return Finding(
        subject=found.subject,
        sentence=sentence_of(found),
        evidence=evidence_of(found),
        window=f"{found.window_rows:,} rows{phi}{f' (nu = {nu:.0f})' if phi and nu is not None else ''}",
        is_listed=found.is_listed,
    )


def p_value_figure(value: float | None) -> str:
    """Return a p-value for a table: "0.03", "2e-19", "< 1e-300" or a dash."""
    return NOTHING if value is None else p_value_text(value).removeprefix("p = ").removeprefix("p ")


def status_words(status: ResultStatus) -> str:
    """Return a status as words: "missing column"."""
    return status.value.replace("_", " ")


def _feature_tag(feature: FeatureResult) -> Tag:
    if feature.is_confirmed:
        return Tag("drift", Tone.ALARM, "The verdict lists this feature: a real change, large enough to matter.")
    if feature.is_drifted:
        return Tag("above threshold", Tone.WARNING, "The score is above its threshold; the verdict raises no alarm.")
    if feature.no_verdict_reason:
        return Tag("no verdict", Tone.PLAIN, "The score is below its threshold; the verdict leaves the feature out.")
    if feature.status is ResultStatus.OK:
        return Tag("no drift", Tone.GOOD)
    tone = Tone.PLAIN if feature.status in HARMLESS_STATUSES else Tone.WARNING
    return Tag(status_words(feature.status), tone, STATUS_TEXTS[feature.status])


def _figures(feature: FeatureResult) -> tuple[Figure, ...]:
    missing_in_reference = _missing_share(feature.n_missing_reference, feature.n_reference)
    figures = [
        Figure("Rows with a value", f"{feature.n_current:,}", f"reference {feature.n_reference:,}"),
        Figure(
            "Missing", _missing_share(feature.n_missing_current, feature.n_current), f"reference {missing_in_reference}"
        ),
    ]
    if feature.reference_mean is not None or feature.current_mean is not None:
        before, now = (
            NOTHING if mean is None else number_text(mean, 4) for mean in (feature.reference_mean, feature.current_mean)
        )
        figures.append(Figure("Mean", now, f"reference {before}"))
    if feature.p_value is not None:
        figures.append(Figure("Simple p-value", p_value_figure(feature.p_value), "if rows were independent"))
    return tuple(figures)


def _measures(feature: FeatureResult) -> tuple[Figure, ...]:
    return tuple(
        Figure(
            name=MEASURES[method].name,
            value=_number(measure.value, 4),
            parameters=", ".join(_parameter(name, value) for name, value in measure.parameters.items()),
            definition=MEASURES[method].text,
            is_score=method is feature.method,
        )
        for method, measure in feature.measures.items()
    )


def _parameter(name: str, value: object) -> str:
    """Return a parameter as text: "bins 16", "statistic 1,550", "p = 2e-221"."""
    if name == "p_value" and isinstance(value, float):
        return p_value_text(value)
    return f"{name.replace('_', ' ')} {number_text(value, 4) if isinstance(value, float) else value}"


def _missing_share(missing: int, present: int) -> str:
    rows = missing + present  # 0 if the feature was not compared
    return share_text(missing / rows) if rows else NOTHING


def _number(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"
