"""One drift check: read the window, compare, write the rows."""

import logging
import time
from contextlib import suppress
from datetime import datetime
from typing import Any

import pyarrow.compute as pc
import redis
from django.db import IntegrityError, transaction
from redis.exceptions import LockError

from drift.models import CheckStatus, DriftCheck, DriftPolicy, FeatureDrift
from drift.results import ComparisonResult, FeatureResult, PredictionResult
from drift.selectors import criteria_of, policy_for
from drift.services.window_comparison import compare_window
from inference.redis_client import redis_client
from inference.stream import Window, read_window
from models_registry.models import ModelVersion, ReferenceDataset
from models_registry.selectors import active_reference

logger = logging.getLogger(__name__)

CHECK_SECONDS = 120  # a check that takes longer is given up
LOCK_SECONDS = CHECK_SECONDS + 30  # falls by itself where a worker was killed
LONGEST_DETAIL = 255


def run_drift_check(*, version_id: int) -> DriftCheck | None:
    """Compare the newest window of a version with its reference, and keep the result.

    Safe to run twice: a window is never checked twice, and two workers never compute the same (a lock in Redis; where
    that has expired, the database's unique constraint).

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
        return _check_newest_window(client, version_id)
    finally:
        with suppress(LockError):  # expired: another worker may hold it by now
            lock.release()


def window_times(window: Window) -> tuple[datetime, datetime]:
    """Return when the first and the last of a window's rows were observed."""
    times: Any = pc.min_max(window.table.column("observed_at")).as_py()
    return times["min"], times["max"]


def failure_reason(error: Exception) -> str:
    """Return one line for people; an operating system's error without the path that it names."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{type(error).__name__}: {text}".split("\n")[0][:500]


def _check_newest_window(client: redis.Redis, version_id: int) -> DriftCheck | None:
    version = ModelVersion.objects.select_related("model__drift_policy").filter(pk=version_id).first()
    reference = active_reference(version_id)
    if version is None or reference is None:
        return None
    policy = policy_for(version.model)
    window = read_window(client, version_id, policy.window_rows)
    if window.table.num_rows < policy.minimum_rows or _is_checked(version_id, window.end_id):
        return None
    return _saved(*_compared(version, reference, window, policy))


def _compared(
    version: ModelVersion, reference: ReferenceDataset, window: Window, policy: DriftPolicy
) -> tuple[DriftCheck, list[FeatureDrift]]:
    """Return the unsaved rows of one check."""
    check = DriftCheck(
        version=version,
        reference=reference,
        window_end=window.end_id,
        rows_seen=window.rows_seen,
        n_current=window.table.num_rows,
        n_reference=reference.rows or 0,
    )
    features: list[FeatureDrift] = []
    started = time.perf_counter()
    try:
        check.window_started_at, check.window_ended_at = window_times(window)
        result = compare_window(window, reference, criteria_of(policy))
        features = [_feature_row(check, feature) for feature in result.features]
        _fill(check, result)
    except Exception as error:
        logger.exception("The drift check of %s failed.", version)
        check.status, check.error_message = CheckStatus.FAILED, failure_reason(error)
    check.duration_seconds = time.perf_counter() - started
    return check, features


def _fill(check: DriftCheck, result: ComparisonResult) -> None:
    check.status = CheckStatus.SUCCEEDED
    check.n_reference, check.n_current = result.n_reference, result.n_current
    check.n_features, check.n_drifted_features = len(result.features), len(result.drifted_features)
    _fill_prediction(check, result.prediction)


def _fill_prediction(check: DriftCheck, prediction: PredictionResult) -> None:
    check.prediction_status = prediction.status
    check.prediction_js_divergence = prediction.js_divergence
    check.prediction_chi2_statistic = prediction.chi2_statistic
    check.prediction_p_value = prediction.p_value
    check.prediction_threshold = prediction.threshold
    check.prediction_is_drifted = prediction.is_drifted
    # Pairs, not objects: PostgreSQL's jsonb does not keep the order of keys, and bins have one.
    check.prediction_reference_dist = [list(pair) for pair in prediction.reference_dist.items()]
    check.prediction_current_dist = [list(pair) for pair in prediction.current_dist.items()]


def _feature_row(check: DriftCheck, result: FeatureResult) -> FeatureDrift:
    return FeatureDrift(
        check_run=check,
        feature_name=result.name,
        kind=result.kind,
        status=result.status,
        status_detail=result.status_detail[:LONGEST_DETAIL],
        method=result.method,
        score=result.score,
        threshold=result.threshold,
        is_drifted=result.is_drifted,
        statistic=result.statistic,
        p_value=result.p_value,
        reference_mean=result.reference_mean,
        current_mean=result.current_mean,
        n_reference=result.n_reference,
        n_current=result.n_current,
        n_missing_reference=result.n_missing_reference,
        n_missing_current=result.n_missing_current,
    )


def _saved(check: DriftCheck, features: list[FeatureDrift]) -> DriftCheck | None:
    """Write a check and its features, all or nothing; None where another worker has written that window."""
    try:
        with transaction.atomic():
            check.save(force_insert=True)
            FeatureDrift.objects.bulk_create(features)
    except IntegrityError:
        if not _is_checked(check.version_id, check.window_end):
            raise
        logger.info("Another worker has checked this window of version %d.", check.version_id)
        return None
    return check


def _is_checked(version_id: int, window_end: str) -> bool:
    return DriftCheck.objects.filter(version=version_id, window_end=window_end).exists()
