"""Measure the performance of versions: of the latest labelled predictions, and by day."""

import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from operator import attrgetter
from typing import Any

import numpy as np
from cachetools import LRUCache, cached
from django.db.models import Max
from django.db.models.functions import TruncDate
from django.utils import timezone
from redis.exceptions import LockError

from inference.archive import read_observations
from inference.stream import read_window, redis_client, rows_seen
from mlmon.schema import TaskType
from models_registry.models import ModelVersion, ReferenceDataset
from models_registry.schema import ScoreKind
from models_registry.selectors import active_reference, labelled_reference, served_versions
from performance import selectors
from performance.measures.classification import NO_SCORES, classification_performance
from performance.measures.estimated import Calibration, NotCalibratableError, estimate_performance, fit_calibration
from performance.measures.predictions import LabelledPredictions, Predictions
from performance.measures.regression import regression_performance
from performance.models import GroundTruth, PerformanceReport, Period
from performance.selectors import labels_array
from performance.services.drops import judge_drop

MEASURING_SECONDS = 240
MOST_LABELLED_ROWS = 500_000  # the latest of a day, or of a span that a caller asks for
MOST_PREDICTED_ROWS = 2_000_000
LATE_COMMIT = timedelta(minutes=1)  # a change may be committed this long after its timestamp
DAY = timedelta(days=1)
KEPT_LATEST_REPORTS = timedelta(days=7)
INSTANT = timedelta(microseconds=1)  # the end of a span is exclusive
NOT_A_CLASSIFIER = "only the performance of classifiers is estimated"
NO_PROBABILITIES = "the model gives no probabilities"
NO_PROBABILITIES_IN_FILE = (
    "the reference has no probabilities of its predictions, which columns named confidence or probability_CLASS have"
)
NO_REFERENCE = "there is no active reference"
NO_LABELS = "the active reference has no labels"


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """Performance on the labelled reference, and the calibration of the scores fitted on it.

    Attributes
    ----------
    figures
        As `PerformanceReport.realised`; None if the reference has no labels.
    calibration
        None if the performance cannot be estimated.
    note
        The reason why it cannot.
    """

    figures: Mapping[str, Any] | None
    calibration: Calibration | None
    note: str


@dataclass(frozen=True, slots=True)
class _DueReports:
    """The reports of a version that are due: of its latest predictions, and of days."""

    latest: bool
    days: list[date]
    labels_changed_at: datetime | None
    days_measured_up_to: datetime | None


def due_version_ids() -> list[int]:
    """Return the served versions with enough new ground truth or new predictions for a report."""
    versions = list(served_versions().select_related("model__performance_policy"))
    seen = rows_seen(redis_client(), [version.pk for version in versions])
    return [version.pk for version in versions if _due_reports(version, seen[version.pk])]


def measure_version(*, version_id: int) -> bool:
    """Write the reports of a version that are due; return whether there were any.

    Do nothing if another worker is measuring the version.
    """
    client = redis_client()
    lock = client.lock(f"mlmon:performance:{version_id}", timeout=MEASURING_SECONDS + 30)
    if not lock.acquire(blocking=False):
        return False
    try:
        version = served_versions().select_related("model__performance_policy").filter(pk=version_id).first()
        seen = rows_seen(client, [version_id])[version_id]
        due = None if version is None else _due_reports(version, seen)
        if version is None or due is None:
            return False
        if due.latest:
            report = _report_of_latest(version)
            report.rows_seen = seen
            report.labels_changed_at = due.labels_changed_at
            judge_drop(report, last=selectors.latest_report(version))
            report.save()
            latest = PerformanceReport.objects.filter(version=version, period=Period.LATEST)
            latest.filter(computed_at__lt=report.computed_at - KEPT_LATEST_REPORTS).delete()
        for day in due.days:
            since = datetime(day.year, day.month, day.day, tzinfo=UTC)
            report = performance_between(version, since=since, until=since + DAY)
            # Only the last day records the change: if the worker is killed before, the next one starts over.
            report.labels_changed_at = due.labels_changed_at if day == due.days[-1] else due.days_measured_up_to
            earlier = PerformanceReport.objects.filter(version=version, period=Period.DAY, started_at=since)
            report.pk = earlier.values_list("pk", flat=True).first()
            report.save()
        return True
    finally:
        with suppress(LockError):  # it has expired, and another worker may hold it
            lock.release()


