"""What a value means as a feature: the one converter behind reference files, predict requests and observations.

Whole columns come in, as Arrow arrays or as lists decoded from JSON, and leave as NumPy arrays. Every entry point
accepts the same values and refuses the others in the same words.

=============  =====================================================================================================
tensor type    values
=============  =====================================================================================================
float, double  numbers; true and false are 1 and 0
integer        whole numbers, 3.0 included, up to 2**53; true and false are 1 and 0
boolean        true and false; 1 and 0
string         strings of at most 1,000 characters without NUL ("" is missing); whole numbers as their digits
=============  =====================================================================================================

CSV has no types: see `TextFormat`.
"""

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlmon.exceptions import RowErrorCode, RowValueError
from mlmon.feature_columns import FeatureColumns, MatrixColumns, PlainRows
from mlmon.schema import Feature, FeatureKind, TensorType

_Given: TypeAlias = Callable[[int], object]  # the value of a row as it was given

# Missing in a CSV column of numbers, booleans or times.
MISSING_STRINGS = ("", "NA", "N/A", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "None")
TRUE_STRINGS = ("true", "True", "TRUE")
FALSE_STRINGS = ("false", "False", "FALSE")
LARGEST_EXACT_INTEGER = 2**53  # beyond it float64 skips whole numbers, so that further digits would be invented
LONGEST_STRING = 1000  # characters
LARGEST = {
    TensorType.FLOAT32: float(np.finfo(np.float32).max),
    TensorType.FLOAT64: float(np.finfo(np.float64).max),
    TensorType.INT32: float(np.iinfo(np.int32).max),
    TensorType.INT64: float(LARGEST_EXACT_INTEGER),
    TensorType.BOOL: 1.0,
}
_FLOATS = (TensorType.FLOAT32, TensorType.FLOAT64)
_EXPECTED = {
    TensorType.FLOAT32: "a number",
    TensorType.FLOAT64: "a number",
    TensorType.INT32: "a whole number",
    TensorType.INT64: "a whole number",
    TensorType.BOOL: "true or false",
    TensorType.STRING: "a string or a whole number",
}
# In this order: a bool is an int too.
_TYPES: dict[type | tuple[type, ...], str] = {
    type(None): "null",
    bool: "true or false",
    int: "a whole number",
    (float, Decimal): "a number with a point",
    str: "a string",
    dict: "an object",
    (list, tuple): "a list",
}
_NUMBER_TYPES = frozenset({float, int, bool, type(None)})
_LONGEST_SHOWN = 60  # characters of a value in an error message
_MISSING: Any = None  # a variable, because a comparison of an array with a literal None reads as a mistake


@dataclass(frozen=True, slots=True)
class TextFormat:
    """How the values of a CSV file are written.

    In a column of numbers or booleans, the strings in `MISSING_STRINGS` are missing, and ``True``, ``TRUE``, ``true``
    and their opposites are booleans. In a column of strings only an empty cell is missing, as in JSON and Parquet.

    Attributes
    ----------
    decimal_point
        "." or ",".
    missing
        Further strings that are missing in every column.
    """

    decimal_point: str = "."
    missing: frozenset[str] = frozenset()


def column_of_json(feature: Feature, values: Sequence[object]) -> NDArray[Any]:
    """Return one column of a request's rows as `FeatureColumns` has it.

    Parameters
    ----------
    values
        As decoded from JSON; None is missing.

    Raises
    ------
    RowValueError
        For the first value that the feature cannot have.
    """
    if feature.tensor_type is TensorType.STRING:
        strings = np.empty(len(values), dtype=object)
        strings[:] = [_string_of(feature, row, value) for row, value in enumerate(values)]
        return _checked(feature, strings, strings == _MISSING)
    given = values.__getitem__
    if not _NUMBER_TYPES.issuperset(map(type, values)):
        raise _type_error(
            feature, next(row for row, value in enumerate(values) if type(value) not in _NUMBER_TYPES), given
        )
    try:
        numbers = np.array([math.nan if value is None else value for value in values], dtype=np.float64)
    except OverflowError:  # a whole number of more than 308 digits
        row = next(row for row, value in enumerate(values) if isinstance(value, int) and not _fits_float64(value))
        raise _range_error(feature, row, values[row], f"the range of {feature.tensor_type}") from None
    return _checked_numbers(feature, numbers, given)


