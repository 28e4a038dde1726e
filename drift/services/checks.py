"""One drift check: read the window, compare it with the reference's profile, judge, store."""

import logging
import threading
import time
from contextlib import suppress
from datetime import datetime
from operator import attrgetter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import redis
from cachetools import LRUCache, cached
from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from redis.exceptions import LockError

from accounts.actors import Actor
from accounts.services.changes import record_change
from drift.exceptions import NothingToCheckError
from drift.models import CheckStatus, DriftCheck, DriftPolicy, FeatureDrift
from drift.selectors import criteria_of, is_due_now, latest_check, policy_for
from drift.services.incidents import follow_incident
from inference.services.archiving import first_unarchived
from inference.stream import Window, read_window, read_window_since, redis_client, rows_seen, trim_to_rows
from mlmon.comparison import compare
from mlmon.feature_comparison import COLUMN_ERRORS
from mlmon.prepared import PreparedReference, prepare
from mlmon.results import ComparisonResult
from mlmon.verdict import RULE_EDITION
from models_registry.models import ModelVersion, ReferenceDataset, Stage
from models_registry.selectors import active_reference, load_profile

logger = logging.getLogger(__name__)

CHECK_SECONDS = 120  # the time limit of a check
LOCK_SECONDS = CHECK_SECONDS + 30  # the lock of a killed worker expires
TOO_LONG = f"The check took longer than {CHECK_SECONDS} seconds. Shorten the windows of the drift policy."
CHECK_ERRORS = (*COLUMN_ERRORS, OSError)  # OSError: the profile's file is missing or cannot be read
PREPARED_REFERENCES: LRUCache[str, PreparedReference] = LRUCache(
    settings.MLMON_PREPARED_REFERENCES_BYTES, getsizeof=attrgetter("nbytes")
)


def run_drift_check(*, version_id: int, only_if_due: bool = False) -> DriftCheck | None:
    """Compare the latest window of a version with its reference and store the result.

    Safe to run twice: a lock in Redis keeps two workers from computing the same window, and a unique constraint keeps
    them from storing it twice if the lock has expired.

    Parameters
    ----------
    only_if_due
        Do nothing if another worker has checked the version in the meantime. More checks than the policy allows would
        use up the false-alarm budget.

    Returns
    -------
    DriftCheck or None
        The new row, with status failed and the reason if the comparison failed. None if there is nothing to do: no
        reference, too few rows, the window is already checked, or another worker is checking it.

    Raises
    ------
    redis.RedisError, django.db.DatabaseError
        The window could not be read, or the result could not be stored.
    """
    client = redis_client()
    lock = client.lock(f"mlmon:{{{version_id}}}:drift-check", timeout=LOCK_SECONDS)
    if not lock.acquire(blocking=False):
        logger.info("Another worker is checking version %d.", version_id)
        return None
    try:
        versions = ModelVersion.objects.select_related("model__drift_policy", "model__capture_policy")
        version, reference = versions.filter(pk=version_id).first(), active_reference(version_id)
        if version is None or reference is None:
            return None
        policy = policy_for(version.model)
        if only_if_due and not is_due_now(policy, reference, latest_check(version)):
            return None
        window = read_policy_window(client, version_id, policy)
        if _is_checked(version, window) or window.table.num_rows < policy.minimum_rows:
            return None
        return store_check(version, reference, window, policy)
    finally:
        with suppress(LockError):  # it expired, and another worker may hold it now
            lock.release()


def read_policy_window(
    client: redis.Redis, version_id: int, policy: DriftPolicy, *, end_id: str | None = None
) -> Window:
    """Return the rows that a check under `policy` compares; with `end_id`, those up to that stream entry."""
    since = policy.oldest_observed_at(timezone.now())
    if since is None:
        return read_window(client, version_id, policy.longest_window_rows, end_id)
    return read_window_since(client, version_id, since, most_rows=policy.longest_window_rows, end_id=end_id)


def window_times(window: Window, rows: int) -> tuple[datetime, datetime]:
    """Return the times of the first and the last of a window's latest `rows` observations."""
    observed_at = window.table.column("observed_at")
    times: Any = pc.min_max(observed_at.slice(max(0, len(observed_at) - rows))).as_py()
    return times["min"], times["max"]


@cached(PREPARED_REFERENCES, key=attrgetter("profile_file.name"), lock=threading.Lock())
def prepared_reference(reference: ReferenceDataset) -> PreparedReference:
    """Return the prepared profile of a reference. A profile never changes, so the process caches the last ones."""
    return prepare(load_profile(reference))


