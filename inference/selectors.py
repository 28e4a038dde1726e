"""Queries of inference: the registry for serving, the archive, traffic by minute and hour, and rejections."""

import uuid
from collections import defaultdict
from collections.abc import Collection, Container, Mapping, Set
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from itertools import groupby, zip_longest
from operator import itemgetter
from typing import NamedTuple

import numpy as np
import redis
from django.db.models import F, Max, Q, QuerySet, Sum
from numpy.typing import NDArray

from inference.archive_format import from_bytes
from inference.models import (
    ArchivePosition,
    CapturePolicy,
    KServeService,
    ObservationChunk,
    RejectionCount,
    RollupSpan,
    TrafficRollup,
)
from inference.stream import rows_seen
from inference.traffic import FIGURES, Counts, TrafficCounts
from models_registry.models import Model, ModelVersion

ALL_TIME_SECONDS = 2**40  # one step for all of time


def version_ids() -> list[int]:
    """Return the ids of all versions, of any stage."""
    return list(ModelVersion.objects.order_by("pk").values_list("pk", flat=True))


def capture_policy_of(model: Model) -> CapturePolicy:
    """Return the model's capture policy, or the defaults, unsaved."""
    try:
        return model.capture_policy
    except CapturePolicy.DoesNotExist:
        return CapturePolicy(model_id=model.pk)