def column_of_arrow(feature: Feature, values: Any, text: TextFormat | None) -> NDArray[Any]:
    """Return one column of a table's rows as `FeatureColumns` has it.

    Parameters
    ----------
    values
        An Arrow array; null is missing, and so is NaN.
    text
        How strings are written if the table is a CSV file; None if its values have types.

    Raises
    ------
    RowValueError
        For the first value that the feature cannot have.
    """
    if pa.types.is_dictionary(values.type):
        if feature.tensor_type is TensorType.STRING:
            try:
                distinct = column_of_arrow(replace(feature, is_required=False), values.dictionary, text)
            except RowValueError:
                pass  # its row is found below
            else:
                indices = np.asarray(values.indices.fill_null(len(distinct)))
                strings = np.append(distinct, _MISSING)
                return _checked(feature, strings[indices], (strings == _MISSING)[indices])
        values = values.dictionary_decode()
    if is_string(values.type) or is_bytes(values.type):
        values = decoded_strings(feature.name, values)
        if text is not None and text.missing:
            values = _without(values, tuple(text.missing))
        if feature.tensor_type is TensorType.STRING:
            return _strings_of_arrow(feature, values)
        if text is not None:
            return _numbers_of_text(feature, values, text)
    is_digits = feature.tensor_type is TensorType.STRING  # a column of codes that Parquet stores as numbers
    if not _is_number(values.type) or (is_digits and pa.types.is_boolean(values.type)):
        if values.null_count < len(values):
            raise _type_error(feature, int(np.argmax(np.asarray(pc.is_valid(values)))), _given_by(values))
        values = pa.nulls(len(values), pa.float64())
    if is_digits and pa.types.is_integer(values.type):
        strings = np.asarray(values.cast(pa.string()).to_numpy(zero_copy_only=False), dtype=object)
        return _checked(feature, strings, strings == _MISSING)
    numbers = np.asarray(values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)
    if not is_digits:
        return _checked_numbers(feature, numbers, _given_by(values))
    missing = np.isnan(numbers)
    wrong = ~missing & ((numbers != np.trunc(numbers)) | (np.abs(numbers) > LARGEST_EXACT_INTEGER))
    if wrong.any():
        raise _type_error(feature, int(np.argmax(wrong)), _given_by(values))
    strings = np.asarray(category_names(numbers).to_numpy(zero_copy_only=False), dtype=object)
    return _checked(feature, strings, missing)


def string_bytes(feature: Feature, values: Any) -> int:
    """Return the length of all strings of a column before they are unpacked; raise for one that is too long.

    Raises
    ------
    RowValueError
        For the first string that is too long or has a NUL character.
    """
    row_lengths = string_lengths(values)
    if row_lengths is None:
        return 0
    is_encoded = pa.types.is_dictionary(values.type)
    nul = pc.match_substring(_without_view(values.dictionary if is_encoded else values), "\0")
    nul = nul.take(values.indices) if is_encoded else nul
    if (long := row_lengths > 4 * LONGEST_STRING).any():  # UTF-8 needs up to 4 bytes for a character
        raise _too_long(feature, int(np.argmax(long)))
    if (with_nul := np.asarray(nul.fill_null(False))).any():
        raise _with_nul(feature, int(np.argmax(with_nul)))
    return int(row_lengths.sum())


def string_lengths(values: Any) -> NDArray[np.int64] | None:
    """Return the length of each string of a column in bytes, 0 for null; None if it has no strings.

    A dictionary, which holds each string once, is not unpacked.
    """
    is_encoded = pa.types.is_dictionary(values.type)
    distinct = values.dictionary if is_encoded else values
    if not is_string(distinct.type) and not is_bytes(distinct.type):
        return None
    lengths = pc.binary_length(_without_view(distinct))
    lengths = lengths.take(values.indices) if is_encoded else lengths
    return np.asarray(lengths.fill_null(0), dtype=np.int64)


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
    is_matrix = isinstance(columns, MatrixColumns)
    if isinstance(columns, PlainRows):
        columns = columns.arrays()
    if isinstance(columns, MatrixColumns):
        columns = dict(zip(columns.names, np.ascontiguousarray(columns.matrix.T), strict=True))
    for feature in features:
        values = columns[feature.name]
        if feature.kind is FeatureKind.NUMERIC:
            table[feature.name] = pa.array(values, type=pa.float64(), from_pandas=not is_matrix)  # which has no NaN
        elif values.dtype == np.object_:
            table[feature.name] = pa.array(values, type=pa.string(), from_pandas=True)
        else:
            table[feature.name] = category_names(values.astype(np.float64, copy=False))
    return pa.table(table)