def compare_window(
    window: Window, reference: ReferenceDataset, policy: DriftPolicy, *, with_details: bool = True
) -> ComparisonResult:
    """Compare a window, as `read_policy_window` returns it, with a reference; details as `mlmon.comparison.compare`."""
    predictions = window.table.column("prediction") if "prediction" in window.table.column_names else None
    criteria, prepared = criteria_of(policy), prepared_reference(reference)
    times: Any = window.table.column("observed_at").cast(pa.int64()).to_numpy() if policy.is_seasonal else None
    return compare(
        prepared,
        window.features,
        predictions,
        criteria,
        window_rows=policy.window_rows,
        times=times,
        with_details=with_details,
    )


def failure_reason(error: Exception) -> str:
    """Return the reason in one line. The message of an operating system's error has no path in it."""
    message = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{type(error).__name__}: {message}".split("\n")[0][:500]


def store_check(
    version: ModelVersion,
    reference: ReferenceDataset,
    window: Window,
    policy: DriftPolicy,
    *,
    is_backfilled: bool = False,
) -> DriftCheck | None:
    """Compare a window with a reference; store the check, its features and its incident in one transaction.

    A backfilled check belongs to the history: it opens no incident and sets no gauge.

    Returns
    -------
    DriftCheck or None
        The check, with status failed and the reason if the comparison failed; None if another worker has stored a
        check of this window.
    """
    check = DriftCheck(
        version=version,
        reference=reference,
        window_end=window.end_id,
        rows_seen=window.rows_seen,
        n_current=min(window.table.num_rows, policy.window_rows),
        n_reference=reference.rows or 0,
        is_backfilled=is_backfilled,
    )
    features: list[FeatureDrift] = []
    result = None
    started = time.perf_counter()
    try:
        check.window_started_at, check.window_ended_at = window_times(window, check.n_current)
        result = compare_window(window, reference, policy)
        features = check.succeed(result)
    except SoftTimeLimitExceeded:
        check.status, check.error_message = CheckStatus.FAILED, TOO_LONG
    except CHECK_ERRORS as error:
        logger.exception("The drift check of %s failed.", version)
        check.status, check.error_message = CheckStatus.FAILED, failure_reason(error)
    check.duration_seconds = time.perf_counter() - started
    try:
        with transaction.atomic():
            check.save(force_insert=True)
            FeatureDrift.objects.bulk_create(features)
            if result is not None and not is_backfilled:
                follow_incident(check=check, result=result)
    except IntegrityError:
        if not _is_checked(version, window):
            raise
        logger.info("Another worker has checked this window of version %d.", version.pk)
        return None
    return check


def _is_checked(version: ModelVersion, window: Window) -> bool:
    return version.drift_checks.filter(window_end=window.end_id, rule_edition=RULE_EDITION).exists()


def check_by_hand(*, version: ModelVersion, user: Actor) -> DriftCheck:
    """Check the latest window of a version now, whether or not a check is due.

    Raises
    ------
    NothingToCheckError
        There is no reference, too few rows, or no new row since the last check.
    redis.RedisError
        The live window could not be read.
    """
    check = run_drift_check(version_id=version.pk)
    if check is None:
        raise NothingToCheckError(
            "There is nothing to check: there is no active reference, the window has too few rows, there is no new "
            "prediction since the last check, or a worker is checking it right now."
        )
    record_change(user=user, row=check, message="Checked by hand.")
    return check


def trim_live_windows() -> int:
    """Drop the oldest entries beyond the live window of each version, and return how many were dropped.

    The window is as long as the setting says, or as the model's policy needs. Rows that are not archived yet are kept,
    up to the limit of the stream; the archive counts those beyond it as lost.
    """
    client = redis_client()
    versions = list(ModelVersion.objects.exclude(stage=Stage.ARCHIVED).select_related("model__drift_policy"))
    seen = rows_seen(client, [version.pk for version in versions])
    dropped = 0
    for version in versions:
        rows = max(settings.MLMON_LIVE_WINDOW_ROWS, policy_for(version.model).longest_window_rows)
        if seen[version.pk] > rows:
            dropped += trim_to_rows(client, version.pk, rows, keep_from=first_unarchived(client, version.pk))
            dropped += trim_to_rows(client, version.pk, max(rows, settings.MLMON_STREAM_ROWS))
    return dropped
