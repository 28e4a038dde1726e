"""The benchmark of reading files with little data: its sides read the same values, and what it writes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.file_read import (
    SIDES,
    figures_of,
    measured,
    read_ours,
    read_pandas,
    read_pyarrow,
    text_of,
    write_files,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_files(2000, tmp_path)
    return tmp_path


def test_all_sides_read_the_same_values(folder: Path) -> None:
    theirs = read_pyarrow(folder / "reference.parquet")
    for kind in ("csv", "parquet"):
        ours = read_ours(folder / f"reference.{kind}")
        pandas = read_pandas(folder / f"reference.{kind}")
        for name in theirs.column_names:
            values = np.concatenate([batch[name] for batch in ours]).tolist()
            missing = np.nan if name.startswith(("integer", "float", "boolean")) else None
            expected: list[Any] = [missing if value is None else value for value in theirs[name].to_pylist()]
            assert str(values) == str([float(value) if missing is not None else value for value in expected])
            assert pandas[name].isna().sum() == theirs[name].null_count


def test_the_results(folder: Path) -> None:
    results = measured(2000, folder, pairs=3)
    figures = figures_of(results)
    assert json.loads(json.dumps(figures)) == figures
    assert {kind: set(ratios) for kind, ratios in figures["ratios"].items()} == {
        "csv": {"pyarrow", "pandas"},
        "parquet": {"pyarrow", "pandas"},
    }
    assert figures["required"]["csv"] == {"pyarrow": 2.0, "pandas": 0.8}
    assert all(set(peaks) == set(SIDES) for peaks in figures["peak_memory_bytes"].values())
    assert "Peak memory of one read" in text_of(results)