@dataclass(frozen=True, slots=True)
class KServeServices:
    """Which model is behind an InferenceService of KServe.

    Attributes
    ----------
    targets
        Name and version of the model by namespace and name of the service; "" if no version is named.
    mapped
        Names of the models in `targets`.
    models
        These, and the models of which a version is served elsewhere.
    """

    targets: Mapping[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    mapped: Set[str] = frozenset()
    models: Set[str] = frozenset()

    def target(self, namespace: str, service: str, known: Container[str]) -> tuple[str, str] | None:
        """Return the model and version of a service; None if it has none.

        A service without a row belongs to the model of the same name, in whatever namespace, unless that model has
        rows: then only these are its services.
        """
        by_name = (service, "") if service in known and service not in self.mapped else None
        return self.targets.get((namespace, service), by_name)


def kserve_services() -> KServeServices:
    """Return the services of KServe whose events belong to a model."""
    rows = KServeService.objects.values_list("namespace", "service", "model__name", "version__version")
    targets = {(namespace, service): (name, version or "") for namespace, service, name, version in rows}
    elsewhere = ModelVersion.objects.filter(artefact="").values_list("model__name", flat=True)
    mapped = frozenset(name for name, _ in targets.values())
    return KServeServices(targets, mapped, mapped.union(elsewhere))


def archive_position(version_id: int) -> ArchivePosition | None:
    """Return how far the version's current stream is archived; None if it has never been archived."""
    return ArchivePosition.objects.filter(version_id=version_id).order_by("-stream_number").first()


def unarchived_versions(client: redis.Redis) -> list[int]:
    """Return the versions, of any stage, whose stream has rows that are not archived, or is new."""
    known = version_ids()
    seen = rows_seen(client, known)
    positions = ArchivePosition.objects.order_by("version", "stream_number").values_list("version", "rows_seen")
    archived = dict(positions)  # of several positions, the latest
    return [version_id for version_id in known if seen[version_id] != archived.get(version_id, 0)]


def archived_prediction_ids(version_id: int, prediction_ids: Set[bytes]) -> set[bytes]:
    """Return the ids (16 bytes each) that are in the version's chunks; read one chunk at a time."""
    if not prediction_ids:
        return set()
    found: set[bytes] = set()
    chunks = ObservationChunk.objects.filter(
        version_id=version_id,
        first_prediction_id__lte=uuid.UUID(bytes=max(prediction_ids)),
        last_prediction_id__gte=uuid.UUID(bytes=min(prediction_ids)),
    )
    for payload in chunks.values_list("payload", flat=True).iterator(chunk_size=1):
        found |= prediction_ids & set(from_bytes(payload, ["prediction_id"]).column(0).to_pylist())
    return found


def chunk_ranges(
    smallest: bytes, largest: bytes, *, version_id: int | None
) -> list[tuple[int, int, uuid.UUID, uuid.UUID]]:
    """Return the chunks that may contain prediction ids from `smallest` to `largest`, latest first.

    With a `version_id`, its chunks; otherwise the chunks of all versions with ids that clients gave.

    Returns
    -------
    list
        Primary key, version, smallest and largest prediction id of each chunk.
    """
    owner = Q(has_given_ids=True) if version_id is None else Q(version_id=version_id)
    chunks = ObservationChunk.objects.filter(
        owner,
        first_prediction_id__lte=uuid.UUID(bytes=largest),
        last_prediction_id__gte=uuid.UUID(bytes=smallest),
    )
    ranges = chunks.values_list("pk", "version_id", "first_prediction_id", "last_prediction_id")
    return list(ranges.order_by("-last_observed_at"))


def chunks_between(version_id: int, since: datetime | None, until: datetime | None) -> QuerySet[ObservationChunk]:
    """Return the chunks that may have rows observed at `since` or later and before `until`; None is no bound."""
    chunks = ObservationChunk.objects.filter(version_id=version_id)
    if since is not None:
        chunks = chunks.filter(last_observed_at__gte=since)
    return chunks if until is None else chunks.filter(first_observed_at__lt=until)


def oldest_chunks_above(model: Model, most_bytes: int, *, most: int) -> list[int]:
    """Return the ids of the oldest chunks by which a model exceeds `most_bytes`, at most `most` of them."""
    chunks = ObservationChunk.objects.filter(version__model=model)
    excess = (chunks.aggregate(bytes=Sum("payload_bytes"))["bytes"] or 0) - most_bytes
    ids: list[int] = []
    for pk, payload_bytes in chunks.order_by("last_observed_at").values_list("pk", "payload_bytes")[:most]:
        if excess <= 0:
            break
        ids.append(pk)
        excess -= payload_bytes
    return ids


@dataclass(frozen=True, slots=True)
class Recently:
    """The last minutes: whole ones, and the current minute so far.

    Attributes
    ----------
    since
        Begin of the first minute.
    until
        The current time.
    """

    since: datetime
    until: datetime

    @classmethod
    def of(cls, now: datetime, *, minutes: int) -> "Recently":
        """Return the last `minutes` minutes, including the current one."""
        return cls(now.replace(second=0, microsecond=0) - timedelta(minutes=minutes - 1), now)

    @property
    def minutes(self) -> float:
        """The length in minutes."""
        return (self.until - self.since) / timedelta(minutes=1)


class ByMinute(NamedTuple):
    """Numbers of requests and of predicted rows for each minute."""

    requests: list[int]
    predictions: list[int]


@dataclass(frozen=True, slots=True)
class TrafficSeries:
    """Traffic of one version in n steps, in the order of time; steps without traffic are left out.

    Attributes
    ----------
    steps
        Unix time of the begin of each step, shape (n,).
    success, error, rejected, predictions
        Shape (n,).
    latency_seconds, output_sum
        Shape (n,).
    latency_counts, confidence_counts, class_counts
        As in `inference.traffic.TrafficCounts`, a row for each step.
    """

    steps: NDArray[np.int64]
    success: Counts
    error: Counts
    rejected: Counts
    predictions: Counts
    latency_seconds: NDArray[np.float64]
    output_sum: NDArray[np.float64]
    latency_counts: Counts
    confidence_counts: Counts
    class_counts: Counts

    @property
    def requests(self) -> Counts:
        return self.success + self.error + self.rejected


SERIES_FIELDS = tuple(one.name for one in fields(TrafficSeries) if one.name != "steps")


def recent_counts(recently: Recently, version_ids: Collection[int] | None = None) -> dict[int, TrafficCounts]:
    """Return the traffic of all versions, or of some, by their ids; versions without traffic are left out."""
    found = traffic_series(version_ids, span=RollupSpan.MINUTE, since=recently.since, step_seconds=ALL_TIME_SECONDS)
    return {
        version_id: TrafficCounts(**{name: getattr(series, name)[0] for name in FIGURES})
        for version_id, series in found.items()
    }


def counts_by_minute(recently: Recently, version_ids: Collection[int] | None = None) -> dict[int, ByMinute]:
    """Return the traffic of all versions, or of some, for each minute up to the current one."""
    length = int(recently.minutes) + 1
    found: defaultdict[int, ByMinute] = defaultdict(lambda: ByMinute([0] * length, [0] * length))
    rows = _rollups(RollupSpan.MINUTE, recently.since, version_ids)
    rows = rows.annotate(requests=F("success") + F("error") + F("rejected")).exclude(requests=0, predictions=0)
    for version_id, begins_at, *counts in rows.values_list("version_id", "begins_at", "requests", "predictions"):
        index = int((begins_at - recently.since) / timedelta(minutes=1))
        if index < length:  # another server's clock may be ahead
            for by_minute, count in zip(found[version_id], counts, strict=True):
                by_minute[index] += count
    return dict(found)


def traffic_series(
    version_ids: Collection[int] | None, *, span: RollupSpan, since: datetime, step_seconds: int
) -> dict[int, TrafficSeries]:
    """Return the traffic of versions by their ids; versions without traffic are left out.

    Parameters
    ----------
    version_ids
        None for all versions.
    span
        Which rows to read.
    step_seconds
        A multiple of `span`; steps begin at its multiples in Unix time.
    """
    rows = _rollups(span, since, version_ids).order_by("version_id", "begins_at")
    series: dict[int, TrafficSeries] = {}
    for version_id, found in groupby(rows.values_list("version_id", "begins_at", *SERIES_FIELDS), key=itemgetter(0)):
        _, begins, *columns = zip(*found, strict=True)
        seconds = np.array([int(begin.timestamp()) for begin in begins], dtype=np.int64)
        steps, starts = np.unique(seconds // step_seconds * step_seconds, return_index=True)
        sums = {}
        for name, values in zip(SERIES_FIELDS, columns, strict=True):
            if isinstance(values[0], list):  # histograms: extend the shorter ones with zeros
                bins = list(zip_longest(*values, fillvalue=0))
                array = np.array(bins, dtype=np.int64).reshape(len(bins), len(values)).T
            else:
                array = np.array(values)
            sums[name] = np.add.reduceat(array, starts)
        series[version_id] = TrafficSeries(steps=steps, **sums)
    return series


@dataclass(frozen=True, slots=True)
class RecentRejections:
    """Rejections of one model for one feature and reason; `inference.rejections` has the names.

    Attributes
    ----------
    last_hour, last_day
        Numbers of rejected requests and observations.
    example
        The latest reason in words, without values.
    """

    feature_name: str
    reason: str
    last_hour: int
    last_day: int
    last_at: datetime
    example: str


def recent_rejections(model_id: int, now: datetime, *, most: int) -> tuple[list[RecentRejections], int]:
    """Return the most frequent rejections of a model in the last day, and the number of pairs that are left out.

    A pair is a feature and a reason. Those of the last hour come first.
    """
    hour = Sum("count", filter=Q(begins_at__gt=now - timedelta(hours=1)), default=0)
    rows = RejectionCount.objects.filter(model_id=model_id, begins_at__gt=now - timedelta(days=1)).order_by()
    pairs = rows.values("feature_name", "reason").annotate(
        last_hour=hour, last_day=Sum("count"), last_time=Max("last_at"), last_minute=Max("begins_at")
    )
    counted = sorted(pairs, key=lambda pair: (-pair["last_hour"], -pair["last_day"], pair["feature_name"]))
    shown = counted[:most]
    if not shown:
        return [], 0
    latest = Q()
    for pair in shown:
        latest |= Q(feature_name=pair["feature_name"], reason=pair["reason"], begins_at=pair["last_minute"])
    found = rows.filter(latest).values_list("feature_name", "reason", "example")
    examples = {(feature_name, reason): example for feature_name, reason, example in found}
    lines = [
        RecentRejections(
            feature_name=pair["feature_name"],
            reason=pair["reason"],
            last_hour=pair["last_hour"],
            last_day=pair["last_day"],
            last_at=pair["last_time"],
            example=examples[pair["feature_name"], pair["reason"]],
        )
        for pair in shown
    ]
    return lines, len(counted) - len(shown)


def _rollups(span: RollupSpan, since: datetime, version_ids: Collection[int] | None) -> QuerySet[TrafficRollup]:
    rows = TrafficRollup.objects.filter(span_seconds=span, begins_at__gte=since).order_by()
    return rows if version_ids is None else rows.filter(version__in=version_ids)
