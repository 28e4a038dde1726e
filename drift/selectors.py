"""Policies, checks, incidents and due versions."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Exists, F, OuterRef, Prefetch, Q, QuerySet, Subquery
from django.utils import timezone

from drift.models import CheckStatus, DriftCheck, DriftIncident, DriftPolicy, FeatureDrift, PolicyMode
from inference.selectors import capture_policy_of
from inference.stream import redis_client, rows_seen
from mlmon.criteria import Criteria, Thresholds
from mlmon.results import Method, VerdictStatus
from models_registry.models import Model, ModelVersion, ReferenceDataset, Stage
from models_registry.selectors import model_named, primary_version, version_of

CHECKED_STAGES = (Stage.PRODUCTION, Stage.SHADOW)


def monitored_version(model_name: str, version: str | None) -> tuple[Model, ModelVersion | None]:
    """Return a model with its policies, and its version of that name; without a name, its primary version, if any.

    Raises
    ------
    UnknownModelError, UnknownVersionError
        There is no such model or version.
    """
    model = model_named(model_name, Model.objects.select_related("drift_policy", "capture_policy"))
    return model, primary_version(model) if version is None else version_of(model, version)


def policy_for(model: Model) -> DriftPolicy:
    """Return the model's policy; without one, the defaults, unsaved."""
    try:
        return model.drift_policy
    except DriftPolicy.DoesNotExist:
        return DriftPolicy(model=model)


def criteria_of(policy: DriftPolicy) -> Criteria:
    """Return what the policy asks a comparison for. Features that are never stored are not monitored."""
    rows = list(policy.feature_policies.all()) if policy.pk else []
    never_stored = capture_policy_of(policy.model).never_stored_features
    return Criteria(
        Thresholds(
            feature=policy.feature_threshold,
            prediction=policy.prediction_threshold,
            by_feature={row.feature_name: row.threshold for row in rows if row.threshold is not None},
        ),
        methods={row.feature_name: Method(row.method) for row in rows if row.method},
        unmonitored=frozenset(never_stored).union(row.feature_name for row in rows if not row.is_monitored),
        gives_verdict=policy.mode == PolicyMode.VERDICT,
        false_alarm_budget=policy.false_alarm_budget,
        extra_window_rows=tuple(dict.fromkeys((policy.window_rows // 2, *policy.extra_window_rows))),
        is_seasonal=policy.is_seasonal,
        monitors_correlation=policy.monitors_correlation,
        monitors_joint_distribution=policy.monitors_joint_distribution,
    )


def due_versions() -> list[ModelVersion]:
    """Return the production and shadow versions whose next check is due, those that have waited longest first.

    It costs one query and one round trip to Redis.
    """
    latest = DriftCheck.objects.filter(version=OuterRef("pk"), is_backfilled=False).order_by("-id")
    active = ReferenceDataset.objects.filter(version=OuterRef("pk"), is_active=True)
    candidates = (
        ModelVersion.objects.filter(stage__in=CHECKED_STAGES, references__is_active=True)
        .select_related("model__drift_policy", "model__capture_policy")
        .annotate(
            active_reference_id=Subquery(active.values("pk")[:1]),
            checked_rows=Subquery(latest.values("rows_seen")[:1]),
            checked_reference_id=Subquery(latest.values("reference_id")[:1]),
            checked_at=Subquery(latest.values("created_at")[:1]),
        )
        .order_by(F("checked_at").asc(nulls_first=True), "pk")
    )
    enabled = [version for version in candidates if policy_for(version.model).is_enabled]
    seen, now = rows_seen(redis_client(), [version.pk for version in enabled]), timezone.now()
    return [
        version
        for version in enabled
        if policy_for(version.model).is_check_due(
            rows_seen=seen[version.pk],
            reference_id=version.active_reference_id,
            last=None
            if version.checked_rows is None
            else DriftCheck(
                rows_seen=version.checked_rows,
                reference_id=version.checked_reference_id,
                created_at=version.checked_at,
            ),
            now=now,
        )
    ]


def is_due_now(policy: DriftPolicy, reference: ReferenceDataset, latest: DriftCheck | None) -> bool:
    """Return whether the next check of a version is due after its latest one. Asks Redis."""
    seen = rows_seen(redis_client(), [reference.version_id])[reference.version_id]
    return policy.is_check_due(rows_seen=seen, reference_id=reference.pk, last=latest, now=timezone.now())


def latest_check(version: ModelVersion) -> DriftCheck | None:
    """Return the version's latest check, succeeded or failed."""
    return version.drift_checks.filter(is_backfilled=False).order_by("-id").first()


def latest_succeeded_check(version: ModelVersion) -> DriftCheck | None:
    """Return the version's latest check that has results."""
    return version.drift_checks.filter(status=CheckStatus.SUCCEEDED, is_backfilled=False).order_by("-id").first()


def open_incident(version_id: int) -> DriftIncident | None:
    """Return the version's open incident, or None."""
    return DriftIncident.objects.filter(version=version_id, closed_at=None).select_related("last_check").first()


def incidents_of(model: Model) -> QuerySet[DriftIncident]:
    """Return the incidents of all versions of a model, the latest first."""
    return DriftIncident.objects.filter(version__model=model).select_related("version", "acknowledged_by")


def checks_of_incident(incident: DriftIncident) -> QuerySet[DriftCheck]:
    """Return the checks made during an incident, the latest first, with the features that they list as ``listed``."""
    listed = Prefetch("features", FeatureDrift.objects.filter(is_confirmed=True).defer("result"), to_attr="listed")
    checks = DriftCheck.objects.filter(version=incident.version_id, pk__gte=incident.opened_by_id, is_backfilled=False)
    if incident.closed_at is not None:
        checks = checks.filter(created_at__lte=incident.closed_at)
    return checks.order_by("-id").prefetch_related(listed)


@dataclass(frozen=True, slots=True)
class HistoryFilter:
    """Which stored checks to return.

    Attributes
    ----------
    before
        Only checks older than this one.
    since, until
        Only checks whose window ended at `since` or later, and before `until`.
    only_drifted, only_alarms
        Only checks with a score above its threshold; only checks whose verdict is an alarm.
    feature
        With the two filters above: only checks in which this feature is above its threshold or listed by the alarm.
    """

    before: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    only_drifted: bool = False
    only_alarms: bool = False
    feature: str | None = None


def check_history(version: ModelVersion, *, limit: int, wanted: HistoryFilter) -> QuerySet[DriftCheck]:
    """Return up to `limit` checks, those with the latest windows first, with their features prefetched.

    A backfilled check is ordered by the time of its window, not by the time when it was made.
    """
    checks = version.drift_checks.order_by("-window_ended_at", "-id").prefetch_related("features")
    if wanted.before is not None:
        ended_at = version.drift_checks.filter(pk=wanted.before).values_list("window_ended_at", flat=True).first()
        is_older = Q(pk__lt=wanted.before)
        if ended_at is not None:  # the check has not been deleted since the page before
            is_older = Q(window_ended_at__lte=ended_at) & (Q(window_ended_at__lt=ended_at) | is_older)
        checks = checks.filter(is_older)
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