def performance_between(version: ModelVersion, *, since: datetime, until: datetime) -> PerformanceReport:
    """Return an unsaved report of the predictions from `since` to before `until`."""
    labelled = selectors.labelled_predictions(version, rows=MOST_LABELLED_ROWS, since=since, until=until)
    columns = ("prediction", "confidence", "scores")
    table = read_observations(version.pk, since=since, until=until, rows=MOST_PREDICTED_ROWS, columns=columns)
    captured = selectors.predictions_of_table(version, table)
    report = PerformanceReport(version=version, period=Period.DAY, started_at=since, ended_at=until)
    return _filled(report, labelled, captured, predicted_rows=captured.rows if captured else 0)


def baseline_of(version: ModelVersion) -> Baseline:
    """Return the baseline of the version's active reference."""
    reference = active_reference(version.pk)
    if reference is None:
        return Baseline(figures=None, calibration=None, note=NO_REFERENCE)
    return _baseline(reference)


@cached(LRUCache[Any, Baseline](100), key=attrgetter("pk"), lock=threading.Lock())
def _baseline(reference: ReferenceDataset) -> Baseline:
    """Return the baseline of a ready reference; it is cached because such a reference never changes."""
    version = ModelVersion.objects.get(pk=reference.version_id)
    table = labelled_reference(reference)
    predictions = None if table is None else selectors.predictions_of_table(version, table)
    if table is None or predictions is None:
        return Baseline(
            figures=None, calibration=None, note=reference.labels_note or reference.predictions_note or NO_LABELS
        )
    actual = labels_array(version, table.column("actual").to_pylist())
    no_times = np.zeros(predictions.rows, dtype="datetime64[us]")
    figures = _realised(version, LabelledPredictions(predictions, actual, predicted_at=no_times, observed_at=no_times))
    calibration, note = None, ""
    known = predictions.with_scores()
    if version.task_type == TaskType.REGRESSION:
        note = NOT_A_CLASSIFIER
    elif (predictions.scores is None or not known.any()) and not version.is_served_here:
        note = reference.predictions_note or NO_PROBABILITIES_IN_FILE
    elif predictions.scores is None or not known.any():
        note = _without_scores(version)
    else:
        try:
            calibration = fit_calibration(actual[known], predictions.scores[known], version.classes)
        except NotCalibratableError as error:
            note = str(error)
    return Baseline(figures=figures, calibration=calibration, note=note)


