"""Quantiles of sorted samples; the oracle is numpy."""

import numpy as np
import pytest

from mlmon.results import QUANTILE_LEVELS
from mlmon.statistics.quantiles import quantiles_of_sorted


@pytest.mark.parametrize("size", [1, 2, 5, 20, 101, 2_000])
def test_they_are_numpys(size: int) -> None:
    values = np.sort(np.random.default_rng(size).normal(3, 100, size))
    levels = (0.0, *QUANTILE_LEVELS, 1.0)
    assert quantiles_of_sorted(values, levels) == pytest.approx(tuple(np.quantile(values, levels)), rel=1e-12)


def test_ties_and_the_ends_of_float64_hold() -> None:
    assert quantiles_of_sorted(np.zeros(7), QUANTILE_LEVELS) == (0.0,) * 5
    largest = np.finfo(np.float64).max
    assert quantiles_of_sorted(np.array([-largest, largest]), (0.5,)) == (0.0,)
