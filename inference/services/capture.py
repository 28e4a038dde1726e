"""Changing what is remembered of a model's answers."""

from collections.abc import Iterator

from django.contrib.auth.models import User
from django.db import transaction

from inference.models import CapturePolicy
from inference.selectors import capture_policy_of
from models_registry.models import Model
from models_registry.services.audit import record_change
from models_registry.services.generation import bump_generation

FIELDS = ("sampling_rate", "never_stored_features", "retention_days", "archive_megabytes")


@transaction.atomic
def save_capture_policy(*, policy: CapturePolicy, user: User | None = None) -> None:
    """Keep a model's policy, new or changed; serving processes follow it about a second later."""
    before = capture_policy_of(Model.objects.select_for_update().get(pk=policy.model_id))
    changes = list(_changes(before, policy))
    policy.save()
    bump_generation()
    record_change(user=user, row=policy, message=" ".join(changes) or "Nothing was changed.")


@transaction.atomic
def remove_capture_policy(*, policy: CapturePolicy) -> None:
    """Go back to the defaults: everything is remembered, as long as the settings say."""
    policy.delete()
    bump_generation()


def _changes(before: CapturePolicy, after: CapturePolicy) -> Iterator[str]:
    """Yield a sentence for each field that is another."""
    for name in FIELDS:
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            yield f"{name.replace('_', ' ').capitalize()}: {_shown(old)} → {_shown(new)}."


def _shown(value: object) -> str:
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    return "none" if value in (None, "") else f"{value}"