def _due_reports(version: ModelVersion, seen: int) -> _DueReports | None:
    """Return the due reports, or None: ground truth has changed, or a tenth of the window is new predictions."""
    policy = selectors.performance_policy_of(version.model)
    ground_truth = GroundTruth.objects.filter(version=version)
    changed_at = ground_truth.aggregate(at=Max("changed_at"))["at"]
    last = selectors.latest_report(version)
    if last is None:
        latest = changed_at is not None or seen >= policy.minimum_rows
    else:
        has_new_rows = seen < last.rows_seen or seen - last.rows_seen >= max(100, policy.window_rows // 10)
        latest = has_new_rows or changed_at != last.labels_changed_at
    daily_reports = PerformanceReport.objects.filter(version=version, period=Period.DAY)
    measured_up_to = daily_reports.aggregate(at=Max("labels_changed_at"))["at"]
    days: list[date] = []
    if changed_at is not None and (changed_at != measured_up_to or timezone.now() - changed_at <= 2 * LATE_COMMIT):
        if measured_up_to is not None:
            ground_truth = ground_truth.filter(changed_at__gt=measured_up_to - LATE_COMMIT)
        by_day = ground_truth.annotate(day=TruncDate("predicted_at", tzinfo=UTC)).order_by("day")
        days = list(by_day.values_list("day", flat=True).distinct())
    return _DueReports(latest, days, changed_at, measured_up_to) if latest or days else None


def _report_of_latest(version: ModelVersion) -> PerformanceReport:
    """Return an unsaved report: realised for the latest labelled predictions, estimated for the latest of all."""
    policy = selectors.performance_policy_of(version.model)
    labelled = selectors.labelled_predictions(version, rows=policy.window_rows)
    window = read_window(redis_client(), version.pk, policy.window_rows).table
    started_at = ended_at = timezone.now()
    predicted_rows = 0
    if labelled is not None:
        first, last = labelled.predicted_at[0].astype(object), labelled.predicted_at[-1].astype(object)
        started_at, ended_at = first.replace(tzinfo=UTC), last.replace(tzinfo=UTC) + INSTANT
        predicted_rows = read_observations(
            version.pk, since=started_at, until=ended_at, rows=MOST_PREDICTED_ROWS, columns=["observed_at"]
        ).num_rows
    report = PerformanceReport(version=version, period=Period.LATEST, started_at=started_at, ended_at=ended_at)
    captured = selectors.predictions_of_table(version, window)
    return _filled(report, labelled, captured, predicted_rows=predicted_rows, minimum_rows=policy.minimum_rows)


def _filled(
    report: PerformanceReport,
    labelled: LabelledPredictions | None,
    captured: Predictions | None,
    *,
    predicted_rows: int,
    minimum_rows: int = 1,
) -> PerformanceReport:
    """Return the report with its figures; without realised figures if there are too few labelled predictions."""
    baseline = baseline_of(report.version)
    report.computed_at = timezone.now()
    report.labelled_rows = labelled.rows if labelled else 0
    report.predicted_rows = max(report.labelled_rows, predicted_rows)  # the archive's retention may be shorter
    report.estimated, report.estimate_note = _estimate(report.version, baseline, captured)
    if labelled is not None and labelled.rows >= minimum_rows:
        delays = (labelled.observed_at - labelled.predicted_at) / np.timedelta64(1, "s")
        report.label_delay_seconds = max(0.0, float(np.median(delays)))  # clocks differ
        report.realised = _realised(report.version, labelled)
        report.estimated_of_labelled, _ = _estimate(report.version, baseline, labelled.predictions)
    return report


def _realised(version: ModelVersion, labelled: LabelledPredictions) -> dict[str, Any]:
    """Return the figures of labelled predictions, by name."""
    predictions = labelled.predictions
    if version.task_type == TaskType.REGRESSION:
        return asdict(regression_performance(labelled.actual, predictions.predicted))
    measured = classification_performance(
        labelled.actual,
        predictions.predicted,
        version.classes,
        predictions.scores,
        without_scores=_without_scores(version),
    )
    return asdict(measured)


def _without_scores(version: ModelVersion) -> str:
    """Return why no probabilities are known for predictions of a classifier."""
    has_probabilities = version.score_kind in (ScoreKind.PROBABILITIES, ScoreKind.LOGITS)
    return NO_SCORES if has_probabilities else NO_PROBABILITIES


def _estimate(
    version: ModelVersion, baseline: Baseline, predictions: Predictions | None
) -> tuple[dict[str, Any] | None, str]:
    """Return the estimated figures by name, or None and the reason."""
    if baseline.calibration is None or predictions is None:
        return None, baseline.note
    known = predictions.with_scores()
    if predictions.scores is None or not known.any():
        return None, _without_scores(version)
    estimated = estimate_performance(baseline.calibration, predictions.predicted[known], predictions.scores[known])
    return asdict(estimated), ""
