"""A model field for the dataclasses of `mlmon.results`: JSON that is read again equal to the last digit."""

import math
from collections.abc import Callable, Mapping
from typing import Any, get_args, get_origin

from cattrs.preconf.json import make_converter
from django.db import models
from django.db.models.expressions import Expression
from django.db.models.fields.json import KeyTransform

_converter = make_converter(omit_if_default=True)  # half the size of a row


def _is_mapping(kind: Any) -> bool:
    return get_origin(kind) is Mapping


@_converter.register_unstructure_hook
def _number_or_string(value: float) -> float | str:
    # JSON has no infinity and no NaN, and PostgreSQL refuses those that Python writes. float() reads the string again.
    return value if math.isfinite(value) else str(value)


@_converter.register_unstructure_hook_factory(_is_mapping)
def _write_pairs(kind: Any) -> Callable[[Mapping[Any, Any]], list[Any]]:
    # Pairs, because PostgreSQL's jsonb does not keep the order of an object's keys.
    write_key, write_value = (_converter.get_unstructure_hook(one) for one in get_args(kind))
    return lambda mapping: [(write_key(key), write_value(value)) for key, value in mapping.items()]


@_converter.register_structure_hook_factory(_is_mapping)
def _read_pairs(kind: Any) -> Callable[[Any, Any], dict[Any, Any]]:
    key_kind, value_kind = get_args(kind)
    structure = _converter.structure
    return lambda pairs, _: {structure(key, key_kind): structure(value, value_kind) for key, value in pairs}


class ResultField(models.JSONField):
    """Holds a value of the type `kind`, which consists of dataclasses, tuples, mappings and plain values."""

    def __init__(self, kind: Any = Any, **options: Any) -> None:
        self.kind = kind
        super().__init__(**options)

    def deconstruct(self) -> tuple[str, str, Any, Any]:
        """Let migrations see a JSONField: the type is no part of the table."""
        name, _, args, options = super().deconstruct()
        return name, "django.db.models.JSONField", args, options

    def get_placeholder(self, value: Any, compiler: Any, connection: Any) -> str:
        """Return the usual placeholder. Without this method, `bulk_create` would send PostgreSQL arrays of JSON.

        psycopg escapes each quote within an array by a regular expression, which takes longer than the insertion.
        """
        return "%s"

    def get_prep_value(self, value: Any) -> Any:
        return _converter.unstructure(super().get_prep_value(value))

    def from_db_value(self, value: str | None, expression: Expression, connection: Any) -> Any:
        stored = super().from_db_value(value, expression, connection)
        if stored is None or isinstance(expression, KeyTransform):
            return stored
        return _converter.structure(stored, self.kind)

    def value_to_string(self, obj: models.Model) -> Any:
        return self.get_prep_value(self.value_from_object(obj))
