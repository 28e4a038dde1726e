"""Who changed what: rows of the audit trail, written in the transaction of the change."""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import TypeAlias

from django.db import models

from accounts.actors import Actor, account_of, name_of
from accounts.models import ChangeRecord

Change: TypeAlias = tuple[object, object]  # what it was, what it is
# Names of what is never written down, only that it was changed.
SECRET_NAMES = frozenset({"password", "password1", "password2", "old_password", "digest", "token", "secret"})
REGISTERED_MODEL = "models_registry.model"  # by its label: that app lies above this one
NOT_SHOWN = "not shown"
LONGEST_TEXT = 1000  # characters of a value


def record_change(
    *, user: Actor | None, row: models.Model, message: str, changes: Mapping[str, Change] | None = None
) -> None:
    """Write that `user` changed `row`.

    Parameters
    ----------
    user
        A person or a program; None is mlmon itself.
    message
        What was done, in a sentence; "" where the values say it.
    changes
        By the name of each value: what it was and what it is. Values of `SECRET_NAMES` are not kept.
    """
    ChangeRecord.objects.create(
        user=account_of(user),
        actor=name_of(user)[:200],
        row_type=row._meta.label_lower,
        row_id=str(row.pk),
        row_name=str(row)[:200],
        model_name=_model_name(row),
        message=message,
        changes=[[name, *_kept(name, change)] for name, change in (changes or {}).items()],
    )


def differences(before: models.Model, after: models.Model, fields: Iterable[str]) -> dict[str, Change]:
    """Return what is different between two rows, by the fields' names in words."""
    values = {name: (getattr(before, name), getattr(after, name)) for name in fields}
    return {words(name): change for name, change in values.items() if change[0] != change[1]}


def words(name: str) -> str:
    """Return a field's name as people read it."""
    return name.replace("_", " ").capitalize()


def is_secret(name: str) -> bool:
    """Return whether values of this name are kept out of the trail."""
    return name.lower().replace(" ", "_") in SECRET_NAMES


def _model_name(row: models.Model) -> str:
    """Return the name of the registered model that a row belongs to; "" if it belongs to none."""
    for owner in (row, getattr(row, "model", None), getattr(getattr(row, "version", None), "model", None)):
        if isinstance(owner, models.Model) and owner._meta.label_lower == REGISTERED_MODEL:
            return str(owner)
    return ""


def _kept(name: str, change: Change) -> list[object]:
    return [NOT_SHOWN, NOT_SHOWN] if is_secret(name) else [_plain(value) for value in change]


def _plain(value: object) -> object:
    """Return a value as JSON can keep it."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, date):  # a datetime too
        return value.isoformat()
    if isinstance(value, list | tuple | set | models.QuerySet):
        return [_plain(item) for item in value]
    return str(value)[:LONGEST_TEXT]
