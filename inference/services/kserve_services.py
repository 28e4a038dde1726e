"""Change which model is behind a service of KServe."""

from django.db import transaction

from accounts.actors import Actor
from accounts.services.changes import bump_generation, record_change, words
from inference.models import KServeService

FIELDS = ("namespace", "service", "model", "version")


@transaction.atomic
def save_kserve_service(*, service: KServeService, user: Actor | None = None) -> None:
    """Save a new or changed service; web processes use it about a second later.

    Raises
    ------
    django.core.exceptions.ValidationError
        A field is invalid, or the service has a model already.
    """
    service.full_clean()
    before = KServeService.objects.select_for_update().filter(pk=service.pk).first()
    values = {words(name): (getattr(before, name, None), getattr(service, name)) for name in FIELDS}
    changes = {name: change for name, change in values.items() if change[0] != change[1]}
    service.save()
    bump_generation()
    message = "Nothing was changed." if not changes else "" if before else "Added."
    record_change(user=user, row=service, message=message, changes=changes)


@transaction.atomic
def remove_kserve_service(*, service: KServeService, user: Actor | None = None) -> None:
    """Delete a service; its events then belong to the model of its name, if there is one."""
    record_change(user=user, row=service, message="Deleted.", changes={"Model": (service.model.name, None)})
    service.delete()
    bump_generation()
