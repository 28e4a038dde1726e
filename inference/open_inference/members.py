"""Members of the JSON header of an infer request, checked for their type."""

from collections.abc import Mapping
from typing import Any

from inference.exceptions import PayloadError
from mlmon.values import shown


def object_of(value: object, place: str) -> Mapping[str, Any]:
    """Return an object, empty for null; `place` names it in the error."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise PayloadError(f"{place} must be an object, got {shown(value, 60)}.")
    return value


def objects_of(value: object, name: str) -> list[Mapping[str, Any]]:
    """Return a list of objects, empty for null; `name` is that of the member."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise PayloadError(f'"{name}" must be a list of objects, got {shown(value, 60)}.')
    return [object_of(each, f"{name}[{index}]") for index, each in enumerate(value) if each is not None]


def flag_of(parameters: Mapping[str, Any], name: str, place: str, *, default: bool) -> bool:
    """Return a parameter that is true or false."""
    value = parameters.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise PayloadError(f"{place}: the parameter {name} must be true or false, got {shown(value, 60)}.")
    return value
