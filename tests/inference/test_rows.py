"""Check the rows of a request."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.exceptions import PayloadError
from inference.rows import RowReader, routing_key_of, rows_of_payload
from mlmon.exceptions import RowValueError
from mlmon.feature_columns import merged_columns, row_count
from mlmon.schema import Feature, FeatureKind, TensorType
from mlmon.values import column_of_json


def feature(name: str, tensor_type: TensorType = TensorType.FLOAT32, *, is_required: bool = True) -> Feature:
    kind = FeatureKind.CATEGORICAL if tensor_type is TensorType.STRING else FeatureKind.NUMERIC
    return Feature(name=name, kind=kind, is_required=is_required, input_name=name, column=0, tensor_type=tensor_type)


NUMBERS = (feature("width"), feature("height"))
MIXED = (
    feature("width", is_required=False),
    feature("count", TensorType.INT64),
    feature("origin", TensorType.STRING, is_required=False),
    feature("is_new", TensorType.BOOL),
)


def test_positional_rows_become_one_array_for_each_feature() -> None:
    columns = RowReader(NUMBERS).columns([[1, 2.5], [3.0, 4]])
    assert columns["width"].tolist() == [1.0, 3.0]
    assert columns["height"].tolist() == [2.5, 4.0]


def test_named_rows_may_leave_out_optional_features() -> None:
    columns = RowReader(MIXED).columns(
        [{"count": 3, "is_new": True}, {"width": 2, "count": 4, "origin": "", "is_new": False}]
    )
    assert np.isnan(columns["width"][0])
    assert columns["width"][1] == 2.0
    assert columns["origin"].tolist() == [None, None]
    assert columns["is_new"].tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("rows", "row", "name", "reason"),
    [
        ([[1, 2], [1]], 1, "", "expected 2 values (width, height), got 1"),
        ([[1, 2], [1, "2"]], 1, "height", 'expected a number, got "2"'),
        ([[None, 2]], 0, "width", "a value is required, but it is missing"),
        ([[1, [2]]], 0, "height", "expected a number, got a list"),
        ([[1, {}]], 0, "height", "expected a number, got an object"),
        ([[1, 1e39]], 0, "height", "1e+39 is beyond the range of float32"),
        ([[1, 10**400]], 0, "height", f"1{'0' * 58}… is beyond the range of float32"),
        ([{"width": 1}], 0, "height", "a value is required, but it is missing"),
        ([{"width": 1, "height": 2, "depth": 3}], 0, "depth", "the model has no such feature"),
        (["1,2"], 0, "", 'expected a list of values or an object by feature name, got "1,2"'),
        ([3], 0, "", "expected a list of values or an object by feature name, got 3"),
        ([None], 0, "", "expected a list of values or an object by feature name, got null"),
    ],
)
def test_a_refused_value_is_named_by_row_and_feature(rows: list[object], row: int, name: str, reason: str) -> None:
    with pytest.raises(RowValueError) as caught:
        RowReader(NUMBERS).columns(rows)
    assert (caught.value.row, caught.value.feature, caught.value.reason) == (row, name, reason)


@pytest.mark.parametrize(
    ("values", "name", "reason"),
    [
        ({"count": 1.5}, "count", "expected a whole number, got 1.5"),
        ({"count": 2**53 + 1}, "count", "9007199254740993 is beyond 2^53, the largest exact whole number"),
        ({"count": "7"}, "count", 'expected a whole number, got "7"'),
        ({"is_new": 2}, "is_new", "expected true or false, got 2"),
        ({"origin": 7.5}, "origin", "expected a string or a whole number, got 7.5"),
    ],
)
def test_each_tensor_type_accepts_its_own_values(values: dict[str, object], name: str, reason: str) -> None:
    good = {"width": 1, "count": 1, "origin": "JFK", "is_new": True}
    with pytest.raises(RowValueError) as caught:
        RowReader(MIXED).columns([good, good | values])
    assert (caught.value.row, caught.value.feature, caught.value.reason) == (1, name, reason)


ODD: st.SearchStrategy[Any] = st.sampled_from(
    [2**31, 2**53 + 1, 10**39, -(10**309), 1e39, 3.4e38, True, None, "", "a\0", "é" * 1000, "é" * 1001, "7", [1], {}]
)
PLAIN: dict[TensorType, st.SearchStrategy[Any]] = {
    TensorType.FLOAT32: st.floats(-1e38, 1e38) | st.integers(-(2**60), 2**60) | st.none(),
    TensorType.FLOAT64: st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**300), 10**300) | st.none(),
    TensorType.INT32: st.integers(-(2**31) + 1, 2**31 - 1),
    TensorType.INT64: st.integers(-(2**53) + 1, 2**53 - 1),
    TensorType.BOOL: st.booleans(),
    TensorType.STRING: st.text(min_size=1, max_size=3) | st.none(),
}
ONE_OF_EACH = tuple(
    feature(f"{tensor_type}_{is_required}", tensor_type, is_required=is_required)
    for tensor_type in TensorType
    for is_required in (True, False)
)


@given(st.data(), st.integers(1, 6))
@settings(max_examples=500)
def test_plain_values_are_read_as_all_others(data: st.DataObject, count: int) -> None:
    """The oracle is the conversion of each column by `mlmon.values`."""
    some = data.draw(st.lists(st.sampled_from(ONE_OF_EACH), min_size=1, max_size=3, unique=True))
    values = [PLAIN[one.tensor_type] if data.draw(st.integers(0, 9)) else ODD for one in some]
    rows = [list(row) for row in data.draw(st.lists(st.tuples(*values), min_size=count, max_size=count))]
    by_feature = zip(some, zip(*rows, strict=True), strict=True)
    try:
        expected = {one.name: column_of_json(one, column) for one, column in by_feature}
    except RowValueError:
        with pytest.raises(RowValueError):
            RowReader(some).columns(rows)
        return
    found = RowReader(some).columns(rows)
    assert row_count(found) == count
    for columns in (found, merged_columns([found]), merged_columns([RowReader(some).columns([row]) for row in rows])):
        assert list(columns) == list(expected)
        for name, column in expected.items():
            assert columns[name].dtype == column.dtype
            np.testing.assert_array_equal(columns[name], column)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ([1, 2], "must be a JSON object"),
        ("text", "must be a JSON object"),
        (None, "must be a JSON object"),
        ({}, 'Send either "features"'),
        ({"features": [1], "rows": [[1]]}, 'Send either "features"'),
        ({"features": [1], "model": "x"}, "Unknown field 'model'"),
        ({"rows": []}, "at least one row"),
        ({"rows": {"a": 1}}, "must be a list"),
        ({"rows": [[1]] * 4}, "has 4 rows; send at most 3"),
    ],
)
def test_a_body_with_another_form_is_refused(payload: object, message: str) -> None:
    with pytest.raises(PayloadError, match=message):
        rows_of_payload(payload, most_rows=3)


@pytest.mark.parametrize("key", ["", "x" * 257, 7, ["a"]])
def test_a_routing_key_is_a_short_string(key: object) -> None:
    with pytest.raises(PayloadError, match="routing_key"):
        routing_key_of({"routing_key": key})
