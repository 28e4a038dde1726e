"""Queries of tokens, the audit trail and the generation number."""

from django.db import models
from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts.models import ApiToken, ChangeRecord, ServingGeneration


def changes_of(row: models.Model) -> QuerySet[ChangeRecord]:
    """Return the audit trail of one row, the latest change first."""
    return ChangeRecord.objects.filter(row_type=row._meta.label_lower, row_id=str(row.pk))


def current_generation() -> int:
    """Return the registry's generation number."""
    return ServingGeneration.objects.values_list("number", flat=True).first() or 0


def valid_tokens() -> QuerySet[ApiToken]:
    """Return the tokens that are neither revoked nor expired."""
    return ApiToken.objects.filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()), revoked_at=None)
