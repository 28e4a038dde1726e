"""The feature values of some rows by column, as models, the capture and the archive take them.

Taking a single row apart into columns costs several NumPy calls for each feature. `PlainRows` keeps rows as they were
decoded until somebody needs a column, which is usually when many requests have been merged.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

# By feature name. STRING tensors: object arrays of str, None for a missing value.
# Every other tensor type: float64, NaN for a missing value.
FeatureColumns = Mapping[str, NDArray[np.float64] | NDArray[np.object_]]


class MatrixColumns(Mapping[str, NDArray[np.float64]]):
    """`FeatureColumns` that are the columns of one matrix, so that a model with one input needs no other array.

    Parameters
    ----------
    names
        The features, in the order of the matrix's columns.
    matrix
        Shape (rows, features), finite and within the range of the features' tensors.
    """

    __slots__ = ("matrix", "names")

    def __init__(self, names: tuple[str, ...], matrix: NDArray[np.float64]) -> None:
        self.names = names
        self.matrix = matrix

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        return self.matrix[:, _place(self.names, name)]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


class PlainRows(Mapping[str, NDArray[Any]]):
    """`FeatureColumns` of rows whose values need no conversion.

    Parameters
    ----------
    names
        The features, in the order of the rows.
    strings
        For each feature, whether it goes into a string tensor.
    rows
        Values that JSON can have and the features' tensors can hold. None is missing.
    """

    __slots__ = ("names", "rows", "strings")

    def __init__(self, names: tuple[str, ...], strings: tuple[bool, ...], rows: Sequence[list[Any]]) -> None:
        self.names = names
        self.strings = strings
        self.rows = rows

    def __getitem__(self, name: str) -> NDArray[Any]:
        place = _place(self.names, name)
        return _column([row[place] for row in self.rows], is_string=self.strings[place])

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def arrays(self) -> FeatureColumns:
        """Return all columns as arrays."""
        columns = zip(self.names, self.strings, zip(*self.rows, strict=True), strict=True)
        return {name: _column(values, is_string=is_string) for name, is_string, values in columns}


def row_count(columns: FeatureColumns) -> int:
    """Return the number of rows."""
    return len(columns.rows) if isinstance(columns, PlainRows) else len(next(iter(columns.values())))


def merged_columns(parts: Sequence[FeatureColumns]) -> FeatureColumns:
    """Return the columns of several parts with the same features, one below the other."""
    plain = [part for part in parts if isinstance(part, PlainRows)]
    if len(plain) == len(parts):
        rows = list(chain.from_iterable(part.rows for part in plain))
        return PlainRows(plain[0].names, plain[0].strings, rows).arrays()
    if len(parts) == 1:
        return parts[0]
    matrices = [part for part in parts if isinstance(part, MatrixColumns)]
    if len(matrices) == len(parts):
        return MatrixColumns(matrices[0].names, np.concatenate([one.matrix for one in matrices]))
    merged: dict[str, Any] = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return merged


def _place(names: tuple[str, ...], name: str) -> int:
    try:
        return names.index(name)
    except ValueError:
        raise KeyError(name) from None


def _column(values: Sequence[Any], *, is_string: bool) -> NDArray[Any]:
    if not is_string:
        return np.array(values, dtype=np.float64)  # None becomes NaN
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column
