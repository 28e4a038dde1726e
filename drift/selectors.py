"""Policies, checks and due versions, as rows and as plain values."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from drift.due import CheckedUpTo, DueRule, is_check_due
from drift.models import CheckStatus, DriftCheck, DriftIncident, DriftPolicy, FeatureDrift, PolicyMode
from drift.report import DriftReport, Failure, ReportSource, ReportStatus, WindowSummary
from drift.stored_results import result_of_check
from inference.redis_client import redis_client
from inference.selectors import capture_policy_of
from inference.stream import rows_seen
from mlmon.results import Criteria, Method, Thresholds, VerdictStatus
from models_registry.models import (
    Model,
    ModelVersion,
    ReferenceDataset,
    Stage,
)

CHECKED_STAGES = (Stage.PRODUCTION, Stage.SHADOW)


def policy_for(model: Model) -> DriftPolicy:
    """Return the model's policy; the defaults, unsaved, where it has none."""
    try:
        return model.drift_policy
    except DriftPolicy.DoesNotExist:
        return DriftPolicy(model=model)


def criteria_of(policy: DriftPolicy) -> Criteria:
    """Return what the policy asks a comparison for; features that are never stored are not looked at."""
    own = list(policy.feature_policies.all()) if policy.pk else []
    never_stored = capture_policy_of(policy.model).never_stored_features
    return Criteria(
        Thresholds(
            feature=policy.feature_threshold,
            prediction=policy.prediction_threshold,
            by_feature={row.feature_name: row.threshold for row in own if row.threshold is not None},
        ),
        methods={row.feature_name: Method(row.method) for row in own if row.method},
        unmonitored=frozenset(never_stored).union(row.feature_name for row in own if not row.is_monitored),
        gives_verdict=policy.mode == PolicyMode.VERDICT,
        false_alarm_budget=policy.false_alarm_budget,
        extra_window_rows=tuple(policy.extra_window_rows),
        monitors_correlation=policy.monitors_correlation,
        monitors_joint_distribution=policy.monitors_joint_distribution,
    )


def due_versions() -> list[ModelVersion]:
    """Return the production and shadow versions whose next check is due, those first that have waited longest.

    One query, one round trip to Redis.
    """
    newest = DriftCheck.objects.filter(version=OuterRef("pk"), is_backfilled=False).order_by("-id")
    active = ReferenceDataset.objects.filter(version=OuterRef("pk"), is_active=True)
    candidates = (
        ModelVersion.objects.filter(stage__in=CHECKED_STAGES, references__is_active=True)
        .select_related("model__drift_policy", "model__capture_policy")
        .annotate(
            active_reference_id=Subquery(active.values("pk")[:1]),
            checked_rows=Subquery(newest.values("rows_seen")[:1]),
            checked_reference_id=Subquery(newest.values("reference_id")[:1]),
            checked_at=Subquery(newest.values("created_at")[:1]),
        )
        .order_by(F("checked_at").asc(nulls_first=True), "pk")
    )
    enabled = [version for version in candidates if policy_for(version.model).is_enabled]
    seen = rows_seen(redis_client(), [version.pk for version in enabled])
    return [
        version
        for version in enabled
        if is_version_due(
            policy_for(version.model),
            rows_seen=seen[version.pk],
            reference_id=version.active_reference_id,
            last=None
            if version.checked_rows is None
            else CheckedUpTo(version.checked_rows, version.checked_reference_id, version.checked_at),
        )
    ]


def is_version_due(policy: DriftPolicy, *, rows_seen: int, reference_id: int, last: CheckedUpTo | None) -> bool:
    """Return whether a check is due under `policy`."""
    return is_check_due(
        rows_seen=rows_seen,
        reference_id=reference_id,
        last=last,
        rule=DueRule(policy.minimum_rows, policy.rows_between_checks, policy.longest_pause_seconds),
        now=timezone.now(),
    )


def is_due_now(policy: DriftPolicy, reference: ReferenceDataset, newest: DriftCheck | None) -> bool:
    """Return whether a version's next check is due, where `newest` is its newest one; asks Redis."""
    return is_version_due(
        policy,
        rows_seen=rows_seen(redis_client(), [reference.version_id])[reference.version_id],
        reference_id=reference.pk,
        last=None if newest is None else CheckedUpTo(newest.rows_seen, newest.reference_id, newest.created_at),
    )


def newest_check(version: ModelVersion) -> DriftCheck | None:
    """Return the version's newest check, succeeded or failed."""
    return version.drift_checks.filter(is_backfilled=False).order_by("-id").first()


def newest_succeeded_check(version: ModelVersion) -> DriftCheck | None:
    """Return the version's newest check that has results."""
    return version.drift_checks.filter(status=CheckStatus.SUCCEEDED, is_backfilled=False).order_by("-id").first()


