"""What is known about each model now, in a number of queries that does not grow with the models.

A model is shown by its primary production version; where none is in production, by its newest that is not archived.
"""

from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce, Greatest

from drift.models import CheckStatus, DriftCheck, DriftIncident, FeatureDrift
from inference.traffic import TrafficCounts
from inference.traffic_history import ByMinute, Recently, counts_by_minute, recent_counts
from models_registry.models import Model, ModelVersion, ReferenceDataset, Stage
from models_registry.selectors import primary_first
from performance.models import PerformancePolicy, PerformanceReport, Period
from performance.selectors import reports_by_id

STAGES = [stage for stage in Stage if stage != Stage.ARCHIVED]
RECENT_MINUTES = 10
SPARKLINE_MINUTES = 60


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """What is newest about one version.

    Attributes
    ----------
    has_reference
        Whether its drift can be measured.
    check, newest_check
        The newest that succeeded, and the newest of all; backfilled ones belong to the history, not to now.
    drifted
        Features of `check` that the verdict lists or that are above their threshold, strongest first.
    incident
        The open one.
    report
        How right its newest predictions were.
    """

    has_reference: bool = False
    check: DriftCheck | None = None
    newest_check: DriftCheck | None = None
    drifted: tuple[str, ...] = ()
    incident: DriftIncident | None = None
    report: PerformanceReport | None = None


@dataclass(frozen=True, slots=True)
class ModelState:
    """One model.

    Attributes
    ----------
    shown
        The version that stands for it; None where it has none that is not archived.
    versions
        How many it has of each stage that any has, without those that are archived.
    recent
        What all its versions answered in the last `RECENT_MINUTES` minutes.
    by_minute
        The same for each of the last `SPARKLINE_MINUTES` minutes.
    largest_drop
        Of performance, that nobody is told of.
    facts
        What is newest about the shown version.
    others
        What is newest about each other version that is not archived, by its version.
    """

    pk: int
    name: str
    shown: ModelVersion | None
    versions: dict[Stage, int]
    recent: TrafficCounts
    by_minute: ByMinute
    largest_drop: float
    facts: VersionFacts
    others: dict[str, VersionFacts]

    @property
    def is_only_told_of(self) -> bool:
        """Whether it had rows and no request: it is served elsewhere, or sees copies of what others are asked."""
        return not any(self.by_minute.requests) and any(self.by_minute.predictions)

    @property
    def open_incidents(self) -> int:
        """How many of its versions have one."""
        return sum(facts.incident is not None for facts in (self.facts, *self.others.values()))


class _Newest(NamedTuple):
    """The ids of what is newest about a version."""

    reference: int | None
    check: int | None
    succeeded_check: int | None
    report: int | None


def model_states(now: datetime, *, names: Collection[str] | None = None) -> list[ModelState]:
    """Return every model, or those named, by name."""
    models = list(_models(names))
    versions = _Versions(models)
    traffic = _Traffic(now, versions.owners)
    shown = ModelVersion.objects.select_related("model").in_bulk([model.shown for model in models if model.shown])
    facts = facts_of([pk for names_of_model in versions.names_of.values() for pk in names_of_model])
    return [
        ModelState(
            pk=model.pk,
            name=model.name,
            shown=shown.get(model.shown),
            versions={stage: count for stage in STAGES if (count := versions.stages_of[model.pk][stage])},
            recent=traffic.recent[model.pk],
            by_minute=traffic.by_minute[model.pk],
            largest_drop=PerformancePolicy().largest_drop if model.largest_drop is None else model.largest_drop,
            facts=facts.get(model.shown, VersionFacts()),
            others={
                version: facts.get(pk, VersionFacts())
                for pk, version in versions.names_of[model.pk].items()
                if pk != model.shown
            },
        )
        for model in models
    ]


def facts_of(version_ids: Collection[int]) -> dict[int, VersionFacts]:
    """Return what is newest about versions, by their ids."""
    newest = {pk: _Newest(*ids) for pk, *ids in _newest_ids(version_ids)}
    check_ids = {pk for one in newest.values() for pk in (one.check, one.succeeded_check) if pk}
    checks = DriftCheck.objects.defer("result").in_bulk(check_ids)
    drifted = _drifted_features({one.succeeded_check for one in newest.values() if one.succeeded_check})
    reports = reports_by_id([one.report for one in newest.values() if one.report])
    incidents = {row.version_id: row for row in _open_incidents(version_ids)}
    return {
        pk: VersionFacts(
            has_reference=one.reference is not None,
            check=checks.get(one.succeeded_check or 0),
            newest_check=checks.get(one.check or 0),
            drifted=tuple(drifted[one.succeeded_check or 0]),
            incident=incidents.get(pk),
            report=reports.get(one.report or 0),
        )
        for pk, one in newest.items()
    }


