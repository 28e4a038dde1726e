"""Convert the JSON of a request to columns and check them against the version's schema, vectorised."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.exceptions import PayloadError, RowValueError
from mlmon.columns import FeatureColumns
from mlmon.schema import Feature, TensorType

LARGEST = {
    TensorType.FLOAT32: float(np.finfo(np.float32).max),
    TensorType.FLOAT64: float(np.finfo(np.float64).max),
    TensorType.INT32: float(np.iinfo(np.int32).max),
    TensorType.INT64: float(2**53),  # features are stored as float64, which cannot hold every larger whole number
    TensorType.BOOL: 1.0,
}
LONGEST_STRING = 1000  # characters; the live window stores strings, and its memory is bounded only by its rows
WHOLE_NUMBERS = frozenset({TensorType.INT32, TensorType.INT64})
_NUMBERS = frozenset({int, float})


def rows_of_payload(payload: object, *, most_rows: int) -> tuple[list[Any], bool]:
    """Return the rows of a predict body, and whether it has the form for many rows.

    ``{"features": row}`` is one row, ``{"rows": [row, ...]}`` many; a row is a list of values or a mapping by name.
    """
    if not isinstance(payload, dict):
        raise PayloadError('The body must be a JSON object: {"features": [...]} or {"rows": [[...], ...]}.')
    if unknown := payload.keys() - {"features", "rows", "routing_key"}:
        raise PayloadError(f"Unknown field {sorted(unknown)[0]!r}; send features or rows, and optionally routing_key.")
    if ("features" in payload) == ("rows" in payload):
        raise PayloadError('Send either "features" (one row) or "rows" (a list of rows).')
    if "features" in payload:
        return [payload["features"]], False
    rows = payload["rows"]
    if not isinstance(rows, list) or not rows:
        raise PayloadError('"rows" must be a list with at least one row.')
    if len(rows) > most_rows:
        raise PayloadError(f'"rows" has {len(rows)} rows; send at most {most_rows} in one request.')
    return rows, True


def routing_key_of(payload: object) -> str | None:
    """Return the key of a predict body that keeps a caller on one version, or None."""
    key = payload.get("routing_key") if isinstance(payload, dict) else None
    if key is not None and (not isinstance(key, str) or not 0 < len(key) <= 256):
        raise PayloadError('"routing_key" must be a string of 1 to 256 characters.')
    return key


def columns_of_rows(features: Sequence[Feature], rows: Sequence[Any]) -> FeatureColumns:
    """Return the rows as one array for each feature.

    Parameters
    ----------
    features
        The version's features, in the order of positional rows.
    rows
        Lists (positional) or mappings (by name), as decoded from JSON.

    Raises
    ------
    RowValueError
        For the first value that the schema refuses: its row, its feature and the reason.
    """
    matrix = _plain_matrix(features, rows)
    if matrix is not None:
        return {feature.name: matrix[:, index] for index, feature in enumerate(features)}
    names = [feature.name for feature in features]
    known = frozenset(names)
    full_rows = [_full_row(index, row, names, known) for index, row in enumerate(rows)]
    columns: dict[str, NDArray[np.float64] | NDArray[np.object_]] = {}
    for index, feature in enumerate(features):
        values = [row[index] for row in full_rows]
        column_of = _string_column if feature.tensor_type is TensorType.STRING else _number_column
        columns[feature.name] = column_of(feature, values)
    return columns


def _plain_matrix(features: Sequence[Feature], rows: Sequence[Any]) -> NDArray[np.float64] | None:
    """Return the rows as a matrix if all are full lists of plain numbers in range; otherwise None."""
    width = len(features)
    if any(feature.tensor_type not in (TensorType.FLOAT32, TensorType.FLOAT64) for feature in features):
        return None
    for row in rows:
        if type(row) is not list or len(row) != width or not _NUMBERS.issuperset(map(type, row)):
            return None
    try:
        matrix = np.array(rows, dtype=np.float64)
    except OverflowError:  # a whole number of more than 308 digits
        return None
    limit = min((LARGEST[feature.tensor_type] for feature in features), default=np.inf)
    return matrix if bool((np.abs(matrix) <= limit).all()) else None


def _full_row(index: int, row: object, names: Sequence[str], known: frozenset[str]) -> list[Any]:
    if isinstance(row, dict):
        if unknown := row.keys() - known:
            raise RowValueError(index, sorted(unknown)[0], "the model has no such feature")
        return [row.get(name) for name in names]
    if isinstance(row, list):
        if len(row) != len(names):
            reason = f"expected {len(names)} values ({', '.join(names)}), got {len(row)}"
            raise RowValueError(index, "", reason)
        return row
    raise RowValueError(index, "", f"expected a list of values or an object by feature name, got {_json_type(row)}")


def _number_column(feature: Feature, values: list[Any]) -> NDArray[np.float64]:
    is_boolean = feature.tensor_type is TensorType.BOOL
    _check_types(feature, values, {bool} if is_boolean else {int, float}, "true or false" if is_boolean else "a number")
    limit = LARGEST[feature.tensor_type]
    _check_each(feature, values, lambda value: abs(value) <= limit, f"is outside the range of {feature.tensor_type}")
    if feature.tensor_type in WHOLE_NUMBERS:
        _check_each(feature, values, lambda value: value == int(value), "must be a whole number")
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _string_column(feature: Feature, values: list[Any]) -> NDArray[np.object_]:
    present = [value if value != "" else None for value in values]  # a string tensor has "" for a missing value
    _check_types(feature, present, {str}, "a string")
    too_long = f"is longer than {LONGEST_STRING} characters"
    _check_each(feature, present, lambda value: len(value) <= LONGEST_STRING, too_long)
    column = np.empty(len(present), dtype=object)
    column[:] = present
    return column


def _check_types(feature: Feature, values: list[Any], allowed: set[type], expected: str) -> None:
    found = set(map(type, values))
    if not feature.is_required:
        found.discard(type(None))
    if found <= allowed:
        return
    for row, value in enumerate(values):
        if value is None and feature.is_required:
            raise RowValueError(row, feature.name, f"the value is missing; expected {expected}")
        if value is not None and type(value) not in allowed:
            raise RowValueError(row, feature.name, f"expected {expected}, got {_json_type(value)}")


def _check_each(feature: Feature, values: list[Any], holds: Callable[[Any], bool], reason: str) -> None:
    for row, value in enumerate(values):
        if value is not None and not holds(value):
            raise RowValueError(row, feature.name, reason)


def _json_type(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
