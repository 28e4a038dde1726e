"""Ground truth as people write it: the meaning of a string, a number or a boolean as the output of a model."""

import math
from collections.abc import Sequence

from mlmon.exceptions import LabelError
from mlmon.values import category_name, shown

LONGEST_LABEL = 255  # characters
CLASSES_NAMED = 10  # in an error message
_BOOLEANS = {"true": "1", "false": "0"}


def label_string(value: object) -> str:
    """Return a given label as a string: a number as `category_name` writes it, a boolean as "true" or "false".

    Raises
    ------
    LabelError
        It is not a string, a finite number or a boolean, or the string is empty or too long.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        if not math.isfinite(value):
            raise LabelError("must be a finite number")
        return category_name(float(value))
    if not isinstance(value, str):
        raise LabelError("must be a string, a number, true or false")
    if not value.strip() or len(value) > LONGEST_LABEL or "\0" in value:
        raise LabelError(f"must be a string of 1 to {LONGEST_LABEL} characters")
    return value


def class_of(label: str, classes: Sequence[str]) -> str:
    """Return the class that a label means.

    Other spellings of a number or a boolean are accepted if they mean exactly one class: 1 for "1.0" or for "True".

    Raises
    ------
    LabelError
        It is none of the classes.
    """
    if label in classes:
        return label
    meant = [name for name in classes if _meaning(name) == _meaning(label)]
    if len(meant) == 1:
        return meant[0]
    named = ", ".join(classes[:CLASSES_NAMED]) + (", …" if len(classes) > CLASSES_NAMED else "")
    raise LabelError(f"{shown(label)} is not one of the model's classes: {named}")


def number_of(label: str) -> float:
    """Return the number that a label means; LabelError if it is not a finite number."""
    number = _number(label)
    if number is None:
        raise LabelError(f"{shown(label)} is not a finite number, which the model predicts")
    return number


def truth_of(label: str) -> bool | None:
    """Return the boolean that a label means, 1 and 0 included; None if it is neither."""
    return {"1": True, "0": False}.get(_meaning(label))


def _meaning(label: str) -> str:
    """Return one spelling for all spellings of a number or of a boolean."""
    truth = _BOOLEANS.get(label.lower())
    if truth is not None:
        return truth
    number = _number(label)
    return label if number is None else category_name(number)


def _number(label: str) -> float | None:
    try:
        number = float(label if "_" not in label else "")  # only Python reads digit groups such as 1_000
    except ValueError:
        return None
    return number if math.isfinite(number) else None