class _Versions:
    """What models' versions are called, and where they stand.

    Attributes
    ----------
    owners
        Their models' ids, by their own.
    names_of, stages_of
        Those that are not archived, by their models' ids: what they are called, by their ids; how many in each stage.
    """

    def __init__(self, models: Collection[Any]) -> None:
        self.owners: dict[int, int] = {}
        self.names_of: defaultdict[int, dict[int, str]] = defaultdict(dict)
        self.stages_of: defaultdict[int, Counter[Stage]] = defaultdict(Counter)
        rows = ModelVersion.objects.filter(model__in=models).order_by("pk")
        for pk, model_id, version, stage in rows.values_list("pk", "model_id", "version", "stage"):
            self.owners[pk] = model_id
            if stage != Stage.ARCHIVED:
                self.names_of[model_id][pk] = version
                self.stages_of[model_id][Stage(stage)] += 1


class _Traffic:
    """Recent traffic by model; read once for all."""

    def __init__(self, now: datetime, owners: dict[int, int]) -> None:
        self.recent: defaultdict[int, TrafficCounts] = defaultdict(TrafficCounts)
        self.by_minute: defaultdict[int, ByMinute] = defaultdict(_nothing_by_minute)
        for version_id, counts in recent_counts(Recently.of(now, minutes=RECENT_MINUTES), owners).items():
            self.recent[owners[version_id]].add(counts)
        for version_id, by_minute in counts_by_minute(Recently.of(now, minutes=SPARKLINE_MINUTES), owners).items():
            for sums, minutes in zip(self.by_minute[owners[version_id]], by_minute, strict=True):
                sums[:] = [a + b for a, b in zip(sums, minutes, strict=True)]


def _nothing_by_minute() -> ByMinute:
    return ByMinute([0] * SPARKLINE_MINUTES, [0] * SPARKLINE_MINUTES)


def _models(names: Collection[str] | None) -> QuerySet[Any]:
    """Return models with their ``shown`` version's id and their ``largest_drop``."""
    versions = ModelVersion.objects.filter(model=OuterRef("pk"))
    primary = versions.filter(stage=Stage.PRODUCTION).order_by(*primary_first())
    newest = versions.exclude(stage=Stage.ARCHIVED).order_by("-id")
    models = Model.objects.annotate(
        shown=Coalesce(Subquery(primary.values("pk")[:1]), Subquery(newest.values("pk")[:1])),
        largest_drop=F("performance_policy__largest_drop"),
    ).order_by("name")
    return models if names is None else models.filter(name__in=names)


def _newest_ids(version_ids: Collection[int]) -> QuerySet[ModelVersion, tuple[Any, ...]]:
    """Return of each version its id and the values of `_Newest`: one step into an index for each of them."""
    of_version = {"version": OuterRef("pk")}
    references = ReferenceDataset.objects.filter(is_active=True, **of_version)
    checks = DriftCheck.objects.filter(is_backfilled=False, **of_version).order_by("-id")
    succeeded = checks.filter(status=CheckStatus.SUCCEEDED)
    reports = PerformanceReport.objects.filter(period=Period.LATEST, **of_version).order_by("-id")
    newest = {
        f"newest_{name}": Subquery(rows.values("pk")[:1])
        for name, rows in zip(_Newest._fields, (references, checks, succeeded, reports), strict=True)
    }
    return ModelVersion.objects.filter(pk__in=version_ids).annotate(**newest).values_list("pk", *newest)


def _drifted_features(check_ids: Collection[int]) -> defaultdict[int, list[str]]:
    """Return the names of features that drifted, by the checks' ids."""
    strength = F("score") / Greatest(F("threshold"), 1e-9)
    rows = FeatureDrift.objects.filter(Q(is_confirmed=True) | Q(is_drifted=True), check_run__in=check_ids)
    found: defaultdict[int, list[str]] = defaultdict(list)
    ordered = rows.order_by("-is_confirmed", strength.desc(nulls_last=True))
    for check_id, name in ordered.values_list("check_run_id", "feature_name"):
        found[check_id].append(name)
    return found


def _open_incidents(version_ids: Collection[int]) -> QuerySet[DriftIncident]:
    return DriftIncident.objects.filter(closed_at=None, version__in=version_ids).defer("hypotheses")
