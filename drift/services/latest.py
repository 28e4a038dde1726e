"""The latest drift of a version: the last stored check, or a comparison computed for the response.

Right after a model's first predictions no check is stored yet, and the predictions may still wait in another process's
queue. The response must not depend on that, but only stored checks set the gauges.
"""

import logging
import threading
import time
from collections.abc import Hashable
from dataclasses import replace

import redis
from cachetools import LRUCache
from django.conf import settings
from django.utils import timezone

from drift.models import CheckStatus, DriftPolicy
from drift.report import DriftReport, Failure, ReportSource, ReportStatus, WindowSummary, report_of_check
from drift.selectors import is_due_now, latest_check, latest_succeeded_check, policy_for
from drift.services.checks import CHECK_ERRORS, compare_window, failure_reason, read_policy_window, window_times
from inference.selectors import capture_policy_of
from inference.stream import latest_entry_id, redis_client
from mlmon.verdict import RULE_EDITION
from models_registry.models import ModelVersion, ReferenceDataset
from models_registry.selectors import active_reference

logger = logging.getLogger(__name__)

FLUSH_MARGIN_SECONDS = 0.1
RECENT_SECONDS = 2.0
WHAT_TO_DO = {
    ReportStatus.DISABLED: "Drift checks are off in this model's drift policy. Turn them on in the admin.",
    ReportStatus.NO_REFERENCE: (
        "There is no reference data to compare with. Upload a CSV or Parquet file of training or held-out rows "
        "under Reference data in the admin."
    ),
    ReportStatus.NO_OBSERVATIONS: "This version has made no predictions yet. Send it predictions, then ask again.",
    ReportStatus.NO_PRODUCTION_VERSION: (
        "No version of this model is in production. Promote one in the admin, or ask for a version with ?version=."
    ),
}
_cache: LRUCache[Hashable, DriftReport] = LRUCache(64)
_cache_lock = threading.Lock()


def report_without_result(
    model_name: str, model_version: str | None, status: ReportStatus, detail: str = ""
) -> DriftReport:
    """Return why there is no comparison, and what to do."""
    return DriftReport(model_name, model_version, status, detail or WHAT_TO_DO.get(status, ""))


def latest_drift(*, version: ModelVersion) -> DriftReport:
    """Return the latest stored check or, if the next check is due, a comparison made now and not stored.

    Raises
    ------
    redis.RedisError
        Redis is unavailable, and no check is stored.
    """
    latest, name = latest_check(version), (version.model.name, version.version)
    has_succeeded = latest is not None and latest.status == CheckStatus.SUCCEEDED
    succeeded = latest if has_succeeded else latest_succeeded_check(version)
    policy, reference = policy_for(version.model), active_reference(version.pk)
    report = None
    if not policy.is_enabled:
        report = report_without_result(*name, ReportStatus.DISABLED)
    elif reference is None:
        report = report_without_result(*name, ReportStatus.NO_REFERENCE)
    else:
        try:
            if latest is None or is_due_now(policy, reference, latest):
                report = _live_report(version, reference, policy)
        except redis.RedisError:
            if succeeded is None:
                raise
            logger.warning("Redis is unavailable. The drift of %s is that of its latest stored check.", version)
    if succeeded is not None and (report is None or report.result is None):
        report = report_of_check(succeeded, version)
    if report is None:
        report = (
            report_of_check(latest, version) if latest else report_without_result(*name, ReportStatus.NO_OBSERVATIONS)
        )
    failure = None
    if latest is not None and latest.status == CheckStatus.FAILED:
        failure = Failure(check_id=latest.pk, checked_at=latest.created_at, reason=latest.error_message)
    return replace(report, last_failure=failure)


def _live_report(version: ModelVersion, reference: ReferenceDataset, policy: DriftPolicy) -> DriftReport:
    """Compare the current window. Reports are cached until the window or a policy changes."""
    client, name = redis_client(), (version.model.name, version.version)
    # Saving a policy's features saves the policy too (drift.admin), so its time stands for all of them.
    settings_key = (version.pk, reference.pk, policy.updated_at, capture_policy_of(version.model).updated_at)
    end_id = latest_entry_id(client, version.pk)
    with _cache_lock:
        cached = _cache.get((end_id, settings_key))
    if cached is not None:
        return cached
    window = read_policy_window(client, version.pk, policy)
    if 0 < window.table.num_rows < policy.minimum_rows:
        written_at_ms = int(window.end_id.split("-")[0])  # stream ids start with Redis's time
        if abs(time.time() - written_at_ms / 1000) < RECENT_SECONDS:
            # Other processes may have rows in their queues.
            time.sleep(settings.MLMON_CAPTURE_FLUSH_MS / 1000 + FLUSH_MARGIN_SECONDS)
            window = read_policy_window(client, version.pk, policy)
    rows = min(window.table.num_rows, policy.window_rows)
    summary = WindowSummary(rows=rows, rows_seen=window.rows_seen, end_id=window.end_id)
    if rows == 0:
        return report_without_result(*name, ReportStatus.NO_OBSERVATIONS)
    if rows < policy.minimum_rows:
        detail = (
            f"{rows} of the {policy.minimum_rows} rows that a comparison needs have been seen. "
            "Send more predictions, or lower the minimum in the model's drift policy."
        )
        return replace(report_without_result(*name, ReportStatus.INSUFFICIENT_DATA, detail), window=summary)
    try:
        result = compare_window(window, reference, policy)
    except CHECK_ERRORS as error:
        logger.exception("The drift of %s could not be computed.", version)
        return replace(report_without_result(*name, ReportStatus.FAILED, failure_reason(error)), window=summary)
    started_at, ended_at = window_times(window, result.n_current)
    report = DriftReport(
        *name,
        ReportStatus.OK,
        source=ReportSource.LIVE,
        rule_edition=RULE_EDITION,
        checked_at=timezone.now(),
        window=replace(summary, started_at=started_at, ended_at=ended_at, reference_rows=result.n_reference),
        result=result,
    )
    with _cache_lock:
        _cache[window.end_id, settings_key] = report
    return report
