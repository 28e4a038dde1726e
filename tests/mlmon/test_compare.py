"""``mlmon.compare``: what it accepts, what its options do, and the examples in docstrings."""

import doctest
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from numpy.typing import NDArray

import mlmon
from mlmon.exceptions import ComparisonInputError
from mlmon.results import ResultStatus, VerdictStatus

ROWS = 2000
rng = np.random.default_rng(12)
REFERENCE = {
    "price": rng.normal(10, 2, ROWS),
    "city": rng.choice(["Oslo", "Rome"], ROWS),
    "store": rng.integers(0, 9, ROWS),
    "late": rng.choice(["yes", "no"], ROWS),
}
CURRENT = {**REFERENCE, "price": REFERENCE["price"] + 2}


class PyCapsuleTable:
    """A table of another library, known by its Arrow stream only."""

    def __init__(self, table: Any) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


def _csv(columns: Mapping[str, NDArray[Any]], folder: Path) -> str:
    path = folder / f"{id(columns)}.csv"
    pa.csv.write_csv(pa.table(dict(columns)), path)
    return str(path)


def _parquet(columns: Mapping[str, NDArray[Any]], folder: Path) -> Path:
    path = folder / f"{id(columns)}.parquet"
    pa.parquet.write_table(pa.table(dict(columns)), path)
    return path


@pytest.mark.parametrize(
    "given",
    [
        _csv,
        _parquet,
        lambda columns, folder: pa.table(columns),
        lambda columns, folder: PyCapsuleTable(pa.table(columns)),
        lambda columns, folder: columns,
    ],
    ids=["csv", "parquet", "arrow", "capsule", "mapping"],
)
def test_files_and_tables_give_the_same_result(given: Callable[[Mapping[str, Any], Path], Any], tmp_path: Path) -> None:
    result = mlmon.compare(given(REFERENCE, tmp_path), given(CURRENT, tmp_path))
    assert result == mlmon.compare(pa.table(REFERENCE), pa.table(CURRENT))
    assert result.verdict.status is VerdictStatus.ALARM
    assert [found.name for found in result.listed_hypotheses] == ["price"]


def test_options_choose_columns_and_thresholds() -> None:
    result = mlmon.compare(
        REFERENCE,
        CURRENT,
        prediction="late",
        ignore=["city"],
        categorical=["store"],
        column_thresholds={"price": 0.9},
        false_alarm_budget=100,
        windows=[500],
    )
    price, store = result.features
    assert (price.name, price.threshold, price.is_drifted) == ("price", 0.9, False)
    assert (store.name, store.kind.value) == ("store", "categorical")
    assert result.prediction.status is ResultStatus.OK
    assert (result.verdict.false_alarm_budget, result.verdict.window_rows) == (100, (ROWS, 500))
    assert result.joint_change is None
    joint = mlmon.compare(REFERENCE, CURRENT, joint=True).joint_change
    assert joint is not None
    assert joint.telling_features == ("price",)


def test_errors_name_the_table() -> None:
    with pytest.raises(
        ComparisonInputError, match=r"^reference: there is no column 'lat' .--prediction.. Did you mean .late.\?$"
    ):
        mlmon.compare(REFERENCE, CURRENT, prediction="lat")
    with pytest.raises(ComparisonInputError, match=r"^There is no file absent\.csv\.$"):
        mlmon.compare("absent.csv", CURRENT)


@pytest.mark.parametrize(
    "name",
    [
        "mlmon",
        "mlmon.measures",
        "mlmon.rollout_evidence",
        "mlmon.statistics.counts",
        "mlmon.statistics.kolmogorov_smirnov",
    ],
)
def test_examples_in_docstrings_hold(name: str) -> None:
    found = doctest.testmod(import_module(name))
    assert found.attempted > 0
    assert found.failed == 0
