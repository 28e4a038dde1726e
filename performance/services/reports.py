"""Measuring how right the versions are: of the newest labelled predictions, and day by day."""

import logging
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

import numpy as np
from cachetools import LRUCache, cached
from celery.exceptions import SoftTimeLimitExceeded
from django.db import DatabaseError
from django.utils import timezone
from redis.exceptions import LockError, RedisError

from inference.archive import read_observations
from inference.redis_client import redis_client
from inference.stream import read_window, rows_seen
from mlmon.schema import TaskType
from models_registry.models import ModelVersion, ReferenceDataset
from models_registry.selectors import active_reference, labelled_reference, served_versions
from performance import selectors
from performance.answers import answers_of_table, captured_answers, labelled_answers
from performance.measures.answers import Answers, LabelledAnswers
from performance.measures.classification import classification_performance
from performance.measures.estimated import Calibration, NotCalibratableError, estimate_performance, fit_calibration
from performance.measures.regression import regression_performance
from performance.models import PerformancePolicy, PerformanceReport, Period

logger = logging.getLogger(__name__)

MOST_LABELLED_ROWS = 500_000  # of a day, or of a span that a caller asks for; the newest
MOST_PREDICTED_ROWS = 2_000_000
LATE_COMMIT = timedelta(minutes=1)  # a change is committed later than it is dated
DAY = timedelta(days=1)
KEPT_LATEST_REPORTS = timedelta(days=7)
LOCK_SECONDS = 270  # falls by itself where a worker was killed
FEWEST_ROWS_OF_A_DROP = 500  # the accuracy of so many has a standard error of two points
INSTANT = timedelta(microseconds=1)  # ends of spans are not included
NOT_A_CLASSIFIER = "only the performance of classifiers is estimated"
NO_REFERENCE = "there is no reference in force"
NO_LABELS = "the reference in force has no labels"
NO_SCORES = "the class probabilities of these predictions were not recorded"


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """What the labelled reference tells: the model's figures on it, and how its scores are calibrated.

    Attributes
    ----------
    figures
        As `PerformanceReport.realised`; None where there are no labels.
    calibration
        None where no estimate can be made.
    note
        Why not.
    """

    figures: Mapping[str, Any] | None
    calibration: Calibration | None
    note: str


def measure_due_versions() -> list[int]:
    """Make new reports of every served version for which something has changed; return these versions.

    None where another worker is at it.
    """
    client = redis_client()
    lock = client.lock("mlmon:performance", timeout=LOCK_SECONDS)
    if not lock.acquire(blocking=False):
        return []
    try:
        versions = list(served_versions().select_related("model__performance_policy"))
        seen = rows_seen(client, [version.pk for version in versions])
        return [version.pk for version in versions if _measured(version, rows_seen=seen[version.pk])]
    finally:
        with suppress(LockError):  # expired: another worker may hold it by now
            lock.release()


def measure_version(version: ModelVersion, *, rows_seen: int) -> bool:
    """Make the reports of one version that are due; return whether there was one.

    Parameters
    ----------
    rows_seen
        Predictions that were captured of the version, ever.
    """
    policy = selectors.performance_policy_of(version.model)
    last = selectors.newest_report(version, Period.LATEST)
    changed_at = selectors.newest_label_change(version)
    is_due = _is_due(last, policy, changed_at=changed_at, rows_seen=rows_seen)
    if is_due:
        report = _latest_report(version, policy)
        report.rows_seen = rows_seen
        report.labels_changed_at = changed_at
        report.save()
        _forget_old_reports(version, report)
    return _measure_changed_days(version, changed_at) or is_due


def performance_between(version: ModelVersion, *, since: datetime, until: datetime) -> PerformanceReport:
    """Return the report, not saved, of the predictions from `since` to before `until`."""
    labelled = labelled_answers(version, rows=MOST_LABELLED_ROWS, since=since, until=until)
    captured = captured_answers(version, since=since, until=until, rows=MOST_PREDICTED_ROWS)
    report = PerformanceReport(version=version, period=Period.DAY, started_at=since, ended_at=until)
    return _filled(report, labelled, captured, predicted_rows=captured.rows if captured else 0)


