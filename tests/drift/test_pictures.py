"""Quantiles of binned values; the oracle is numpy, on values that lie evenly in their bins."""

import numpy as np
import pytest

from drift.rendering.pictures import Histogram, picture_of, quantile_of_bins
from drift.results import Distribution

EVENLY = 1000  # values in each bin for each unit of its count


@pytest.mark.parametrize("q", [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.999])
def test_quantiles_are_numpys_of_values_that_lie_evenly(q: float) -> None:
    edges, counts = np.array([-3.0, 0.0, 1.0, 10.0]), np.array([2, 5, 3])
    values = np.concatenate(
        [
            np.linspace(low, high, EVENLY * count, endpoint=False)
            for low, high, count in zip(edges, edges[1:], counts.tolist(), strict=False)
        ]
    )
    assert quantile_of_bins(q, edges, counts / counts.sum()) == pytest.approx(np.quantile(values, q), abs=0.01)


def test_an_empty_bin_is_stepped_over() -> None:
    edges, shares = np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.5, 0.0, 0.5])
    assert quantile_of_bins(0.5, edges, shares) == 1.0
    assert quantile_of_bins(0.75, edges, shares) == 2.5


def test_a_histogram_tells_them_for_both_samples() -> None:
    picture = picture_of(Distribution((), (0.0, 10.0, 20.0), (100, 0), (0, 50)))
    assert isinstance(picture, Histogram)
    median = next(line for line in picture.quantiles if line.name == "Median")
    assert (median.reference, median.current) == ("5.00", "15.0")
