"""The number that tells serving processes to look at the registry again."""

from django.db.models import F

from models_registry.models import RegistryGeneration


def bump_generation() -> None:
    """Let every serving process see the change; call it inside the transaction that makes the change."""
    if not RegistryGeneration.objects.update(number=F("number") + 1):
        RegistryGeneration.objects.get_or_create(defaults={"number": 1})
