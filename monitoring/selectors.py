"""Queries of the metrics and the pages: the latest rows and the history of models, in a fixed number of queries."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import Exists, F, OuterRef, Prefetch, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone

from drift.models import CheckStatus, DriftCheck, DriftIncident, FeatureDrift
from inference.selectors import ByMinute, Recently, counts_by_minute, recent_counts
from inference.traffic import TrafficCounts
from mlmon.results import NOT_COMPARED, ResultStatus
from models_registry.models import Model, ModelVersion, ReferenceDataset, Stage
from models_registry.selectors import PRIMARY_FIRST
from performance.models import PerformanceReport, Period
from performance.selectors import reports_by_id

STAGES = [stage for stage in Stage if stage != Stage.ARCHIVED]
PREDICTIONS = "the predictions"  # among the names of what could not be compared
RECENT_MINUTES = 10
SPARKLINE_MINUTES = 60

# --- Metrics --------------------------------------------------------------------------------------------------------


class LatestCheck(NamedTuple):
    """The latest succeeded check of the primary production version of a model."""

    pk: int
    version_id: int
    model_name: str


def latest_checks_of_primary_versions() -> list[LatestCheck]:
    """Return the latest check of each model that has one."""
    primary = ModelVersion.objects.filter(model=OuterRef("pk"), stage=Stage.PRODUCTION).order_by(*PRIMARY_FIRST)
    # One index lookup for each model; grouping all checks would read the whole history at every scrape.
    latest = DriftCheck.objects.filter(
        version=OuterRef("primary"), status=CheckStatus.SUCCEEDED, is_backfilled=False
    ).order_by("-id")
    of_models = Model.objects.annotate(primary=Subquery(primary.values("pk")[:1]))
    found = of_models.annotate(latest=Subquery(latest.values("pk")[:1])).exclude(latest=None)
    return [LatestCheck(*row) for row in found.order_by("name").values_list("latest", "primary", "name")]


def versions_with_alerting_incidents() -> set[int]:
    """Return the versions with an open incident that is not snoozed."""
    is_awake = Q(snoozed_until=None) | Q(snoozed_until__lte=timezone.now())
    return set(DriftIncident.objects.filter(is_awake, closed_at=None).values_list("version_id", flat=True))


def checks_with_features(ids: Collection[int]) -> dict[int, DriftCheck]:
    """Return the checks that still exist, with their prefetched ``features``, by their ids; none with its results."""
    features = Prefetch("features", FeatureDrift.objects.defer("result").order_by("pk"))
    return DriftCheck.objects.defer("result").prefetch_related(features).in_bulk(ids)


# --- Current state of models ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """The latest rows about one version.

    Attributes
    ----------
    has_reference
        Whether its drift can be measured.
    check, latest_check
        The latest succeeded check and the latest check; backfilled checks belong to the history.
    drifted
        Features of `check` that the verdict lists or that are above their threshold, strongest first.
    not_compared
        Features that `check` could not compare, by reason.
    incident
        The open incident.
    report
        The performance of its latest predictions.
    """

    has_reference: bool = False
    check: DriftCheck | None = None
    latest_check: DriftCheck | None = None
    drifted: tuple[str, ...] = ()
    not_compared: Mapping[ResultStatus, Sequence[str]] = field(default_factory=dict)
    incident: DriftIncident | None = None
    report: PerformanceReport | None = None


@dataclass(frozen=True, slots=True)
class ModelState:
    """One model.

    Attributes
    ----------
    shown
        The version that represents it: the primary production version, or the latest version that is not archived.
    versions
        Number of versions by stage, without archived ones.
    recent
        Traffic of all its versions in the last `RECENT_MINUTES` minutes.
    by_minute
        The same for each of the last `SPARKLINE_MINUTES` minutes.
    facts
        The latest rows about the shown version.
    others
        The latest rows about each other version that is not archived, by its version.
    """

    pk: int
    name: str
    shown: ModelVersion | None
    versions: dict[Stage, int]
    recent: TrafficCounts
    by_minute: ByMinute
    facts: VersionFacts
    others: dict[str, VersionFacts]

    @property
    def has_only_observations(self) -> bool:
        """Whether it had rows but no requests, because it is served elsewhere or as a shadow."""
        return not any(self.by_minute.requests) and any(self.by_minute.predictions)


def model_states(now: datetime, *, names: Collection[str] | None = None) -> list[ModelState]:
    """Return the states of all models, or of the named ones, ordered by name."""
    models = list(_models_with_shown_version(names))
    owners: dict[int, int] = {}
    names_of: defaultdict[int, dict[int, str]] = defaultdict(dict)
    stages_of: defaultdict[int, Counter[Stage]] = defaultdict(Counter)
    rows = ModelVersion.objects.filter(model__in=models).order_by("pk")
    for pk, model_id, version, stage in rows.values_list("pk", "model_id", "version", "stage"):
        owners[pk] = model_id
        if stage != Stage.ARCHIVED:
            names_of[model_id][pk] = version
            stages_of[model_id][Stage(stage)] += 1
    recent, by_minute = _traffic_by_model(now, owners)
    shown = ModelVersion.objects.select_related("model").in_bulk([model.shown for model in models if model.shown])
    facts = facts_of([pk for names_of_model in names_of.values() for pk in names_of_model])
    return [
        ModelState(
            pk=model.pk,
            name=model.name,
            shown=shown.get(model.shown),
            versions={stage: count for stage in STAGES if (count := stages_of[model.pk][stage])},
            recent=recent[model.pk],
            by_minute=by_minute[model.pk],
            facts=facts.get(model.shown, VersionFacts()),
            others={
                version: facts.get(pk, VersionFacts())
                for pk, version in names_of[model.pk].items()
                if pk != model.shown
            },
        )
        for model in models
    ]


def facts_of(version_ids: Collection[int]) -> dict[int, VersionFacts]:
    """Return the latest rows about versions, by their ids."""
    of_version = {"version": OuterRef("pk")}
    all_checks = DriftCheck.objects.filter(is_backfilled=False, **of_version).order_by("-id")
    latest_rows: dict[str, QuerySet[Any]] = {
        "reference_id": ReferenceDataset.objects.filter(is_active=True, **of_version),
        "check_id": all_checks,
        "succeeded_check_id": all_checks.filter(status=CheckStatus.SUCCEEDED),
        "report_id": PerformanceReport.objects.filter(period=Period.LATEST, **of_version).order_by("-id"),
    }
    # One index lookup for each version and kind of row.
    latest_ids = {name: Subquery(rows.values("pk")[:1]) for name, rows in latest_rows.items()}
    versions = ModelVersion.objects.filter(pk__in=version_ids).annotate(**latest_ids)
    ids: list[dict[str, Any]] = list(versions.values("pk", *latest_ids))
    check_ids = {row[name] for row in ids for name in ("check_id", "succeeded_check_id") if row[name]}
    found_checks = DriftCheck.objects.defer("result").in_bulk(check_ids)
    drifted = _drifted_features({row["succeeded_check_id"] for row in ids if row["succeeded_check_id"]})
    incomplete = {check.pk: check.n_not_compared for check in found_checks.values() if check.n_not_compared}
    not_compared = _not_compared(incomplete) if incomplete else {}
    reports = reports_by_id([row["report_id"] for row in ids if row["report_id"]])
    open_incidents = DriftIncident.objects.filter(closed_at=None, version__in=version_ids).defer("hypotheses")
    incidents = {incident.version_id: incident for incident in open_incidents}
    return {
        row["pk"]: VersionFacts(
            has_reference=row["reference_id"] is not None,
            check=found_checks.get(row["succeeded_check_id"]),
            latest_check=found_checks.get(row["check_id"]),
            drifted=tuple(drifted.get(row["succeeded_check_id"], ())),
            not_compared=not_compared.get(row["succeeded_check_id"], {}),
            incident=incidents.get(row["pk"]),
            report=reports.get(row["report_id"]),
        )
        for row in ids
    }


def _models_with_shown_version(names: Collection[str] | None) -> QuerySet[Any]:
    """Return models with the id of their ``shown`` version."""
    versions = ModelVersion.objects.filter(model=OuterRef("pk"))
    primary = versions.filter(stage=Stage.PRODUCTION).order_by(*PRIMARY_FIRST)
    latest = versions.exclude(stage=Stage.ARCHIVED).order_by("-id")
    models = Model.objects.annotate(
        shown=Coalesce(Subquery(primary.values("pk")[:1]), Subquery(latest.values("pk")[:1])),
    ).order_by("name")
    return models if names is None else models.filter(name__in=names)


def _traffic_by_model(
    now: datetime, owners: dict[int, int]
) -> tuple[defaultdict[int, TrafficCounts], defaultdict[int, ByMinute]]:
    """Return recent traffic, in total and by minute, by the ids of models; `owners` are the models of versions."""
    recent: defaultdict[int, TrafficCounts] = defaultdict(TrafficCounts)
    for version_id, counts in recent_counts(Recently.of(now, minutes=RECENT_MINUTES), owners).items():
        recent[owners[version_id]].add(counts)
    by_minute: defaultdict[int, ByMinute] = defaultdict(
        lambda: ByMinute([0] * SPARKLINE_MINUTES, [0] * SPARKLINE_MINUTES)
    )
    for version_id, minutes in counts_by_minute(Recently.of(now, minutes=SPARKLINE_MINUTES), owners).items():
        for sums, added in zip(by_minute[owners[version_id]], minutes, strict=True):
            sums[:] = [a + b for a, b in zip(sums, added, strict=True)]
    return recent, by_minute


def _drifted_features(check_ids: Collection[int]) -> dict[int, list[str]]:
    """Return the names of drifted features, strongest first, by the ids of their checks."""
    strength = F("score") / Greatest(F("threshold"), 1e-9)
    rows = FeatureDrift.objects.filter(Q(is_confirmed=True) | Q(is_drifted=True), check_run__in=check_ids)
    found: defaultdict[int, list[str]] = defaultdict(list)
    ordered = rows.order_by("-is_confirmed", strength.desc(nulls_last=True))
    for check_id, name in ordered.values_list("check_run_id", "feature_name"):
        found[check_id].append(name)
    return found


def _not_compared(numbers: Mapping[int, int]) -> dict[int, dict[ResultStatus, list[str]]]:
    """Return what could not be compared, by the ids of the checks, whose numbers of it are given, and the reason."""
    rows = FeatureDrift.objects.filter(status__in=NOT_COMPARED, check_run__in=numbers).order_by("pk")
    found: defaultdict[int, dict[ResultStatus, list[str]]] = defaultdict(dict)
    for check_id, status, name in rows.values_list("check_run_id", "status", "feature_name"):
        found[check_id].setdefault(ResultStatus(status), []).append(name)
    without_predictions = [
        check_id for check_id, number in numbers.items() if number > sum(map(len, found[check_id].values()))
    ]
    if without_predictions:
        results = DriftCheck.objects.filter(pk__in=without_predictions).values_list("pk", "result")
        for check_id, result in results:
            if result is not None:
                found[check_id].setdefault(result.prediction.status, []).append(PREDICTIONS)
    return found


# --- History --------------------------------------------------------------------------------------------------------


def check_figures(version: ModelVersion, since: datetime, until: datetime) -> Iterable[Any]:
    """Return when the succeeded checks of a version ended and how much had drifted, oldest first.

    Of a window that several editions of the verdict's rule have checked, it has the check of the latest one.
    """
    later = DriftCheck.objects.filter(
        version=version, window_end=OuterRef("window_end"), rule_edition__gt=OuterRef("rule_edition")
    )
    found = DriftCheck.objects.filter(
        ~Exists(later),
        version=version,
        status=CheckStatus.SUCCEEDED,
        window_ended_at__gte=since,
        window_ended_at__lte=until,
    )
    return found.order_by("window_ended_at").values(
        "window_ended_at",
        "n_drifted_features",
        "n_confirmed_features",
        "prediction_js_divergence",
        "prediction_threshold",
    )


def reports_since(
    version: ModelVersion, since: datetime, period: Period
) -> Iterator[tuple[datetime, PerformanceReport]]:
    """Yield the reports of a version with their times, oldest first."""
    reports = PerformanceReport.objects.filter(version=version, period=period)
    if period == Period.DAY:
        for report in reports.filter(started_at__gte=since).order_by("started_at"):
            yield report.started_at, report
    else:
        for report in reports.filter(computed_at__gte=since).order_by("id"):
            yield report.computed_at, report
