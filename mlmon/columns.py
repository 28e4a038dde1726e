"""Feature values as columns: read from Arrow arrays and checked, named as categories, and as they are observed."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlmon.exceptions import ReferenceFileError
from mlmon.schema import Feature, FeatureKind, TensorType

# By feature name. STRING tensors: object arrays of str, None for a missing value.
# Every other tensor type: float64, NaN for a missing value.
FeatureColumns = Mapping[str, NDArray[np.float64] | NDArray[np.object_]]

MISSING_STRINGS = ("", "NA", "N/A", "NaN", "nan", "NULL", "null", "None")
TRUE_STRINGS = ("true", "True", "TRUE", "1")
FALSE_STRINGS = ("false", "False", "FALSE", "0")
LARGEST_EXACT_INTEGER = 2.0**53  # beyond it float64 skips whole numbers, so that further digits would be invented
LONGEST_STRING = 1000  # characters; serving has the same limit
TOO_LONG = f"is longer than {LONGEST_STRING} characters"
_WHOLE_NUMBERS = {TensorType.INT32: 2.0**31 - 1, TensorType.INT64: LARGEST_EXACT_INTEGER}
_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)
_MISSING: Any = None  # a variable, because a comparison of an array with a literal None reads as a mistake


def category_name(value: float) -> str:
    """Return the name of a number as a category.

    Parameters
    ----------
    value
        A number; not NaN, which is a missing value and has no name.

    Returns
    -------
    str
        Whole numbers up to 2**53 without a point (``3.0`` is "3", ``-0.0`` is "0"), others as the shortest string that
        reads back as the same float64 (``2.5`` is "2.5").
    """
    if value.is_integer() and abs(value) <= LARGEST_EXACT_INTEGER:
        return str(int(value))
    return repr(float(value))


def category_names(values: NDArray[np.float64]) -> pa.StringArray:
    """Return the category names of many numbers, null for NaN.

    Only distinct values are named one by one, so a long column of few categories costs a sort.
    """
    missing = np.isnan(values)
    distinct, indices = np.unique(np.where(missing, 0.0, values), return_inverse=True)
    names = pa.array([category_name(value) for value in distinct.tolist()], type=pa.string())
    return names.take(pa.array(indices, type=pa.int64(), mask=missing))


def observed_table(features: Sequence[Feature], columns: FeatureColumns) -> pa.Table:
    """Return the columns in the form in which they are stored and compared.

    Parameters
    ----------
    features
        The features to include, in the order of the table's columns.
    columns
        Their values, all of one length.

    Returns
    -------
    pyarrow.Table
        One column for each feature, with its name: float64 for a numeric one, string (category names) for a categorical
        one; null for a missing value.
    """
    table: dict[str, Any] = {}
    for feature in features:
        values = columns[feature.name]
        if feature.kind is FeatureKind.NUMERIC:
            table[feature.name] = pa.array(values, type=pa.float64(), from_pandas=True)
        elif values.dtype == np.object_:
            table[feature.name] = pa.array(values, type=pa.string(), from_pandas=True)
        else:
            table[feature.name] = category_names(values.astype(np.float64, copy=False))
    return pa.table(table)


def feature_column(feature: Feature, values: Any, rows_before: int) -> NDArray[Any]:
    """Return one column of a batch as `FeatureColumns` has it; ReferenceFileError for a value that cannot be used."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    are_strings = is_string(values.type) or is_bytes(values.type)
    if are_strings:
        values = _decoded(feature, values.cast(pa.binary()), rows_before)  # a Parquet string may be invalid UTF-8 too
        values = pc.if_else(pc.is_in(values, value_set=pa.array(MISSING_STRINGS, values.type)), None, values)
    if feature.tensor_type is TensorType.STRING:
        column: NDArray[Any] = _string_column(feature, values, are_strings, rows_before)
        missing = column == _MISSING
    else:
        column = _number_column(feature, values, are_strings, rows_before)
        missing = np.isnan(column)
    if feature.is_required and missing.any():
        row = rows_before + int(np.argmax(missing)) + 1
        raise ReferenceFileError(f"Column {feature.name!r}, row {row}: a required value is missing.")
    return column


def string_bytes(feature: Feature, values: Any, rows_before: int) -> int:
    """Return the length of all strings of a column before they are unpacked; raise for one that is too long."""
    distinct = values.dictionary if pa.types.is_dictionary(values.type) else values
    if not is_string(distinct.type) and not is_bytes(distinct.type):
        return 0
    lengths = pc.binary_length(distinct)
    nul = pc.match_substring(distinct, "\0")
    if pa.types.is_dictionary(values.type):
        lengths, nul = lengths.take(values.indices), nul.take(values.indices)
    row_lengths = np.asarray(lengths.fill_null(0), dtype=np.int64)
    if (long := row_lengths > 4 * LONGEST_STRING).any():  # UTF-8 needs up to 4 bytes for a character
        _reject(feature, rows_before, long, TOO_LONG)
    if (with_nul := np.asarray(nul.fill_null(False))).any():
        _reject(feature, rows_before, with_nul, "contains a NUL byte")
    return int(row_lengths.sum())


