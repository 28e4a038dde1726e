"""Ground truth as people write it: what a text, a number or a truth value means as the output of a model."""

import math
from collections.abc import Sequence

from mlmon.columns import level_name
from mlmon.exceptions import LabelError

LONGEST_LABEL = 255  # characters
CLASSES_NAMED = 10  # in a refusal
_TRUTHS = {"true": "1", "false": "0"}


def label_text(value: object) -> str:
    """Return a given label as text: a number as `level_name` writes it, a truth value as "true" or "false".

    Raises
    ------
    LabelError
        It is no text, no finite number and no truth value, or the text is empty or too long.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        if not math.isfinite(value):
            raise LabelError("must be a finite number")
        return level_name(float(value))
    if not isinstance(value, str):
        raise LabelError("must be a text, a number, true or false")
    if not value.strip() or len(value) > LONGEST_LABEL or "\0" in value:
        raise LabelError(f"must be a text of 1 to {LONGEST_LABEL} characters")
    return value


def class_of(label: str, classes: Sequence[str]) -> str:
    """Return the class that a label means.

    Other spellings of a number or of true and false are taken where they mean one class: 1 for "1.0" or for "True".

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
    raise LabelError(f"{label!r} is not one of the model's classes: {named}")


def number_of(label: str) -> float:
    """Return the number that a label means; LabelError where it is no finite one."""
    number = _number(label)
    if number is None:
        raise LabelError(f"{label!r} is not a finite number, which the model predicts")
    return number


def truth_of(label: str) -> bool | None:
    """Return what a spelling of true and false means, 1 and 0 among them; None where it is neither."""
    return {"1": True, "0": False}.get(_meaning(label))


def _meaning(text: str) -> str:
    """Return what different spellings of one number, or of one truth value, have in common."""
    truth = _TRUTHS.get(text.lower())
    if truth is not None:
        return truth
    number = _number(text)
    return text if number is None else level_name(number)


def _number(text: str) -> float | None:
    try:
        number = float(text if "_" not in text else "")  # Python's own digit groups are no number elsewhere
    except ValueError:
        return None
    return number if math.isfinite(number) else None
