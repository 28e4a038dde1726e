"""The latest rows for a scrape, in a fixed number of queries."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from drift.models import CheckStatus, DriftCheck, DriftIncident, FeatureDrift
from models_registry.models import Model, ModelVersion, Stage
from models_registry.selectors import primary_first, served_versions
from monitoring.models import JobRun


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
    return DriftCheck.objects.defer("result").in_bulk(ids)


def feature_results(check_ids: Sequence[int]) -> dict[int, list[FeatureDrift]]:
    """Return the feature rows of checks by the checks' ids, without their results, which no gauge shows."""
    found: defaultdict[int, list[FeatureDrift]] = defaultdict(list)
    for row in FeatureDrift.objects.filter(check_run__in=check_ids).defer("result").order_by("pk"):
        found[row.check_run_id].append(row)
    return found


def job_runs() -> QuerySet[JobRun]:
    """Return the latest run of each job."""
    return JobRun.objects.all()