def is_string(kind: Any) -> bool:
    """Return whether an Arrow type holds strings."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def is_bytes(kind: Any) -> bool:
    """Return whether an Arrow type holds bytes."""
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)


def is_plain(kind: Any) -> bool:
    """Return whether an Arrow type holds strings, numbers, booleans or times."""
    values = kind.value_type if pa.types.is_dictionary(kind) else kind
    numbers = pa.types.is_integer(values) or pa.types.is_floating(values) or pa.types.is_boolean(values)
    return bool(numbers or is_string(values) or is_bytes(values) or pa.types.is_timestamp(values))


def plain_values(values: Any) -> list[object]:
    """Return the values of a column; bytes that are not UTF-8 with escapes, which no label has."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if is_string(values.type):
        values = values.cast(pa.binary())
    if pa.types.is_timestamp(values.type):
        values = values.cast(pa.timestamp("us", values.type.tz), safe=False)  # the precision of Python's own times
    plain: list[object] = []
    for value in values.to_pylist():
        if isinstance(value, bytes):
            text = value.decode(errors="backslashreplace")
            plain.append(None if text in MISSING_STRINGS else text)
        else:
            plain.append(None if isinstance(value, float) and math.isnan(value) else value)
    return plain


def shown(value: object) -> str:
    """Return a value for an error message, at most 100 characters."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:99]}…"


def _decoded(feature: Feature, values: Any, rows_before: int) -> Any:
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid:
        for row, value in enumerate(values.to_pylist(), start=rows_before + 1):
            try:
                (value or b"").decode()
            except UnicodeDecodeError as error:
                raise ReferenceFileError(
                    f"Column {feature.name!r}, row {row}: byte 0x{value[error.start]:02x} is not UTF-8. "
                    "Save the file as UTF-8."
                ) from error
        raise


def _string_column(feature: Feature, values: Any, are_strings: bool, rows_before: int) -> NDArray[np.object_]:
    if are_strings:
        long = np.asarray(pc.utf8_length(values).fill_null(0)) > LONGEST_STRING
        if long.any():
            _reject(feature, rows_before, long, TOO_LONG)
        return np.asarray(values.to_numpy(zero_copy_only=False), dtype=object)
    if pa.types.is_integer(values.type):
        # A column of codes, such as postal codes, that Parquet stores as numbers: the categories are their digits.
        return np.asarray(values.cast(pa.string()).to_numpy(zero_copy_only=False), dtype=object)
    return np.full(len(values), None, dtype=object)  # of type null: a column without a value


def _number_column(feature: Feature, values: Any, are_strings: bool, rows_before: int) -> NDArray[np.float64]:
    if are_strings:
        numbers = _parsed(feature, values, rows_before)
    elif pa.types.is_null(values.type):
        numbers = np.full(len(values), np.nan)
    else:
        if pa.types.is_integer(values.type) and values.type.bit_width == 64:
            largest = int(LARGEST_EXACT_INTEGER)
            beyond = pc.greater(values, pa.scalar(largest, values.type))
            if pa.types.is_signed_integer(values.type):
                beyond = pc.or_(beyond, pc.less(values, pa.scalar(-largest, values.type)))
            if (marked := np.asarray(beyond.fill_null(False))).any():
                _reject(feature, rows_before, marked, "is beyond 2**53 and would lose digits", values)
        numbers = np.asarray(values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)
    _check_numbers(feature, numbers, rows_before)
    return numbers


def _parsed(feature: Feature, values: Any, rows_before: int) -> NDArray[np.float64]:
    stripped = pc.utf8_trim_whitespace(values)
    if feature.tensor_type is TensorType.BOOL:
        true = pc.is_in(stripped, value_set=pa.array(TRUE_STRINGS, stripped.type))
        false = pc.is_in(stripped, value_set=pa.array(FALSE_STRINGS, stripped.type))
        wrong = np.asarray(pc.and_(pc.is_valid(stripped), pc.invert(pc.or_(true, false))))
        if wrong.any():
            _reject(feature, rows_before, wrong, "is not true or false", stripped)
        numbers = np.asarray(true, dtype=np.float64)
        numbers[np.asarray(pc.is_null(stripped))] = np.nan
        return numbers
    try:
        numbers = np.asarray(stripped.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
    except pa.ArrowInvalid:
        wrong = np.array([value is not None and not _is_number(value) for value in stripped.to_pylist()])
        _reject(feature, rows_before, wrong, "is not a number", stripped)
    # 2**53 too, because 2**53 + 1 reads as the same number.
    if feature.tensor_type in _WHOLE_NUMBERS and (beyond := np.abs(numbers) >= LARGEST_EXACT_INTEGER).any():
        _reject(feature, rows_before, beyond, f"is beyond the range of {feature.tensor_type}", stripped)
    return numbers


def _is_number(text: str) -> bool:
    try:
        pa.scalar(text).cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    return True


def _check_numbers(feature: Feature, numbers: NDArray[np.float64], rows_before: int) -> None:
    kind = feature.tensor_type
    checks: list[tuple[NDArray[np.bool_], str]] = []
    if kind is TensorType.BOOL:
        checks.append((~np.isnan(numbers) & (numbers != 0) & (numbers != 1), "is not true or false"))
    if kind is TensorType.FLOAT32:  # which holds infinity
        beyond = np.isfinite(numbers) & (np.abs(numbers) > _LARGEST_FLOAT32)
        checks.append((beyond, "is beyond the range of float32"))
    if kind in _WHOLE_NUMBERS:
        checks.append((~np.isnan(numbers) & (numbers != np.trunc(numbers)), "is not a whole number"))
        checks.append((np.abs(numbers) > _WHOLE_NUMBERS[kind], f"is beyond the range of {kind}"))
    for wrong, reason in checks:
        if wrong.any():
            _reject(feature, rows_before, wrong, reason, numbers)


def _reject(feature: Feature, rows_before: int, wrong: NDArray[np.bool_], reason: str, values: Any = None) -> NoReturn:
    """Raise for the first row that is marked in `wrong`."""
    index = int(np.argmax(wrong))
    value = None if values is None else values[index]
    text = repr(value.as_py() if hasattr(value, "as_py") else float(value))[:60] if value is not None else "the value"
    raise ReferenceFileError(f"Column {feature.name!r}, row {rows_before + index + 1}: {text} {reason}.")
