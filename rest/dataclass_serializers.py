"""Serializers that describe a response by its dataclass, for the OpenAPI description.

The annotations of the dataclass are the types, and the attributes in its docstring the descriptions of the fields.
"""

import inspect
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, TypeAlias, get_args, get_origin, get_type_hints

from rest_framework import serializers

SerializerClass: TypeAlias = type[serializers.Serializer[object]]

PLAIN_FIELDS: dict[Any, Any] = {
    bool: serializers.BooleanField,
    int: serializers.IntegerField,
    float: serializers.FloatField,
    datetime: serializers.DateTimeField,
}
ATTRIBUTES = re.compile(r"^(\w+(?:, \w+)*)\n((?:    .*\n?)+)", re.MULTILINE)  # of a docstring in NumPy's style
_serializers: dict[Any, SerializerClass] = {}


def serializer_of(dataclass: Any, name: str = "", *, without: tuple[str, ...] = (), **derived: Any) -> SerializerClass:
    """Return a serializer with a field for each field of a dataclass; others that contain the dataclass use it too.

    Parameters
    ----------
    name
        The name of the component in the OpenAPI description; by default the dataclass's.
    without
        Fields that the response does not have.
    derived
        Members that the response has besides the dataclass's fields, or in place of them.
    """
    texts = {
        attribute: " ".join(text.split())
        for attributes, text in ATTRIBUTES.findall(inspect.getdoc(dataclass) or "")
        for attribute in attributes.split(", ")
    }
    types = get_type_hints(dataclass)
    described = {
        one.name: _field_of(types[one.name], help_text=texts[one.name])
        for one in fields(dataclass)
        if one.name not in without and one.name not in derived
    }
    class_name = f"{name or dataclass.__name__}Serializer"
    _serializers[dataclass] = type(class_name, (serializers.Serializer,), {**described, **derived})
    return _serializers[dataclass]


def _field_of(kind: Any, **options: Any) -> Any:
    """Return the field for an annotation."""
    if isinstance(kind, UnionType) and NoneType in get_args(kind):
        (kind,) = (one for one in get_args(kind) if one is not NoneType)
        options["allow_null"] = True
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        if is_dataclass(item):
            return _field_of(item, many=True, **options)
        return serializers.ListField(child=_field_of(item), **options)
    if get_origin(kind) is Mapping:
        value = get_args(kind)[1]
        child = {} if isinstance(value, UnionType) else {"child": _field_of(value)}
        return serializers.DictField(**child, **options)
    if is_dataclass(kind):
        return (_serializers.get(kind) or serializer_of(kind))(**options)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return serializers.ChoiceField(choices=[one.value for one in kind], **options)
    if kind is str:
        return serializers.CharField(allow_blank=True, **options)
    return PLAIN_FIELDS[kind](**options)
