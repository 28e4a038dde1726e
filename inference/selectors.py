"""What the serving process and the archive read from the database."""

import uuid
from collections.abc import Iterator, Set
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

import redis
from django.db.models import Count, Q, QuerySet, Sum

from inference.archive_format import from_bytes
from inference.models import ArchivePosition, CapturePolicy, ObservationChunk
from inference.stream import rows_seen
from models_registry.models import Model, ModelVersion


@dataclass(frozen=True, slots=True, order=True)
class RowPlace:
    """Where a row is among all that a version has captured: the number of its stream, and its place in it, from 1."""

    stream_number: int
    row: int

    @classmethod
    def end(cls) -> "RowPlace":
        """Return a place after every row."""
        return cls(2**31 - 1, 0)


@dataclass(frozen=True, slots=True)
class ChunkFilter:
    """Which chunks: those that may have rows observed at `since` or later and before `until`; None is no bound."""

    since: datetime | None = None
    until: datetime | None = None

    def of(self, version_id: int) -> QuerySet[ObservationChunk]:
        """Return the version's chunks that pass."""
        chunks = ObservationChunk.objects.filter(version_id=version_id)
        if self.since is not None:
            chunks = chunks.filter(last_observed_at__gte=self.since)
        return chunks if self.until is None else chunks.filter(first_observed_at__lt=self.until)


def versions_by_model() -> Iterator[tuple[str, list[ModelVersion]]]:
    """Yield every model's name with all its versions, features prefetched; models without a version too."""
    rows = ModelVersion.objects.select_related("model__capture_policy").prefetch_related("features")
    rows = rows.order_by("model__name", "id")
    grouped = {name: list(versions) for name, versions in groupby(rows, key=lambda row: row.model.name)}
    for name in Model.objects.values_list("name", flat=True):
        yield name, grouped.get(name, [])


def archive_position(version_id: int) -> ArchivePosition | None:
    """Return how far the version's stream of now is archived; None before the first time."""
    return ArchivePosition.objects.filter(version_id=version_id).order_by("-stream_number").first()


def unarchived_versions(client: redis.Redis) -> list[int]:
    """Return the versions, of any stage, whose stream has come to another row than their archive."""
    known = version_ids()
    seen = rows_seen(client, known)
    positions = ArchivePosition.objects.order_by("version", "stream_number").values_list("version", "rows_seen")
    archived = dict(positions)  # of several, the newest stays
    return [version_id for version_id in known if seen[version_id] != archived.get(version_id, 0)]


def archived_prediction_ids(version_id: int, prediction_ids: Set[bytes]) -> set[bytes]:
    """Return those of the ids (16 bytes each) that are in the version's chunks; reads a chunk at a time."""
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


def version_ids() -> list[int]:
    """Return all versions, of any stage."""
    return list(ModelVersion.objects.order_by("pk").values_list("pk", flat=True))


def chunk_ranges(
    smallest: bytes, largest: bytes, *, version_id: int | None
) -> list[tuple[int, int, uuid.UUID, uuid.UUID]]:
    """Return the chunks that may have prediction ids from `smallest` to `largest`.

    Of one version, or without one those with ids that clients gave; newest first.

    Returns
    -------
    list
        Primary key, version, smallest and largest prediction id of each.
    """
    whose = Q(has_given_ids=True) if version_id is None else Q(version_id=version_id)
    chunks = ObservationChunk.objects.filter(
        whose,
        first_prediction_id__lte=uuid.UUID(bytes=largest),
        last_prediction_id__gte=uuid.UUID(bytes=smallest),
    )
    ranges = chunks.values_list("pk", "version_id", "first_prediction_id", "last_prediction_id")
    return list(ranges.order_by("-last_observed_at"))


def chunk_payload(chunk_id: int) -> bytes | memoryview | None:
    """Return a chunk's rows as they are stored; None where it is gone."""
    return ObservationChunk.objects.filter(pk=chunk_id).values_list("payload", flat=True).first()


def chunk_from(version_id: int, place: RowPlace, wanted: ChunkFilter) -> ObservationChunk | None:
    """Return the first chunk that has `place` or a row after it."""
    chunks = wanted.of(version_id)
    here = chunks.filter(stream_number=place.stream_number, last_row__gte=place.row).order_by("last_row")
    later = chunks.filter(stream_number__gt=place.stream_number).order_by("stream_number", "last_row")
    return here.first() or later.first()


def chunk_before(version_id: int, place: RowPlace, wanted: ChunkFilter) -> ObservationChunk | None:
    """Return the last chunk that has a row before `place`."""
    chunks = wanted.of(version_id)
    here = chunks.filter(stream_number=place.stream_number, first_row__lt=place.row).order_by("-first_row")
    earlier = chunks.filter(stream_number__lt=place.stream_number).order_by("-stream_number", "-first_row")
    return here.first() or earlier.first()


def versions_with_small_chunks(*, most_rows: int) -> list[int]:
    """Return the versions that have several chunks of so many rows or fewer."""
    small = ObservationChunk.objects.filter(rows__lte=most_rows).order_by().values("version")
    return list(small.annotate(chunks=Count("pk")).filter(chunks__gt=1).values_list("version", flat=True))


def small_chunks(version_id: int, *, most_rows: int) -> list[ObservationChunk]:
    """Return a version's chunks of so many rows or fewer, in the order of their rows, without payloads."""
    chunks = ObservationChunk.objects.filter(version_id=version_id, rows__lte=most_rows)
    return list(chunks.defer("payload").order_by("stream_number", "first_row"))


def capture_policy_of(model: Model) -> CapturePolicy:
    """Return the model's capture policy; the defaults, unsaved, where it has none."""
    try:
        return model.capture_policy
    except CapturePolicy.DoesNotExist:
        return CapturePolicy(model_id=model.pk)


def archived_rows(version_id: int, *, since: datetime | None, until: datetime | None) -> int:
    """Return how many rows the chunks of a version hold that have one between these times."""
    chunks = ChunkFilter(since, until).of(version_id)
    return chunks.aggregate(rows=Sum("rows"))["rows"] or 0
