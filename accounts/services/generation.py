"""The number that tells serving processes to look at the registry again."""

from django.db.models import F

from accounts.models import ServingGeneration


def bump_generation() -> None:
    """Let every serving process see the change; call it inside the transaction that makes the change."""
    if not ServingGeneration.objects.update(number=F("number") + 1):
        ServingGeneration.objects.get_or_create(defaults={"number": 1})
