"""What every change does in its transaction: write the audit trail and, if it affects serving, bump the generation."""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import TypeAlias

from django.db import models
from django.db.models import F

from accounts.actors import PLATFORM, Actor, Program, account_of
from accounts.models import ChangeRecord, ServingGeneration

Change: TypeAlias = tuple[object, object]  # old and new value
# Values of these names are never stored; the trail only says that they changed.
SECRET_NAMES = frozenset({"password", "password1", "password2", "old_password", "digest", "token", "secret"})
REGISTERED_MODEL = "models_registry.model"  # by label, because that app is an upper layer
NOT_SHOWN = "not shown"
LONGEST_VALUE = 1000  # characters


def record_change(
    *, user: Actor | None, row: models.Model, message: str, changes: Mapping[str, Change] | None = None
) -> None:
    """Add a row to the audit trail: `user` changed `row`.

    Parameters
    ----------
    user
        A person or a program; None is mlmon itself.
    message
        What was done, in a sentence; "" if the values say it.
    changes
        The old and new value by name. Values of `SECRET_NAMES` are not stored.
    """
    owners = (row, getattr(row, "model", None), getattr(getattr(row, "version", None), "model", None))
    registered = [
        owner for owner in owners if isinstance(owner, models.Model) and owner._meta.label_lower == REGISTERED_MODEL
    ]
    name = "" if user is None else user.name if isinstance(user, Program) else user.get_username()
    ChangeRecord.objects.create(
        user=account_of(user),
        actor=(name or PLATFORM.name)[:200],
        row_type=row._meta.label_lower,
        row_id=str(row.pk),
        row_name=str(row)[:200],
        model_name=str(registered[0]) if registered else "",
        message=message,
        changes=[
            [name, *((NOT_SHOWN, NOT_SHOWN) if is_secret(name) else map(_as_json, change))]
            for name, change in (changes or {}).items()
        ],
    )


def differences(before: models.Model, after: models.Model, fields: Iterable[str]) -> dict[str, Change]:
    """Return the fields in which two rows differ, by the fields' names as people read them."""
    values = {name: (getattr(before, name), getattr(after, name)) for name in fields}
    return {words(name): change for name, change in values.items() if change[0] != change[1]}


def words(name: str) -> str:
    """Return a field's name as people read it."""
    return name.replace("_", " ").capitalize()


def is_secret(name: str) -> bool:
    """Return whether values of this name are kept out of the trail."""
    return name.lower().replace(" ", "_") in SECRET_NAMES


def bump_generation() -> None:
    """Make every serving process reload the registry; call it inside the transaction of the change."""
    if not ServingGeneration.objects.update(number=F("number") + 1):
        ServingGeneration.objects.get_or_create(defaults={"number": 1})


def _as_json(value: object) -> object:
    """Return a value in a form that JSON can hold."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, date):  # datetime is a subclass
        return value.isoformat()
    if isinstance(value, list | tuple | set | models.QuerySet):
        return [_as_json(item) for item in value]
    return str(value)[:LONGEST_VALUE]