def _measured(version: ModelVersion, *, rows_seen: int) -> bool:
    try:
        return measure_version(version, rows_seen=rows_seen)
    except (DatabaseError, RedisError, SoftTimeLimitExceeded):
        raise
    except Exception:
        # One version that cannot be measured keeps no other from it.
        logger.exception("The performance of %s could not be measured.", version)
        return False


def _is_due(
    last: PerformanceReport | None, policy: PerformancePolicy, *, changed_at: datetime | None, rows_seen: int
) -> bool:
    """Return whether ground truth has come, or a tenth of the window has been predicted anew."""
    if last is None:
        return changed_at is not None or rows_seen >= policy.minimum_rows
    has_new_rows = rows_seen < last.rows_seen or rows_seen - last.rows_seen >= max(100, policy.window_rows // 10)
    return changed_at != last.labels_changed_at or has_new_rows


def _latest_report(version: ModelVersion, policy: PerformancePolicy) -> PerformanceReport:
    """Return the report of the newest predictions with ground truth, and of the newest ones of all."""
    labelled = labelled_answers(version, rows=policy.window_rows)
    live = answers_of_table(version, read_window(redis_client(), version.pk, policy.window_rows).table)
    now = timezone.now()
    started_at, ended_at = _span(labelled) if labelled else (now, now)
    predicted_rows = _rows_between(version, started_at, ended_at) if labelled else 0
    report = PerformanceReport(version=version, period=Period.LATEST, started_at=started_at, ended_at=ended_at)
    enough = labelled if labelled and labelled.rows >= policy.minimum_rows else None
    report = _filled(report, enough, live, predicted_rows=predicted_rows)
    report.labelled_rows = labelled.rows if labelled else 0
    report.predicted_rows = max(report.labelled_rows, predicted_rows)
    return report


def _filled(
    report: PerformanceReport, labelled: LabelledAnswers | None, captured: Answers | None, *, predicted_rows: int
) -> PerformanceReport:
    version = report.version
    baseline = baseline_of(version)
    report.computed_at = timezone.now()
    report.labelled_rows = labelled.rows if labelled else 0
    report.predicted_rows = max(report.labelled_rows, predicted_rows)  # the archive may be kept for a shorter time
    report.label_delay_seconds = labelled.median_delay_seconds() if labelled else None
    report.realised = realised(version, labelled) if labelled else None
    report.estimated, report.estimate_note = _estimate(baseline, captured)
    report.estimated_of_labelled, _ = _estimate(baseline, labelled.answers if labelled else None)
    report.drop = performance_drop(baseline.figures, report.realised)
    return report


def performance_drop(baseline: Mapping[str, Any] | None, current: Mapping[str, Any] | None) -> float | None:
    """Return how much worse a model is than on its labelled reference.

    Of a classifier the difference of the accuracies; of a regression the growth of the mean absolute error, as a share
    of the reference's. None where there is nothing to compare, or too few rows to tell chance from change.
    """
    if baseline is None or current is None or current["rows"] < FEWEST_ROWS_OF_A_DROP:
        return None
    if "accuracy" in current:
        return float(baseline["accuracy"] - current["accuracy"])
    before, now = baseline["mean_absolute_error"], current["mean_absolute_error"]
    return float(now / before - 1) if before and now is not None else None


def realised(version: ModelVersion, labelled: LabelledAnswers) -> dict[str, Any]:
    """Return the figures of labelled predictions, by name."""
    if version.task_type == TaskType.REGRESSION:
        return asdict(regression_performance(labelled.actual, labelled.answers.predicted))
    return asdict(
        classification_performance(
            labelled.actual, labelled.answers.predicted, version.classes, labelled.answers.scores
        )
    )


def _estimate(baseline: Baseline, answers: Answers | None) -> tuple[dict[str, Any] | None, str]:
    if baseline.calibration is None or answers is None:
        return None, baseline.note
    known = answers.with_scores()
    if answers.scores is None or not known.any():
        return None, NO_SCORES
    return asdict(estimate_performance(baseline.calibration, answers.predicted[known], answers.scores[known])), ""


def baseline_of(version: ModelVersion) -> Baseline:
    """Return what the version's reference in force tells."""
    reference = active_reference(version.pk)
    if reference is None:
        return Baseline(figures=None, calibration=None, note=NO_REFERENCE)
    return _baseline(reference)


@cached(LRUCache[Any, Baseline](100), key=attrgetter("pk"), lock=threading.Lock())
def _baseline(reference: ReferenceDataset) -> Baseline:
    """Return the baseline of a ready reference, which never changes."""
    version = ModelVersion.objects.get(pk=reference.version_id)
    table = labelled_reference(reference)
    answers = None if table is None else answers_of_table(version, table)
    if table is None or answers is None:
        return Baseline(figures=None, calibration=None, note=reference.labels_note or NO_LABELS)
    never = np.zeros(answers.rows, dtype="datetime64[us]")
    kind = np.float64 if version.task_type == TaskType.REGRESSION else object
    actual = np.array(table.column("actual").to_pylist(), dtype=kind)
    labelled = LabelledAnswers(answers=answers, actual=actual, predicted_at=never, observed_at=never)
    calibration, note = _calibration(version, labelled)
    return Baseline(figures=realised(version, labelled), calibration=calibration, note=note)


def _calibration(version: ModelVersion, labelled: LabelledAnswers) -> tuple[Calibration | None, str]:
    if version.task_type == TaskType.REGRESSION:
        return None, NOT_A_CLASSIFIER
    known = labelled.answers.with_scores()
    if labelled.answers.scores is None or not known.any():
        return None, NO_SCORES
    try:
        return fit_calibration(labelled.actual[known], labelled.answers.scores[known], version.classes), ""
    except NotCalibratableError as error:
        return None, str(error)


def _span(labelled: LabelledAnswers) -> tuple[datetime, datetime]:
    first, last = labelled.predicted_at[0].astype(object), labelled.predicted_at[-1].astype(object)
    return first.replace(tzinfo=UTC), last.replace(tzinfo=UTC) + INSTANT


def _rows_between(version: ModelVersion, since: datetime, until: datetime) -> int:
    table = read_observations(version.pk, since=since, until=until, rows=MOST_PREDICTED_ROWS, columns=["observed_at"])
    return table.num_rows


def _measure_changed_days(version: ModelVersion, changed_at: datetime | None) -> bool:
    """Make new reports of the days whose ground truth has changed since their last ones; return whether one has.

    Only the last of them says up to which change they have come: a worker that is killed before it begins anew.
    """
    seen = selectors.days_measured_up_to(version)
    if changed_at is None or (changed_at == seen and timezone.now() - changed_at > 2 * LATE_COMMIT):
        return False
    days = selectors.days_with_label_changes(version, since=seen and seen - LATE_COMMIT)
    for day in days:
        since = datetime(day.year, day.month, day.day, tzinfo=UTC)
        report = performance_between(version, since=since, until=since + DAY)
        report.labels_changed_at = changed_at if day == days[-1] else seen
        _save_day(report)
    return bool(days)


def _forget_old_reports(version: ModelVersion, newest: PerformanceReport) -> None:
    """Delete reports of the latest predictions that are old; those of days stay."""
    old = PerformanceReport.objects.filter(
        version=version, period=Period.LATEST, computed_at__lt=newest.computed_at - KEPT_LATEST_REPORTS
    )
    old.delete()


def _save_day(report: PerformanceReport) -> None:
    """Put the report in the place of the day's earlier one."""
    fields = {
        field.attname: getattr(report, field.attname)
        for field in PerformanceReport._meta.concrete_fields
        if not field.primary_key
    }
    key = {name: fields.pop(name) for name in ("version_id", "period", "started_at")}
    PerformanceReport.objects.update_or_create(**key, defaults=fields)
