"""Predictions as arrays, and queries of policies and reports."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from django.db.models import OuterRef, Subquery
from numpy.typing import NDArray

from inference.prediction_lookup import SCORE_TYPE
from mlmon.schema import TaskType
from models_registry.class_scores import scores_matrix
from models_registry.models import Model, ModelVersion, Stage
from models_registry.selectors import PRIMARY_FIRST, served_versions
from performance.measures.predictions import LabelledPredictions, Predictions, prediction_errors
from performance.models import GroundTruth, PerformanceBaseline, PerformancePolicy, PerformanceReport, Period

LABELLED_FIELDS = ("actual", "prediction", "confidence", "scores", "predicted_at", "observed_at")


def labelled_predictions(
    version: ModelVersion, *, rows: int, since: datetime | None = None, until: datetime | None = None
) -> LabelledPredictions | None:
    """Return the latest `rows` predictions of a version that have ground truth, or None if it has none.

    Parameters
    ----------
    since, until
        Bounds of the time of prediction; `until` is exclusive.
    """
    wanted = GroundTruth.objects.filter(version=version, refusal="").order_by("-predicted_at", "-prediction_id")
    if since is not None:
        wanted = wanted.filter(predicted_at__gte=since)
    if until is not None:
        wanted = wanted.filter(predicted_at__lt=until)
    found = list(wanted.values_list(*LABELLED_FIELDS)[:rows])[::-1]
    if not found:
        return None
    actual, prediction, confidence, packed, predicted_at, observed_at = zip(*found, strict=True)
    scores = None
    if any(one is not None for one in packed):
        unknown = np.full(len(version.classes), np.nan)
        rows_of_scores = [unknown if one is None else np.frombuffer(one, dtype=SCORE_TYPE) for one in packed]
        scores = np.array(rows_of_scores, dtype=float)
    return LabelledPredictions(
        predictions=_predictions(version, prediction, confidence, scores),
        actual=labels_array(version, actual),
        predicted_at=_times(predicted_at),
        observed_at=_times(observed_at),
    )


def predictions_of_table(version: ModelVersion, table: pa.Table) -> Predictions | None:
    """Return the predictions in captured observations or in a labelled reference, or None if there are no rows."""
    if table.num_rows == 0:
        return None
    confidence: Sequence[float | None] = [None] * table.num_rows
    if "confidence" in table.column_names:
        confidence = table.column("confidence").to_pylist()
    scores = None
    if "scores" in table.column_names:
        column: Any = table.column("scores").combine_chunks()
        scores = scores_matrix(column)
    return _predictions(version, table.column("prediction").to_pylist(), confidence, scores)


def labels_array(version: ModelVersion, values: Sequence[Any]) -> NDArray[Any]:
    """Return class labels (object), or numbers of a regression (float64)."""
    return np.array(values, dtype=np.float64 if version.task_type == TaskType.REGRESSION else object)


def _predictions(
    version: ModelVersion,
    predicted: Sequence[Any],
    confidence: Sequence[float | None],
    scores: NDArray[np.float64] | None,
) -> Predictions:
    if scores is None and len(version.classes) == 2:  # then the confidence determines both probabilities
        known = np.array([np.nan if value is None else value for value in confidence], dtype=np.float64)
        second = np.where(np.array(predicted, dtype=object) == version.classes[1], known, 1 - known)
        scores = np.column_stack([1 - second, second])
    return Predictions(predicted=labels_array(version, predicted), scores=scores)


def _times(values: Sequence[datetime]) -> NDArray[np.datetime64]:
    return np.array([value.replace(tzinfo=None) for value in values], dtype="datetime64[us]")


def latest_errors(version: ModelVersion, *, rows: int, after: datetime | None) -> NDArray[np.float64]:
    """Return the errors of the latest `rows` labelled predictions, made later than `after` if given, oldest first."""
    labelled = GroundTruth.objects.filter(version=version, refusal="")
    if after is not None:
        labelled = labelled.filter(predicted_at__gt=after)
    found = labelled.order_by("-predicted_at", "-prediction_id").values_list("actual", "prediction")[:rows]
    actual, predicted = zip(*reversed(found), strict=True) if found else ((), ())
    return prediction_errors(labels_array(version, actual), labels_array(version, predicted))


def new_baseline(version: ModelVersion, *, rows: int) -> PerformanceBaseline:
    """Return an unsaved baseline: the first `rows` labelled predictions in production, or as many as there are."""
    labelled = GroundTruth.objects.filter(version=version, refusal="", predicted_at__gte=version.promoted_at)
    found = list(
        labelled.order_by("predicted_at", "prediction_id").values_list("actual", "prediction", "predicted_at")[:rows]
    )
    baseline = PerformanceBaseline(version=version, rows=len(found))
    if found:
        actual, predicted, times = zip(*found, strict=True)
        errors = prediction_errors(labels_array(version, actual), labels_array(version, predicted))
        baseline.started_at, baseline.ended_at, baseline.errors = times[0], times[-1], errors.astype("<f8").tobytes()
    return baseline


class LatestReport(NamedTuple):
    """The latest report of a version, and whether its version is the primary one of the model."""

    pk: int
    model_name: str
    model_version: str
    is_primary: bool


def latest_reports_of_served_versions() -> list[LatestReport]:
    """Return the latest report of each version that is not archived and has one."""
    latest = PerformanceReport.objects.filter(version=OuterRef("pk"), period=Period.LATEST).order_by("-id")
    production = ModelVersion.objects.filter(model=OuterRef("model"), stage=Stage.PRODUCTION)
    found = (
        served_versions()
        .annotate(
            latest=Subquery(latest.values("pk")[:1]),
            primary=Subquery(production.order_by(*PRIMARY_FIRST).values("pk")[:1]),
        )
        .exclude(latest=None)
    )
    columns = ("latest", "model__name", "version", "pk", "primary")
    return [
        LatestReport(report, model, version, pk == primary)
        for report, model, version, pk, primary in found.order_by("model__name", "version").values_list(*columns)
    ]


def reports_by_id(ids: Sequence[int]) -> dict[int, PerformanceReport]:
    """Return the reports that still exist, by their ids."""
    return PerformanceReport.objects.in_bulk(ids)


def performance_policy_of(model: Model) -> PerformancePolicy:
    """Return the model's performance policy, or an unsaved one with the defaults."""
    try:
        return model.performance_policy
    except PerformancePolicy.DoesNotExist:
        return PerformancePolicy(model_id=model.pk)


def latest_report(version: ModelVersion) -> PerformanceReport | None:
    """Return the version's latest report of its latest predictions."""
    return PerformanceReport.objects.filter(version=version, period=Period.LATEST).order_by("-id").first()


def daily_reports(version: ModelVersion, days: int) -> list[PerformanceReport]:
    """Return the version's reports of the latest `days` days, latest first."""
    return list(PerformanceReport.objects.filter(version=version, period=Period.DAY).order_by("-started_at")[:days])
