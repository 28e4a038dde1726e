"""The latest rows for a scrape, in a fixed number of queries."""

from collections.abc import Sequence
from datetime import UTC, date, datetime

from django.db.models import Max, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import TruncDate
from django.utils import timezone

from drift.models import CheckStatus, DriftCheck, DriftIncident, FeatureDrift
from inference.models import GroundTruth
from models_registry.models import Model, ModelVersion, Stage, primary_first
from monitoring.models import JobRun, PerformancePolicy, PerformanceReport, Period


def served_versions() -> QuerySet[ModelVersion]:
    """Return every version that is not archived, with its model."""
    return ModelVersion.objects.exclude(stage=Stage.ARCHIVED).select_related("model")


def latest_checks_of_primary_versions() -> QuerySet[DriftCheck]:
    """Return the newest succeeded check of each model's primary production version."""
    primary = ModelVersion.objects.filter(model=OuterRef("pk"), stage=Stage.PRODUCTION).order_by(*primary_first())
    # One step into an index for each model: grouping all checks would read the whole history at every scrape.
    newest = DriftCheck.objects.filter(
        version=OuterRef("primary"), status=CheckStatus.SUCCEEDED, is_backfilled=False
    ).order_by("-id")
    of_models = Model.objects.annotate(primary=Subquery(primary.values("pk")[:1]))
    newest_ids = of_models.annotate(newest=Subquery(newest.values("pk")[:1])).values("newest")
    return DriftCheck.objects.filter(pk__in=newest_ids).select_related("version__model")


def versions_with_alerting_incidents() -> set[int]:
    """Return the versions with an open incident that nobody has snoozed."""
    is_awake = Q(snoozed_until=None) | Q(snoozed_until__lte=timezone.now())
    return set(DriftIncident.objects.filter(is_awake, closed_at=None).values_list("version_id", flat=True))


def feature_results(checks: Sequence[DriftCheck]) -> QuerySet[FeatureDrift]:
    """Return the feature rows of `checks`, without their findings, which no gauge shows."""
    return FeatureDrift.objects.filter(check_run__in=checks).defer("findings")


def job_runs() -> QuerySet[JobRun]:
    """Return the latest run of each job."""
    return JobRun.objects.all()


def newest_performance_of_served_versions() -> QuerySet[PerformanceReport]:
    """Return the newest report of the latest predictions of every version that is not archived."""
    newest = PerformanceReport.objects.filter(version=OuterRef("pk"), period=Period.LATEST).order_by("-id")
    served = ModelVersion.objects.exclude(stage=Stage.ARCHIVED).annotate(newest=Subquery(newest.values("pk")[:1]))
    reports = PerformanceReport.objects.filter(pk__in=served.values("newest"))
    return reports.select_related("version__model__performance_policy")


def performance_policy_of(model: Model) -> PerformancePolicy:
    """Return the model's performance policy; the defaults, unsaved, where it has none."""
    try:
        return model.performance_policy
    except PerformancePolicy.DoesNotExist:
        return PerformancePolicy(model_id=model.pk)


def newest_report(version: ModelVersion, period: Period) -> PerformanceReport | None:
    """Return the version's report of that kind that was made last."""
    return PerformanceReport.objects.filter(version=version, period=period).order_by("-id").first()


def newest_days(version: ModelVersion, days: int) -> list[PerformanceReport]:
    """Return the version's reports of that many days, newest first."""
    return list(PerformanceReport.objects.filter(version=version, period=Period.DAY).order_by("-started_at")[:days])


def days_measured_up_to(version: ModelVersion) -> datetime | None:
    """Return the newest change of ground truth that the version's reports of days have seen."""
    days = PerformanceReport.objects.filter(version=version, period=Period.DAY)
    newest: datetime | None = days.aggregate(at=Max("labels_changed_at"))["at"]
    return newest


def newest_label_change(version: ModelVersion) -> datetime | None:
    """Return when the ground truth of a version changed last."""
    newest: datetime | None = GroundTruth.objects.filter(version=version).aggregate(at=Max("changed_at"))["at"]
    return newest


def days_with_label_changes(version: ModelVersion, *, since: datetime | None) -> list[date]:
    """Return the days (UTC) with predictions whose ground truth has changed since then, oldest first."""
    changed = GroundTruth.objects.filter(version=version)
    if since is not None:
        changed = changed.filter(changed_at__gt=since)
    days = changed.annotate(day=TruncDate("predicted_at", tzinfo=UTC)).order_by("day")
    return list(days.values_list("day", flat=True).distinct())
