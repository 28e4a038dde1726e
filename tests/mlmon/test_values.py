"""Columns as they are observed. Oracle: values written by hand, and Python's own round trip of floats."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlmon.schema import Feature, FeatureKind, TensorType
from mlmon.values import category_name, category_names, observed_table


def feature(name: str, kind: FeatureKind, tensor_type: TensorType) -> Feature:
    return Feature(name=name, kind=kind, is_required=False, input_name=name, column=0, tensor_type=tensor_type)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (3.0, "3"),
        (2.5, "2.5"),
        (-0.0, "0"),
        (-7.0, "-7"),
        (0.1, "0.1"),
        (2.0**53, "9007199254740992"),
        (1e300, "1e+300"),
        (float("inf"), "inf"),
        (float("-inf"), "-inf"),
        (np.float64(1.5), "1.5"),
    ],
)
def test_a_number_has_one_category_name(value: float, name: str) -> None:
    assert category_name(value) == name


@given(st.floats(allow_nan=False))
def test_a_category_name_reads_back_as_the_same_number(value: float) -> None:
    assert float(category_name(value)) == value


@given(st.lists(st.floats()))
def test_many_numbers_are_named_like_single_ones(values: list[float]) -> None:
    expected = [None if np.isnan(value) else category_name(value) for value in values]
    assert category_names(np.array(values, dtype=np.float64)).to_pylist() == expected


def test_observed_table_keeps_order_types_and_missing_values() -> None:
    features = [
        feature("carrier", FeatureKind.CATEGORICAL, TensorType.STRING),
        feature("distance", FeatureKind.NUMERIC, TensorType.FLOAT32),
        feature("month", FeatureKind.CATEGORICAL, TensorType.INT64),
    ]
    columns = {
        "month": np.array([1.0, np.nan, 12.0]),
        "distance": np.array([np.nan, 7.5, np.inf]),
        "carrier": np.array(["UA", None, ""], dtype=object),
        "ignored": np.array([0.0, 0.0, 0.0]),
    }

    table = observed_table(features, columns)

    assert table.schema.names == ["carrier", "distance", "month"]
    assert table.schema.types == [pa.string(), pa.float64(), pa.string()]
    assert table.to_pydict() == {
        "carrier": ["UA", None, ""],
        "distance": [None, 7.5, float("inf")],
        "month": ["1", None, "12"],
    }


def test_no_rows_give_empty_columns_of_the_right_type() -> None:
    features = [
        feature("carrier", FeatureKind.CATEGORICAL, TensorType.STRING),
        feature("month", FeatureKind.CATEGORICAL, TensorType.INT64),
    ]
    table = observed_table(features, {"carrier": np.array([], dtype=object), "month": np.array([])})
    assert table.num_rows == 0
    assert table.schema.types == [pa.string(), pa.string()]


def test_a_column_without_values_is_all_null() -> None:
    category = feature("category", FeatureKind.CATEGORICAL, TensorType.FLOAT32)
    assert observed_table([category], {"category": np.array([np.nan, np.nan])}).to_pydict() == {
        "category": [None, None]
    }
