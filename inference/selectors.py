"""What the serving process reads from the database."""

from collections.abc import Iterator
from itertools import groupby

from django.db.models import Q, QuerySet
from django.utils import timezone

from inference.models import ApiToken
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
