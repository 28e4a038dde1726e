"""The newest answer about drift: the latest stored check, or a comparison made for the answer.

Just after a model's first predictions the scheduler has not run yet, and the predictions may still wait in another
process's queue. The answer must not depend on that; but only stored checks feed the gauges.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, replace

import redis
from django.conf import settings
from django.utils import timezone

from drift.models import CheckStatus, DriftCheck, DriftPolicy
from drift.report import DriftReport, ReportSource, ReportStatus, WindowSummary
from drift.selectors import (
    criteria_of,
    failure_of,
    is_due_now,
    newest_check,
    newest_succeeded_check,
    policy_for,
    report_of_check,
)
from drift.services.checks import CHECK_ERRORS, failure_reason, read_policy_window, window_times
from drift.services.window_comparison import compare_window
from inference.redis_client import redis_client
from inference.selectors import capture_policy_of
from inference.stream import Window, newest_entry_id
from models_registry.models import ModelVersion, ReferenceDataset
from models_registry.selectors import active_reference

logger = logging.getLogger(__name__)

CACHED_REPORTS = 64
FLUSH_MARGIN_SECONDS = 0.1
RECENT_SECONDS = 2.0

_cache: OrderedDict[Hashable, DriftReport] = OrderedDict()
_cache_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class _Subject:
    """What a comparison is about."""

    version: ModelVersion
    reference: ReferenceDataset
    policy: DriftPolicy


def latest_or_live_drift(*, version: ModelVersion) -> DriftReport:
    """Return the latest stored check, or, where the next one is due, a comparison made now and not stored.

    Raises
    ------
    redis.RedisError
        Redis does not answer, and no check is stored.
    """
    newest = newest_check(version)
    failed = newest is not None and newest.status == CheckStatus.FAILED
    latest = newest_succeeded_check(version) if failed else newest
    report = _obstacle_or_live(version, newest, can_be_without=latest is not None)
    if latest is not None and (report is None or report.result is None):
        report = report_of_check(latest, version)
    if report is None and newest is not None:
        report = report_of_check(newest, version)
    if report is None:
        report = _report(version, ReportStatus.NO_OBSERVATIONS)
    return replace(report, last_failure=failure_of(newest))


def without_production_version(*, model_name: str) -> DriftReport:
    """Return the report of a model that has no version in production."""
    return DriftReport(
        model_name=model_name,
        model_version=None,
        status=ReportStatus.NO_PRODUCTION_VERSION,
        detail="No version of this model is in production. Promote one in the admin, or ask for one with ?version=.",
    )


def _obstacle_or_live(version: ModelVersion, newest: DriftCheck | None, *, can_be_without: bool) -> DriftReport | None:
    """Return why nothing can be compared, or the comparison of now where it is due; None where it is not."""
    policy, reference = policy_for(version.model), active_reference(version.pk)
    if not policy.is_enabled:
        return _report(version, ReportStatus.DISABLED)
    if reference is None:
        return _report(version, ReportStatus.NO_REFERENCE)
    try:
        if newest is not None and not is_due_now(policy, reference, newest):
            return None
        return _live_report(_Subject(version, reference, policy))
    except redis.RedisError:
        if not can_be_without:
            raise
        logger.warning("Redis does not answer: the drift of %s is that of its latest stored check.", version)
        return None


def _live_report(subject: _Subject) -> DriftReport:
    client = redis_client()
    cached = _cached(_cache_key(subject, newest_entry_id(client, subject.version.pk)))
    if cached is not None:
        return cached
    window = _window_after_flush(client, subject)
    rows = min(window.table.num_rows, subject.policy.window_rows)
    summary = WindowSummary(rows=rows, rows_seen=window.rows_seen, end_id=window.end_id)
    if rows == 0:
        return _report(subject.version, ReportStatus.NO_OBSERVATIONS)
    if rows < subject.policy.minimum_rows:
        detail = (
            f"{rows} of the {subject.policy.minimum_rows} rows that a comparison needs have been seen; "
            "send more predictions, or lower the minimum in the model's drift policy."
        )
        return replace(_report(subject.version, ReportStatus.INSUFFICIENT_DATA, detail), window=summary)
    return _compared(subject, window, summary)


def _compared(subject: _Subject, window: Window, summary: WindowSummary) -> DriftReport:
    version = subject.version
    try:
        criteria, rows = criteria_of(subject.policy), subject.policy.window_rows
        result = compare_window(window, subject.reference, criteria, window_rows=rows)
    except CHECK_ERRORS as error:
        logger.exception("The drift of %s could not be computed.", version)
        return replace(_report(version, ReportStatus.FAILED, failure_reason(error)), window=summary)
    started_at, ended_at = window_times(window, result.n_current)
    report = replace(
        _report(version, ReportStatus.OK),
        source=ReportSource.LIVE,
        checked_at=timezone.now(),
        window=replace(summary, started_at=started_at, ended_at=ended_at, reference_rows=result.n_reference),
        result=result,
    )
    _keep(_cache_key(subject, window.end_id), report)
    return report


def _window_after_flush(client: redis.Redis, subject: _Subject) -> Window:
    """Return the window; where it is short and rows are just coming in, after the processes have flushed."""
    pk, policy = subject.version.pk, subject.policy
    window = read_policy_window(client, pk, policy)
    if 0 < window.table.num_rows < policy.minimum_rows and _is_recent(window):
        time.sleep(settings.MLMON_CAPTURE_FLUSH_MS / 1000 + FLUSH_MARGIN_SECONDS)
        window = read_policy_window(client, pk, policy)
    return window


def _is_recent(window: Window) -> bool:
    milliseconds = int(window.end_id.split("-")[0])  # stream ids begin with Redis's time
    return abs(time.time() - milliseconds / 1000) < RECENT_SECONDS


def _report(version: ModelVersion, status: ReportStatus, detail: str = "") -> DriftReport:
    return DriftReport(
        model_name=version.model.name,
        model_version=version.version,
        status=status,
        detail=detail or WHAT_TO_DO.get(status, ""),
    )


WHAT_TO_DO = {
    ReportStatus.DISABLED: "Drift checks are off in this model's drift policy; turn them on in the admin.",
    ReportStatus.NO_REFERENCE: (
        "There is no reference data to compare with. Upload a CSV or Parquet file of training or held-out rows "
        "under Reference data in the admin."
    ),
    ReportStatus.NO_OBSERVATIONS: "This version has not answered yet. Send it predictions, then ask again.",
}


def _cache_key(subject: _Subject, end_id: str) -> Hashable:
    # A policy is saved as a whole, and its features with it (drift.admin): the time of that stands for all of it.
    captured_since = capture_policy_of(subject.version.model).updated_at
    return (subject.version.pk, subject.reference.pk, end_id, subject.policy.updated_at, captured_since)


def _cached(key: Hashable) -> DriftReport | None:
    with _cache_lock:
        if key in _cache:
            _cache.move_to_end(key)
        return _cache.get(key)


def _keep(key: Hashable, report: DriftReport) -> None:
    with _cache_lock:
        _cache[key] = report
        while len(_cache) > CACHED_REPORTS:
            _cache.popitem(last=False)