def is_string(kind: Any) -> bool:
    """Return whether an Arrow type holds strings."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def is_bytes(kind: Any) -> bool:
    """Return whether an Arrow type holds bytes."""
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)


def is_plain(kind: Any) -> bool:
    """Return whether an Arrow type holds strings, numbers, booleans or times."""
    values = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(
        _is_number(values)
        or is_string(values)
        or is_bytes(values)
        or pa.types.is_timestamp(values)
        or pa.types.is_null(values)
    )


def plain_values(values: Any) -> list[object]:
    """Return the values of a column; bytes that are not UTF-8 with escapes, which no label has; "" and NaN as None."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if is_string(values.type):
        values = values.cast(pa.binary())
    if pa.types.is_timestamp(values.type):
        values = values.cast(pa.timestamp("us", values.type.tz), safe=False)  # the precision of Python's own times
    plain: list[object] = []
    for value in values.to_pylist():
        if isinstance(value, bytes):
            plain.append(value.decode(errors="backslashreplace") or None)
        elif isinstance(value, Decimal):
            plain.append(float(value))
        else:
            plain.append(None if isinstance(value, float) and math.isnan(value) else value)
    return plain


def shown(value: object, longest: int = 100) -> str:
    """Return a value or a name for an error message, in JSON's spelling, with at most `longest` characters."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    if isinstance(value, str):
        text = json.dumps(value[:longest], ensure_ascii=not value[:longest].isprintable())
        return text if len(text) <= longest and len(value) <= longest else f'{text[: longest - 2].rstrip(chr(34))}…"'
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    text = repr(value) if isinstance(value, int | float) else str(value)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def type_of(value: object) -> str:
    """Return the type of a value for an error message that must not contain the value."""
    for kind, text in _TYPES.items():
        if isinstance(value, kind):
            return text
    return f"a {type(value).__name__}"


def _string_of(feature: Feature, row: int, value: object) -> str | None:
    """Return a value of JSON as a string."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        if len(value) > LONGEST_STRING:
            raise _too_long(feature, row)
        if "\0" in value:
            raise _with_nul(feature, row)
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # of at most 20 digits: the JSON codec reads more as a float
    if isinstance(value, float) and value.is_integer() and abs(value) <= LARGEST_EXACT_INTEGER:
        return category_name(value)
    raise _type_error(feature, row, lambda _: value)


def _strings_of_arrow(feature: Feature, values: Any) -> NDArray[np.object_]:
    values = _without(values, ("",))
    long = np.asarray(pc.utf8_length(values).fill_null(0)) > LONGEST_STRING
    if long.any():
        raise _too_long(feature, int(np.argmax(long)))
    if (with_nul := np.asarray(pc.match_substring(values, "\0").fill_null(False))).any():
        raise _with_nul(feature, int(np.argmax(with_nul)))
    strings = np.asarray(values.to_numpy(zero_copy_only=False), dtype=object)
    return _checked(feature, strings, strings == _MISSING)


