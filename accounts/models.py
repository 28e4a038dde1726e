"""API tokens, the audit trail, and the generation number of the registry."""

import hashlib

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

TOKEN_PREFIX = "mlmon_"  # noqa: S105 -- lets secret scanners recognise a leaked token


class TokenScope(models.TextChoices):
    PREDICT = "predict", "predict: predictions, observations and feedback"
    READ = "read", "read: drift, performance, registry and metrics"
    REGISTRY = "registry", "registry: models, versions, reference data and stages"
    ROLLOUTS = "rollouts", "rollouts: start, pause, roll back and promote rollouts"
    ALL = "all", "all of the API"


class ApiToken(models.Model):
    """A bearer token of the API.

    Only its SHA-256 is stored. The token has 256 random bits, so a slow hash is not needed.
    """

    name = models.CharField(max_length=100, unique=True, help_text="Who or what will use it.")
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


def token_digest(token: str) -> str:
    """Return the SHA-256 of `token` in hexadecimal."""
    return hashlib.sha256(token.encode()).hexdigest()


class ServingGeneration(models.Model):
    """One row with a number that grows with every change that serving processes must load."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    number = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="registry_generation_is_one_row")]

    def __str__(self) -> str:
        return f"generation {self.number}"


class ChangeRecord(models.Model):
    """One entry of the audit trail: who changed what, when, from which value to which.

    Entries are written by `accounts.services.changes` and never changed. They hold the names of the row and of the
    actor, so that they outlive both.
    """

    happened_at = models.DateTimeField(default=timezone.now, db_index=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    actor = models.CharField("who", max_length=200, help_text="Name of the person or program.")
    row_type = models.CharField(max_length=100, help_text="app.model of the changed row.")
    row_id = models.CharField(max_length=64)
    row_name = models.CharField("name", max_length=200)
    model_name = models.CharField(
        "model", max_length=63, blank=True, help_text="Registered model to which the row belongs."
    )
    message = models.TextField(blank=True)
    changes = models.JSONField(default=list, help_text="Name, old value and new value of each change.")

    class Meta:
        ordering = ["-id"]
        verbose_name = "change"
        indexes = [
            models.Index(fields=["row_type", "row_id", "-id"], name="changes_of_a_row"),
            models.Index(fields=["model_name", "-id"], name="changes_of_a_model"),
        ]
        constraints = [
            models.CheckConstraint(condition=~Q(actor=""), name="change_has_an_actor"),
            models.CheckConstraint(condition=~Q(message="", changes=[]), name="change_says_something"),
        ]

    def __str__(self) -> str:
        return f"{self.row_name} at {self.happened_at:%Y-%m-%d %H:%M:%S}"

    @property
    def text(self) -> str:
        """The change as text."""
        return self.message or " ".join(f"{name}: {before} → {after}." for name, before, after in self.lines)

    @property
    def lines(self) -> list[tuple[str, str, str]]:
        """Name, old value and new value of each change, as strings."""
        lines = []
        for name, *values in self.changes:
            joined = (", ".join(map(str, value)) if isinstance(value, list) else value for value in values)
            before, after = ("none" if value in (None, "") else f"{value}" for value in joined)
            lines.append((name, before, after))
        return lines
