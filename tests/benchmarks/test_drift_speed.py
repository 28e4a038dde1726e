"""The speed benchmark with little data: what it runs and what it writes, not how fast it is."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import ks_2samp

from benchmarks import drift_speed
from benchmarks.arrays import drawn, load
from benchmarks.competitors import COMPETITORS, scipy_loop

PROJECT = Path(__file__).resolve().parent.parent.parent
NUMBERS_OF_A_SIZE = ("ratios", "cpu_ratios", "seconds", "pairs", "ratio_spread", "ks_difference")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """Output of the command and content of its JSON file."""
    file = tmp_path_factory.mktemp("benchmark") / "figures.json"
    command = [sys.executable, "-m", "benchmarks.drift_speed", "--sizes", "2000", "--competitors", "np_sort", "scipy"]
    command += ["--pairs", "3", "--budget", "1", "--json", str(file)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(file.read_text())


def test_the_figures_have_the_documented_shape(run: tuple[str, dict[str, Any]]) -> None:
    _, figures = run

    for name in NUMBERS_OF_A_SIZE:
        assert set(figures[name]) == {"2000x100"}
        assert set(figures[name]["2000x100"]) == {"np_sort", "scipy"}
    assert all(ratio > 0 for ratio in figures["ratios"]["2000x100"].values())
    assert figures["required"] == {"np_sort": 5.0, "scipy": 0.1, "nannyml": 0.2, "evidently": 0.02}
    assert set(figures["peak_memory_bytes"]["2000x100"]) == {"ours", "np_sort", "scipy"}
    assert figures["process_memory_bytes"]["2000x100"]["ours"] > 10 * 2**20
    assert figures["unavailable"] == {}
    assert figures["machine"]["cores"] >= 1
    assert set(figures["libraries"]) == {"numpy", "scipy", "pyarrow"}


def test_both_sides_compared_the_same_data(run: tuple[str, dict[str, Any]]) -> None:
    _, figures = run

    assert figures["ks_difference"]["2000x100"]["np_sort"] is None
    assert figures["ks_difference"]["2000x100"]["scipy"] < 1e-12


def test_the_text_has_ratios_and_what_each_side_computes(run: tuple[str, dict[str, Any]]) -> None:
    printed, figures = run

    (row,) = [line for line in printed.splitlines() if line.startswith("scipy ")]
    assert f"{figures['ratios']['2000x100']['scipy']:.3g}" in row.split()
    assert "2,000 x 100" in printed
    assert COMPETITORS["scipy"].computes in printed
    assert "nannyml" not in printed


def test_a_competitor_that_cannot_be_installed_is_reported_with_the_reason(tmp_path: Path) -> None:
    absent = tmp_path / "absent.txt"
    absent.write_text("./there-is-no-such-project\n")
    options = drift_speed.Options(
        sizes=[500],
        competitors=[replace(COMPETITORS["np_sort"], name="nannyml", requirements=absent)],
        pairs=3,
        budget_seconds=1,
        environments=tmp_path / "environments",
    )

    sizes = drift_speed.measure(options)
    figures = drift_speed.figures_of(sizes, seconds=1.0)

    assert figures["ratios"] == {"500x100": {}}
    assert "cannot be installed" in figures["unavailable"]["nannyml"]
    assert "cannot be installed" in drift_speed.text_of(sizes[0])


def test_arrays_are_saved_and_loaded_and_one_feature_in_five_drifts(tmp_path: Path) -> None:
    arrays = drawn(2_000)
    arrays.save(tmp_path)
    read = load(tmp_path)

    for role in ("reference", "window"):
        for name in ("numbers", "codes", "predictions"):
            saved = getattr(getattr(arrays, role), name)
            assert np.array_equal(saved, getattr(getattr(read, role), name))
    assert np.array_equal(drawn(2_000).window.numbers, arrays.window.numbers)
    p_values = [ks_2samp(*pair).pvalue for pair in zip(arrays.reference.numbers, arrays.window.numbers, strict=True)]
    shifted = np.arange(len(p_values)) % 5 == 0
    assert np.median(np.array(p_values)[shifted]) < 0.02
    assert np.median(np.array(p_values)[~shifted]) > 0.2


def test_the_scipy_loop_finds_drift_and_measures_each_feature() -> None:
    arrays = drawn(10_000)
    measures, drifted = scipy_loop.prepare(arrays)()

    assert list(measures) == [*arrays.numeric_names, *arrays.categorical_names]
    assert {"number_00", "category_00"} <= set(drifted)
    assert "number_01" not in drifted
    assert all(one.wasserstein is not None for name, one in measures.items() if name.startswith("number"))