def _numbers_of_text(feature: Feature, values: Any, text: TextFormat) -> NDArray[np.float64]:
    """Return a column of a CSV file as numbers."""
    trimmed = _without(pc.utf8_trim_whitespace(values), MISSING_STRINGS)
    numerals = trimmed
    if text.decimal_point != ".":
        # A point is no thousands separator either: "1.234" is refused rather than guessed.
        with_point = pc.match_substring(trimmed, ".")
        numerals = pc.if_else(with_point, "a point", pc.replace_substring(trimmed, text.decimal_point, "."))

    def given(row: int) -> object:
        numeral = numerals[row].as_py()
        if not _is_numeral(numeral):
            return trimmed[row].as_py()
        return int(numeral) if re.fullmatch(r"[-+]?[0-9]+", numeral) else float(numeral)

    try:
        numbers = np.asarray(numerals.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
    except pa.ArrowInvalid:
        is_true = pc.is_in(trimmed, value_set=pa.array(TRUE_STRINGS, trimmed.type))
        is_false = pc.is_in(trimmed, value_set=pa.array(FALSE_STRINGS, trimmed.type))
        numerals = pc.if_else(is_true, "1", pc.if_else(is_false, "0", numerals))
        try:
            numbers = np.asarray(numerals.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
        except pa.ArrowInvalid:
            wrong = [value is not None and not _is_numeral(value) for value in numerals.to_pylist()]
            raise _type_error(feature, wrong.index(True), given) from None
    return _checked_numbers(feature, numbers, given)


def _checked_numbers(feature: Feature, numbers: NDArray[np.float64], given: _Given) -> NDArray[np.float64]:
    """Return numbers that the feature's tensor can hold; raise for the first other one."""
    kind, missing = feature.tensor_type, np.isnan(numbers)
    if kind is TensorType.BOOL:
        wrong = ~missing & (numbers != 0) & (numbers != 1)
    elif kind not in _FLOATS:
        wrong = ~missing & ((numbers != np.trunc(numbers)) | np.isinf(numbers))
    else:
        wrong = np.zeros(len(numbers), dtype=np.bool_)
    if wrong.any():
        raise _type_error(feature, int(np.argmax(wrong)), given)
    beyond = np.abs(numbers) > LARGEST[kind]
    if kind in _FLOATS:
        beyond &= np.isfinite(numbers)  # which these tensors hold; only files can contain infinity
    elif kind is TensorType.INT64:
        for row in np.flatnonzero(np.abs(numbers) == LARGEST_EXACT_INTEGER).tolist():
            beyond[row] = abs(_exact(given(row))) > LARGEST_EXACT_INTEGER  # 2**53 + 1 reads as 2**53
    if beyond.any():
        row = int(np.argmax(beyond))
        limit = "2^53, the largest exact whole number" if kind is TensorType.INT64 else f"the range of {kind}"
        raise _range_error(feature, row, given(row), limit)
    return _checked(feature, numbers, missing)


def _checked(feature: Feature, column: NDArray[Any], missing: NDArray[np.bool_]) -> NDArray[Any]:
    if feature.is_required and missing.any():
        reason = "a value is required, but it is missing"
        raise RowValueError(int(np.argmax(missing)), feature.name, reason, code=RowErrorCode.MISSING)
    return column


def decoded_strings(name: str, values: Any) -> Any:
    """Return a column of bytes or strings as valid UTF-8, which Parquet does not guarantee.

    Raises
    ------
    RowValueError
        For the first value that is not UTF-8.
    """
    values = values.cast(pa.binary())
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid:
        for row, value in enumerate(values.to_pylist()):
            try:
                (value or b"").decode()
            except UnicodeDecodeError as error:
                reason = f"byte 0x{value[error.start]:02x} is not UTF-8"
                raise RowValueError(row, name, reason, code=RowErrorCode.INVALID_STRING) from error
        raise


def _without_view(strings: Any) -> Any:
    """Return strings in a layout that Arrow's functions for strings accept."""
    is_view = pa.types.is_string_view(strings.type) or pa.types.is_binary_view(strings.type)
    return strings.cast(pa.large_binary()) if is_view else strings


def _without(values: Any, missing: tuple[str, ...]) -> Any:
    """Return strings with null for those that are missing."""
    return pc.if_else(pc.is_in(values, value_set=pa.array(missing, values.type)), pa.scalar(None, values.type), values)


def _is_number(kind: Any) -> bool:
    """Return whether an Arrow type holds numbers or booleans."""
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
    )


def _is_numeral(text: str) -> bool:
    try:
        pa.scalar(text).cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    return True


def _fits_float64(value: int) -> bool:
    try:
        float(value)
    except OverflowError:
        return False
    return True


def _exact(value: object) -> Decimal:
    return value if isinstance(value, Decimal) else Decimal(value)  # type: ignore[arg-type]  # an int or a float


def _given_by(values: Any) -> _Given:
    return lambda row: values[row].as_py()


def _too_long(feature: Feature, row: int) -> RowValueError:
    reason = f"the string is longer than {LONGEST_STRING:,} characters"
    return RowValueError(row, feature.name, reason, code=RowErrorCode.TOO_LONG)


def _with_nul(feature: Feature, row: int) -> RowValueError:
    reason = "the string contains a NUL character"
    return RowValueError(row, feature.name, reason, code=RowErrorCode.INVALID_STRING)


def _range_error(feature: Feature, row: int, value: object, limit: str) -> RowValueError:
    return RowValueError(
        row,
        feature.name,
        f"{shown(value, _LONGEST_SHOWN)} is beyond {limit}",
        code=RowErrorCode.OUT_OF_RANGE,
        without_value=f"a number is beyond {limit}",
    )


def _type_error(feature: Feature, row: int, given: _Given) -> RowValueError:
    expected, value = _EXPECTED[feature.tensor_type], given(row)
    return RowValueError(
        row,
        feature.name,
        f"expected {expected}, got {shown(value, _LONGEST_SHOWN)}",
        code=RowErrorCode.WRONG_TYPE,
        without_value=f"expected {expected}, got {type_of(value)}",
    )
