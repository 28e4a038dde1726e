"""Who may call the API."""

import hashlib
import secrets

from django.conf import settings
from django.db import models
from django.db.models import Q

TOKEN_PREFIX = "mlmon_"  # noqa: S105 -- lets secret scanners know a leaked token


class TokenScope(models.TextChoices):
    PREDICT = "predict", "predict: predictions, observations and feedback"
    READ = "read", "read: drift, performance, registry and metrics"
    ALL = "all", "all of the API"


class ApiToken(models.Model):
    """A bearer token of the API.

    Only its SHA-256 is kept; the token has 256 random bits, so no slow hash is needed.
    """

    name = models.CharField(max_length=100, unique=True, help_text="Who or what uses it.")
    scope = models.CharField(max_length=16, choices=TokenScope, default=TokenScope.PREDICT)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    hint = models.CharField(max_length=16, editable=False, help_text="The first characters of the token.")
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        verbose_name = "API token"
        constraints = [
            models.CheckConstraint(condition=Q(scope__in=TokenScope.values), name="token_scope_is_known"),
            models.CheckConstraint(condition=~Q(digest=""), name="token_has_a_digest"),
        ]

    def __str__(self) -> str:
        return self.name


def new_token() -> str:
    """Return a new random token."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def token_digest(token: str) -> str:
    """Return the SHA-256 of `token` in hexadecimal."""
    return hashlib.sha256(token.encode()).hexdigest()
