"""The latest rows for a scrape, in a fixed number of queries."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import NamedTuple

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


def version_infos() -> list[tuple[str, str, str, str]]:
    """Return model, version, framework and stage of every version that is not archived."""
    return list(served_versions().values_list("model__name", "version", "framework", "stage"))


class NewestCheck(NamedTuple):
    """The newest succeeded check of a model's primary production version."""

    pk: int
    version_id: int
    model_name: str


def newest_checks_of_primary_versions() -> list[NewestCheck]:
    """Return one for each model that has any."""
    primary = ModelVersion.objects.filter(model=OuterRef("pk"), stage=Stage.PRODUCTION).order_by(*primary_first())
    # One step into an index for each model: grouping all checks would read the whole history at every scrape.
    newest = DriftCheck.objects.filter(
        version=OuterRef("primary"), status=CheckStatus.SUCCEEDED, is_backfilled=False
    ).order_by("-id")
    of_models = Model.objects.annotate(primary=Subquery(primary.values("pk")[:1]))
    found = of_models.annotate(newest=Subquery(newest.values("pk")[:1])).exclude(newest=None)
    return [NewestCheck(*row) for row in found.order_by("name").values_list("newest", "primary", "name")]


def versions_with_alerting_incidents() -> set[int]:
    """Return the versions with an open incident that nobody has snoozed."""
    is_awake = Q(snoozed_until=None) | Q(snoozed_until__lte=timezone.now())
    return set(DriftIncident.objects.filter(is_awake, closed_at=None).values_list("version_id", flat=True))


def checks(ids: Sequence[int]) -> dict[int, DriftCheck]:
    """Return those of the checks that are still there, by their ids."""
    return DriftCheck.objects.in_bulk(ids)


def feature_results(check_ids: Sequence[int]) -> dict[int, list[FeatureDrift]]:
    """Return the feature rows of checks by the checks' ids, without their findings, which no gauge shows."""
    found: defaultdict[int, list[FeatureDrift]] = defaultdict(list)
    for row in FeatureDrift.objects.filter(check_run__in=check_ids).defer("findings").order_by("pk"):
        found[row.check_run_id].append(row)
    return found


def job_runs() -> QuerySet[JobRun]:
    """Return the latest run of each job."""
    return JobRun.objects.all()


class NewestReport(NamedTuple):
    """The newest report of the latest predictions of a version, and what its model's policy allows."""

    pk: int
    model_name: str
    model_version: str
    largest_drop: float


def newest_reports_of_served_versions() -> list[NewestReport]:
    """Return one for each version that is not archived and has any."""
    newest = PerformanceReport.objects.filter(version=OuterRef("pk"), period=Period.LATEST).order_by("-id")
    found = served_versions().annotate(newest=Subquery(newest.values("pk")[:1])).exclude(newest=None)
    columns = ("newest", "model__name", "version", "model__performance_policy__largest_drop")
    default = PerformancePolicy().largest_drop
    return [
        NewestReport(pk, model, version, default if drop is None else drop)
        for pk, model, version, drop in found.order_by("model__name", "version").values_list(*columns)
    ]


def reports(ids: Sequence[int]) -> dict[int, PerformanceReport]:
    """Return those of the reports that are still there, by their ids."""
    return PerformanceReport.objects.in_bulk(ids)


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
