"""Change what is captured of a model's predictions."""

from django.db import transaction

from accounts.actors import Actor
from accounts.services.changes import bump_generation, differences, record_change
from inference.models import CapturePolicy
from inference.selectors import capture_policy_of
from models_registry.models import Model

FIELDS = ("sampling_rate", "never_stored_features", "retention_days", "archive_megabytes")


@transaction.atomic
def save_capture_policy(*, policy: CapturePolicy, user: Actor | None = None) -> None:
    """Save a model's new or changed policy; web processes apply it about a second later."""
    before = capture_policy_of(Model.objects.select_for_update().get(pk=policy.model_id))
    changes = differences(before, policy, FIELDS)
    message = "" if changes else "Nothing was changed."
    policy.save()
    bump_generation()
    record_change(user=user, row=policy, message=message, changes=changes)


@transaction.atomic
def remove_capture_policy(*, policy: CapturePolicy, user: Actor | None = None) -> None:
    """Return to the defaults: capture everything and keep it as long as the settings say."""
    changes = differences(policy, CapturePolicy(model=policy.model), FIELDS)
    record_change(user=user, row=policy, message="Deleted: the defaults apply.", changes=changes)
    policy.delete()
    bump_generation()
