"""Take the rows of a request apart; `mlmon.values` converts their values."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.exceptions import PayloadError
from mlmon.exceptions import RowErrorCode, RowValueError
from mlmon.schema import Feature, TensorType
from mlmon.values import LARGEST, FeatureColumns, column_of_json, shown, type_of

_NUMBERS = frozenset({int, float})


def columns_of_payload(features: Sequence[Feature], payload: object, *, most_rows: int) -> FeatureColumns:
    """Return the rows of a predict body as one array for each feature.

    ``{"features": row}`` is one row, ``{"rows": [row, ...]}`` many; see `columns_of_rows`.

    Raises
    ------
    PayloadError, RowValueError
        The body has another form or too many rows, or the schema refuses a value.
    """
    if not isinstance(payload, dict):
        raise PayloadError('The body must be a JSON object: {"features": [...]} or {"rows": [[...], ...]}.')
    if unknown := payload.keys() - {"features", "rows", "routing_key"}:
        raise PayloadError(f"Unknown field {sorted(unknown)[0]!r}; send features or rows, and optionally routing_key.")
    if ("features" in payload) == ("rows" in payload):
        raise PayloadError('Send either "features" (one row) or "rows" (a list of rows).')
    if "features" in payload:
        return columns_of_rows(features, [payload["features"]])
    rows = payload["rows"]
    if not isinstance(rows, list) or not rows:
        raise PayloadError('"rows" must be a list with at least one row.')
    if len(rows) > most_rows:
        raise PayloadError(f'"rows" has {len(rows)} rows; send at most {most_rows} in one request.')
    return columns_of_rows(features, rows)


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
    columns = zip(*full_rows, strict=True)
    return {feature.name: column_of_json(feature, values) for feature, values in zip(features, columns, strict=True)}


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
            name = min(unknown)
            # The name of a key is no value, and without it nobody finds out which feature was renamed.
            absent = [f", and {shown(one, 60)} is missing" for one in names if one not in row]
            raise RowValueError(
                index,
                name,
                "the model has no such feature",
                code=RowErrorCode.UNKNOWN_FEATURE,
                without_value=f"the model has no feature {shown(name, 60)}{''.join(absent[:1])}",
            )
        return [row.get(name) for name in names]
    if isinstance(row, list):
        if len(row) != len(names):
            reason = f"expected {len(names)} values ({', '.join(names)}), got {len(row)}"
            raise RowValueError(index, "", reason, code=RowErrorCode.WRONG_LENGTH)
        return row
    expected = "expected a list of values or an object by feature name"
    raise RowValueError(
        index,
        "",
        f"{expected}, got {shown(row, 60)}",
        code=RowErrorCode.WRONG_FORM,
        without_value=f"{expected}, got {type_of(row)}",
    )
