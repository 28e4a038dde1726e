"""The latest rows for a scrape, in a fixed number of queries."""

from collections.abc import Sequence

from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from drift.models import CheckStatus, DriftCheck, DriftIncident, FeatureDrift
from models_registry.models import Model, ModelVersion, Stage, primary_first
from monitoring.models import JobRun


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
