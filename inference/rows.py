"""Take the rows of a request apart; `mlmon.values` converts their values."""

from collections.abc import Sequence
from itertools import chain
from math import inf
from types import NoneType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.exceptions import PayloadError
from mlmon.exceptions import RowErrorCode, RowValueError
from mlmon.feature_columns import FeatureColumns, MatrixColumns, PlainRows
from mlmon.schema import Feature, TensorType
from mlmon.values import LARGEST, LARGEST_EXACT_INTEGER, LONGEST_STRING, column_of_json, shown, type_of

_FLOATS = (TensorType.FLOAT32, TensorType.FLOAT64)
_NUMBERS = frozenset({int, float})
MOST_ROWS_ONE_BY_ONE = 4  # NumPy checks more of them faster


def rows_of_payload(payload: object, *, most_rows: int) -> list[Any]:
    """Return the rows of a predict body: ``{"features": row}`` is one row, ``{"rows": [row, ...]}`` many.

    Raises
    ------
    PayloadError
        The body has another form, or too many rows.
    """
    if not isinstance(payload, dict):
        raise PayloadError('The body must be a JSON object: {"features": [...]} or {"rows": [[...], ...]}.')
    if unknown := payload.keys() - {"features", "rows", "routing_key"}:
        raise PayloadError(f"Unknown field {sorted(unknown)[0]!r}; send features or rows, and optionally routing_key.")
    if ("features" in payload) == ("rows" in payload):
        raise PayloadError('Send either "features" (one row) or "rows" (a list of rows).')
    if "features" in payload:
        return [payload["features"]]
    rows = payload["rows"]
    if not isinstance(rows, list) or not rows:
        raise PayloadError('"rows" must be a list with at least one row.')
    if len(rows) > most_rows:
        raise PayloadError(f'"rows" has {len(rows)} rows; send at most {most_rows} in one request.')
    return rows


def routing_key_of(payload: object) -> str | None:
    """Return the key of a predict body that keeps a caller on one version, or None."""
    key = payload.get("routing_key") if isinstance(payload, dict) else None
    if key is not None and (not isinstance(key, str) or not 0 < len(key) <= 256):
        raise PayloadError('"routing_key" must be a string of 1 to 256 characters.')
    return key


class RowReader:
    """Reads the rows of requests as columns of a version's features.

    Plain values, which nearly all requests have, are recognized by their types and limits and need no conversion.
    `mlmon.values` converts the others feature by feature, and says what is wrong with those that it refuses.

    Parameters
    ----------
    features
        The version's features, in the order of positional rows.
    """

    def __init__(self, features: Sequence[Feature]) -> None:
        self._features = features
        self._names = tuple(feature.name for feature in features)
        self._known = frozenset(self._names)
        self._plain_types = [_plain_types(feature) for feature in features]
        self._plain_limits = [_plain_limit(feature.tensor_type) for feature in features]
        self._limits_of_columns = np.array(self._plain_limits)
        self._strings = tuple(feature.tensor_type is TensorType.STRING for feature in features)
        self._is_matrix = all(feature.tensor_type in _FLOATS for feature in features)

    def columns(self, rows: Sequence[Any]) -> FeatureColumns:
        """Return the rows as one array for each feature.

        Parameters
        ----------
        rows
            Lists (positional) or mappings (by name), as decoded from JSON.

        Raises
        ------
        RowValueError
            For the first value that the schema refuses: its row, its feature and the reason.
        """
        full_rows = [self._full_row(index, row) for index, row in enumerate(rows)]
        if self._is_matrix and len(full_rows) > MOST_ROWS_ONE_BY_ONE:
            matrix = self._plain_matrix(full_rows)
            if matrix is not None:
                return matrix
        if all(map(self._is_plain, full_rows)):
            return PlainRows(self._names, self._strings, full_rows)
        by_feature = zip(self._features, zip(*full_rows, strict=True), strict=True)
        return {feature.name: column_of_json(feature, values) for feature, values in by_feature}

    def columns_of_matrix(self, matrix: NDArray[np.float64]) -> FeatureColumns | None:
        """Return rows of numbers, shape (rows, features), as columns; None if they need a closer look."""
        if not self._is_matrix or matrix.shape[1] != len(self._names):
            return None
        return MatrixColumns(self._names, matrix) if bool((np.abs(matrix) <= self._limits_of_columns).all()) else None

    def _full_row(self, index: int, row: object) -> list[Any]:
        if type(row) is list and len(row) == len(self._names):
            return row
        if type(row) is dict and len(row) == len(self._names) and self._known.issuperset(row):
            return [row[name] for name in self._names]
        if isinstance(row, dict):
            if unknown := row.keys() - self._known:
                name = min(unknown)
                # The name of a key is no value, and without it nobody finds out which feature was renamed.
                absent = [f", and {shown(one, 60)} is missing" for one in self._names if one not in row]
                raise RowValueError(
                    index,
                    name,
                    "the model has no such feature",
                    code=RowErrorCode.UNKNOWN_FEATURE,
                    without_value=f"the model has no feature {shown(name, 60)}{''.join(absent[:1])}",
                )
            return [row.get(name) for name in self._names]
        if isinstance(row, list):
            reason = f"expected {len(self._names)} values ({', '.join(self._names)}), got {len(row)}"
            raise RowValueError(index, "", reason, code=RowErrorCode.WRONG_LENGTH)
        expected = "expected a list of values or an object by feature name"
        raise RowValueError(
            index,
            "",
            f"{expected}, got {shown(row, 60)}",
            code=RowErrorCode.WRONG_FORM,
            without_value=f"{expected}, got {type_of(row)}",
        )

    def _is_plain(self, row: list[Any]) -> bool:
        """Return whether no value of a full row needs a conversion or a closer look."""
        for value, types, limit in zip(row, self._plain_types, self._plain_limits, strict=True):
            if type(value) not in types:
                return False
            if type(value) is str:
                if not 0 < len(value) <= LONGEST_STRING or "\0" in value:
                    return False
            elif value is not None and not -limit <= value <= limit:
                return False
        return True

    def _plain_matrix(self, rows: Sequence[list[Any]]) -> FeatureColumns | None:
        """Return full rows of float features if all values are plain numbers in range; otherwise None."""
        if not _NUMBERS.issuperset(map(type, chain.from_iterable(rows))):
            return None
        try:
            flat = np.fromiter(chain.from_iterable(rows), dtype=np.float64, count=len(rows) * len(self._names))
        except OverflowError:  # a whole number of more than 308 digits
            return None
        return self.columns_of_matrix(flat.reshape(len(rows), -1))


def _plain_types(feature: Feature) -> frozenset[type]:
    """Return the types of JSON values that need no conversion for a feature."""
    if feature.tensor_type is TensorType.BOOL:
        return frozenset({bool})
    if feature.tensor_type not in (TensorType.STRING, *_FLOATS):
        return frozenset({int})
    kinds: set[type] = {str} if feature.tensor_type is TensorType.STRING else {int, float}
    return frozenset(kinds if feature.is_required else kinds | {NoneType})


def _plain_limit(tensor_type: TensorType) -> float:
    """Return the largest number that certainly is a value of the tensor type."""
    if tensor_type is TensorType.INT64:
        return float(LARGEST_EXACT_INTEGER - 1)  # 2**53 + 1 reads as 2**53
    return LARGEST.get(tensor_type, inf)
