"""The latest rows for a scrape, in a fixed number of queries."""

from collections.abc import Sequence

from django.db.models import Max, OuterRef, QuerySet, Subquery

from drift.models import CheckStatus, DriftCheck, FeatureDrift
from models_registry.models import Model, ModelVersion, Stage, primary_first
from monitoring.models import JobRun


def served_versions() -> QuerySet[ModelVersion]:
    """Return every version that is not archived, with its model."""
    return ModelVersion.objects.exclude(stage=Stage.ARCHIVED).select_related("model")


def latest_checks_of_primary_versions() -> QuerySet[DriftCheck]:
    """Return the newest succeeded check of each model's primary production version."""
    primary = ModelVersion.objects.filter(model=OuterRef("pk"), stage=Stage.PRODUCTION).order_by(*primary_first())
    primary_ids = Model.objects.annotate(primary=Subquery(primary.values("pk")[:1])).values("primary")
    newest = (
        DriftCheck.objects.filter(status=CheckStatus.SUCCEEDED, version__in=primary_ids)
        .order_by()
        .values("version")
        .annotate(newest=Max("pk"))
        .values("newest")
    )
    return DriftCheck.objects.filter(pk__in=newest).select_related("version__model")


def feature_results(checks: Sequence[DriftCheck]) -> QuerySet[FeatureDrift]:
    """Return the feature rows of `checks`."""
    return FeatureDrift.objects.filter(check_run__in=checks)


def job_runs() -> QuerySet[JobRun]:
    """Return the latest run of each job."""
    return JobRun.objects.all()
