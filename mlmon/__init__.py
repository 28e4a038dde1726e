"""Compare a table with a reference table: scores for each column, and one verdict under a false-alarm budget."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlmon.results import ComparisonResult

__all__ = ["compare"]


def compare(
    reference: Any,
    current: Any,
    *,
    prediction: str = "",
    time: str = "",
    ignore: Collection[str] = (),
    categorical: Collection[str] = (),
    zone: str = "",
    missing: Collection[str] = (),
    date_formats: Mapping[str, str] | None = None,
    encoding: str = "",
    threshold: float = 0.15,
    column_thresholds: Mapping[str, float] | None = None,
    prediction_threshold: float = 0.1,
    false_alarm_budget: int = 10_000,
    windows: Collection[int] = (),
    joint: bool = False,
) -> ComparisonResult:
    """Compare the rows of one table with those of a reference.

    Parameters
    ----------
    reference, current
        Paths of CSV or Parquet files; Arrow tables, or data frames and other objects with the Arrow PyCapsule interface
        (``__arrow_c_stream__``); or mappings from column names to arrays. The reference should have at least 1,000
        rows, better ten times as many as the current table, which should have at least 500.
    prediction
        The column with the model's predictions, classes or numbers. "" if there is none.
    time
        The column that orders the rows. "" if they are in order.
    ignore, categorical
        Columns that are left out, and columns of numbers that are names.
    zone
        The time zone of the hours and weekdays of times with a zone, such as "Europe/Berlin"; "" for their own.
    missing
        Strings that are missing values in every column, such as "NA". Without it they are categories in columns of
        strings.
    date_formats
        "dd/mm/yyyy" or "mm/dd/yyyy" by column, or for all under "": for dates whose values do not show their order.
    encoding
        Of CSV files, such as "cp1252"; "" for UTF-8, or UTF-16 with a byte order mark.
    threshold, column_thresholds, prediction_threshold
        Scores above them are drift: of all columns, of single columns by name, and of the predictions (Jensen-Shannon
        divergence, natural logarithm).
    false_alarm_budget
        A: the verdict raises at most one false alarm in A comparisons, however many columns there are.
    windows
        Numbers of rows, at least 500: the verdict also compares the latest rows of each number.
    joint
        Whether a classifier compares all columns together. Needs the extra ``mlmon[joint]``; takes about a second.

    Returns
    -------
    mlmon.results.ComparisonResult
        A frozen dataclass with `verdict`, `features`, `prediction` and more.

    Raises
    ------
    mlmon.exceptions.ComparisonInputError
        A table cannot be read, or lacks a column that is named here.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> before = {"price": rng.normal(10, 2, 10_000), "city": rng.choice(["Oslo", "Rome"], 10_000)}
    >>> now = {"price": rng.normal(11, 2, 1_000), "city": rng.choice(["Oslo", "Rome"], 1_000)}
    >>> result = compare(before, now)
    >>> result.verdict.status.value
    'alarm'
    >>> [(found.name, round(found.effect, 1)) for found in result.listed_hypotheses]
    [('price', 0.4)]
    """
    from mlmon.criteria import Criteria, Thresholds
    from mlmon.file_comparison import ColumnChoices, compare_files
    from mlmon.tables import UNLIMITED
    from mlmon.times import DateOrder

    orders = {name: DateOrder(order) for name, order in (date_formats or {}).items()}
    choices = ColumnChoices(
        prediction, time, frozenset(ignore), frozenset(categorical), zone, frozenset(missing), orders, encoding
    )
    criteria = Criteria(
        thresholds=Thresholds(threshold, prediction_threshold, column_thresholds or {}),
        false_alarm_budget=false_alarm_budget,
        extra_window_rows=tuple(windows),
        monitors_joint_distribution=joint,
    )
    return compare_files(_source(reference), _source(current), choices, criteria, UNLIMITED).result


def _source(data: Any) -> Any:
    from pathlib import Path

    import pyarrow as pa

    if isinstance(data, str | PathLike):
        return Path(data)
    return data if isinstance(data, pa.Table) else pa.table(dict(data) if isinstance(data, Mapping) else data)
