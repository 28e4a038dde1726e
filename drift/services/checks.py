"""One drift check: read the window, compare, write the rows."""

import logging
import time
from contextlib import suppress
from datetime import datetime
from typing import Any

import pyarrow.compute as pc
import redis
from celery.exceptions import SoftTimeLimitExceeded
from django.db import IntegrityError, transaction
from django.utils import timezone
from redis.exceptions import LockError

from drift.models import CheckStatus, DriftCheck, DriftPolicy, FeatureDrift
from drift.selectors import criteria_of, is_due_now, newest_check, policy_for
from drift.services.incidents import follow_incident
from drift.services.window_comparison import compare_window
from drift.stored_results import fill_check
from inference.redis_client import redis_client
from inference.stream import Window, read_window, read_window_since
from mlmon.comparison import COLUMN_ERRORS
from mlmon.results import ComparisonResult
from models_registry.models import ModelVersion, ReferenceDataset
from models_registry.selectors import active_reference

logger = logging.getLogger(__name__)

CHECK_SECONDS = 120  # a check that takes longer is given up
TOO_LONG = f"The check took longer than {CHECK_SECONDS} seconds. Shorten the windows of the drift policy."
CHECK_ERRORS = (*COLUMN_ERRORS, OSError)  # the profile's file may be missing
LOCK_SECONDS = CHECK_SECONDS + 30  # falls by itself where a worker was killed


def run_drift_check(*, version_id: int, only_if_due: bool = False) -> DriftCheck | None:
    """Compare the newest window of a version with its reference, and keep the result.

    Safe to run twice: a window is never checked twice, and two workers never compute the same (a lock in Redis; where
    that has expired, the database's unique constraint).

    Parameters
    ----------
    only_if_due
        Do nothing where another worker has checked the version since this check was asked for: checks closer to each
        other than the policy says would use up the false-alarm budget.

    Returns
    -------
    DriftCheck or None
        The new row, with status failed and the reason where the comparison failed; None where there is nothing to do:
        no reference, too few rows, the window's end is checked already, or another worker is at it.

    Raises
    ------
    redis.RedisError, django.db.DatabaseError
        The window could not be read, or the result not be written.
    """
    client = redis_client()
    lock = client.lock(f"mlmon:{{{version_id}}}:drift-check", timeout=LOCK_SECONDS)
    if not lock.acquire(blocking=False):
        logger.info("Another worker is checking version %d.", version_id)
        return None
    try:
        return _check_newest_window(client, version_id, only_if_due=only_if_due)
    finally:
        with suppress(LockError):  # expired: another worker may hold it by now
            lock.release()


def window_times(window: Window, rows: int) -> tuple[datetime, datetime]:
    """Return when the first and the last of a window's newest rows were observed."""
    observed_at = window.table.column("observed_at")
    times: Any = pc.min_max(observed_at.slice(max(0, len(observed_at) - rows))).as_py()
    return times["min"], times["max"]


def failure_reason(error: Exception) -> str:
    """Return one line for people; an operating system's error without the path that it names."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{type(error).__name__}: {text}".split("\n")[0][:500]


def read_policy_window(
    client: redis.Redis, version_id: int, policy: DriftPolicy, *, end_id: str | None = None
) -> Window:
    """Return the rows that a check under `policy` looks at; with `end_id`, those up to that entry."""
    rows = policy.longest_window_rows
    since = policy.oldest_observed_at(timezone.now())
    if since is None:
        return read_window(client, version_id, rows, end_id)
    return read_window_since(client, version_id, since, most_rows=rows, end_id=end_id)


def store_check(
    version: ModelVersion, reference: ReferenceDataset, window: Window, policy: DriftPolicy, *, is_backfilled: bool
) -> DriftCheck | None:
    """Compare a window with a reference and write the check, with its incident.

    A backfilled check belongs to the history: it opens no incident, and no gauge shows it.

    Returns
    -------
    DriftCheck or None
        With status failed and the reason where the comparison failed; None where another worker has checked it.
    """
    check, features, result = _compared(version, reference, window, policy)
    check.is_backfilled = is_backfilled
    return _saved(check, features, result)


def _check_newest_window(client: redis.Redis, version_id: int, *, only_if_due: bool) -> DriftCheck | None:
    versions = ModelVersion.objects.select_related("model__drift_policy", "model__capture_policy")
    version = versions.filter(pk=version_id).first()
    reference = active_reference(version_id)
    if version is None or reference is None:
        return None
    policy = policy_for(version.model)
    if only_if_due and not is_due_now(policy, reference, newest_check(version)):
        return None
    window = read_policy_window(client, version_id, policy)
    if window.table.num_rows < policy.minimum_rows or _is_checked(version_id, window.end_id):
        return None
    return store_check(version, reference, window, policy, is_backfilled=False)


def _compared(
    version: ModelVersion, reference: ReferenceDataset, window: Window, policy: DriftPolicy
) -> tuple[DriftCheck, list[FeatureDrift], ComparisonResult | None]:
    """Return the unsaved rows of one check, and its result."""
    check = DriftCheck(
        version=version,
        reference=reference,
        window_end=window.end_id,
        rows_seen=window.rows_seen,
        n_current=min(window.table.num_rows, policy.window_rows),
        n_reference=reference.rows or 0,
    )
    features: list[FeatureDrift] = []
    result = None
    started = time.perf_counter()
    try:
        check.window_started_at, check.window_ended_at = window_times(window, check.n_current)
        result = compare_window(window, reference, criteria_of(policy), window_rows=policy.window_rows)
        features = fill_check(check, result)
    except SoftTimeLimitExceeded:
        check.status, check.error_message = CheckStatus.FAILED, TOO_LONG
    except CHECK_ERRORS as error:
        logger.exception("The drift check of %s failed.", version)
        check.status, check.error_message = CheckStatus.FAILED, failure_reason(error)
    check.duration_seconds = time.perf_counter() - started
    return check, features, result


def _saved(check: DriftCheck, features: list[FeatureDrift], result: ComparisonResult | None) -> DriftCheck | None:
    """Write a check, its features and its incident, all or nothing; None where another worker has that window."""
    try:
        with transaction.atomic():
            check.save(force_insert=True)
            FeatureDrift.objects.bulk_create(features)
            if result is not None and not check.is_backfilled:
                follow_incident(check=check, result=result)
    except IntegrityError:
        if not _is_checked(check.version_id, check.window_end):
            raise
        logger.info("Another worker has checked this window of version %d.", check.version_id)
        return None
    return check


def _is_checked(version_id: int, window_end: str) -> bool:
    return DriftCheck.objects.filter(version=version_id, window_end=window_end).exists()
