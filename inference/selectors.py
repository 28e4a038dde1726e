"""What the serving process and the archive read from the database."""

import uuid
from collections.abc import Iterator, Set
from itertools import groupby

import redis
from django.db.models import Q, QuerySet
from django.utils import timezone

from inference.archive_format import from_bytes
from inference.models import ApiToken, ArchivePosition, ObservationChunk
from inference.stream import rows_seen
from models_registry.models import Model, ModelVersion, RegistryGeneration


def generation() -> int:
    """Return the registry's generation number."""
    return RegistryGeneration.objects.values_list("number", flat=True).first() or 0


def versions_by_model() -> Iterator[tuple[str, list[ModelVersion]]]:
    """Yield every model's name with all its versions, features prefetched; models without a version too."""
    rows = ModelVersion.objects.select_related("model").prefetch_related("features").order_by("model__name", "id")
    grouped = {name: list(versions) for name, versions in groupby(rows, key=lambda row: row.model.name)}
    for name in Model.objects.values_list("name", flat=True):
        yield name, grouped.get(name, [])


def valid_tokens() -> QuerySet[ApiToken]:
    """Return the tokens that are neither revoked nor expired."""
    return ApiToken.objects.filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()), revoked_at=None)


def archive_position(version_id: int) -> ArchivePosition | None:
    """Return how far the version's stream of now is archived; None before the first time."""
    return ArchivePosition.objects.filter(version_id=version_id).order_by("-stream_number").first()


def unarchived_versions(client: redis.Redis) -> list[int]:
    """Return the versions, of any stage, whose stream has come to another row than their archive."""
    version_ids = list(ModelVersion.objects.order_by("pk").values_list("pk", flat=True))
    seen = rows_seen(client, version_ids)
    positions = ArchivePosition.objects.order_by("version", "stream_number").values_list("version", "rows_seen")
    archived = dict(positions)  # of several, the newest stays
    return [version_id for version_id in version_ids if seen[version_id] != archived.get(version_id, 0)]


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