def open_incident(version_id: int) -> DriftIncident | None:
    """Return the version's open incident, or None."""
    return DriftIncident.objects.filter(version=version_id, closed_at=None).select_related("last_check").first()


def incidents_of(model: Model) -> QuerySet[DriftIncident]:
    """Return the incidents of all versions of a model, the newest first."""
    return DriftIncident.objects.filter(version__model=model).select_related("version", "acknowledged_by")


@dataclass(frozen=True, slots=True)
class HistoryFilter:
    """Which stored checks are asked for.

    Attributes
    ----------
    before
        Older than this check.
    since, until
        Whose window ended at `since` or later, and before `until`.
    only_drifted, only_alarms
        Those with a score above its threshold; those whose verdict is an alarm.
    feature
        Drifted or alarming are then those in which this feature's score is above its threshold, or the alarm lists it.
    """

    before: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    only_drifted: bool = False
    only_alarms: bool = False
    feature: str | None = None


def check_history(version: ModelVersion, *, limit: int, wanted: HistoryFilter) -> QuerySet[DriftCheck]:
    """Return the `limit` checks with the newest windows of those wanted, results prefetched.

    A backfilled check stands where its window was, not where it was made.
    """
    checks = version.drift_checks.order_by("-window_ended_at", "-id").prefetch_related("features")
    if wanted.before is not None:
        checks = checks.filter(_is_older(version, wanted.before))
    if wanted.since is not None:
        checks = checks.filter(window_ended_at__gte=wanted.since)
    if wanted.until is not None:
        checks = checks.filter(window_ended_at__lt=wanted.until)
    of_feature = FeatureDrift.objects.filter(check_run=OuterRef("pk"), feature_name=wanted.feature)
    if wanted.only_drifted:
        any_feature = Q(n_drifted_features__gt=0) | Q(prediction_is_drifted=True)
        checks = checks.filter(Exists(of_feature.filter(is_drifted=True)) if wanted.feature else any_feature)
    if wanted.only_alarms:
        checks = checks.filter(verdict_status=VerdictStatus.ALARM)
        checks = checks.filter(Exists(of_feature.filter(is_confirmed=True))) if wanted.feature else checks
    return checks[:limit]


def checks_up_to(check: DriftCheck, *, most: int) -> list[tuple[int, datetime]]:
    """Return ids and times of the version's succeeded checks of that kind, from this one backwards."""
    checks = DriftCheck.objects.filter(
        version=check.version_id, is_backfilled=check.is_backfilled, pk__lte=check.pk, status=CheckStatus.SUCCEEDED
    )
    return list(checks.order_by("-id").values_list("pk", "created_at")[:most])


def past_scores(
    check_ids: Sequence[int], names: Sequence[str]
) -> Iterator[tuple[int, str, float | None, float, bool, bool]]:
    """Yield check, feature, score, threshold, whether it drifted, and whether the verdict lists it."""
    rows = FeatureDrift.objects.filter(check_run__in=check_ids, feature_name__in=names).order_by()
    columns = ("check_run_id", "feature_name", "score", "threshold", "is_drifted", "is_confirmed")
    yield from rows.values_list(*columns)


def _is_older(version: ModelVersion, check_id: int) -> Q:
    """Return the condition for checks that come after this one where the newest window comes first."""
    ended_at = version.drift_checks.filter(pk=check_id).values_list("window_ended_at", flat=True).first()
    if ended_at is None:  # deleted since the page before
        return Q(pk__lt=check_id)
    return Q(window_ended_at__lte=ended_at) & (Q(window_ended_at__lt=ended_at) | Q(pk__lt=check_id))


def report_of_check(check: DriftCheck, version: ModelVersion) -> DriftReport:
    """Return a stored check as a report."""
    failed = check.status == CheckStatus.FAILED
    return DriftReport(
        model_name=version.model.name,
        model_version=version.version,
        status=ReportStatus.FAILED if failed else ReportStatus.OK,
        detail=check.error_message,
        source=ReportSource.BACKFILLED if check.is_backfilled else ReportSource.STORED,
        check_id=check.pk,
        checked_at=check.created_at,
        window=WindowSummary(
            rows=check.n_current,
            rows_seen=check.rows_seen,
            end_id=check.window_end,
            started_at=check.window_started_at,
            ended_at=check.window_ended_at,
            reference_rows=check.n_reference,
        ),
        result=None if failed else result_of_check(check),
    )


def failure_of(check: DriftCheck | None) -> Failure | None:
    """Return why `check` failed; None where it did not."""
    if check is None or check.status != CheckStatus.FAILED:
        return None
    return Failure(check_id=check.pk, checked_at=check.created_at, reason=check.error_message)
