"""What a competent user writes with scipy: the same measures as ours, feature by feature, for an alarm at the end.

Numeric: two-sample KS, chi-squared on the reference's deciles, PSI on them, Jensen-Shannon distance on Sturges' bins
of both, normalised Wasserstein distance. Categorical: chi-squared, PSI, Jensen-Shannon distance. Then Bonferroni.
The cut points and counts of the reference are computed once, outside the timing; levels come as integer codes, so that
no text is ever counted.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2_contingency, ks_2samp, wasserstein_distance

from benchmarks.arrays import LEVELS, FeatureArrays

FALSE_ALARM_BUDGET = 10_000
PSEUDO_COUNT = 0.5

Counts = NDArray[np.int64]
Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Found:
    """Measures of one feature."""

    p_value: float
    psi: float
    js_distance: float
    ks: float | None = None
    wasserstein: float | None = None


Report = tuple[dict[str, Found], list[str]]  # by feature, and the features that have drifted


@dataclass(frozen=True, slots=True, eq=False)
class _Reference:
    values: Numbers
    deciles: Numbers
    counts: Counts
    std: float


def prepare(arrays: FeatureArrays) -> Callable[[], Report]:
    """Return the loop over all features."""
    numbers = [_prepared(values) for values in arrays.reference.numbers]
    levels = [np.bincount(codes, minlength=len(LEVELS)) for codes in arrays.reference.codes]

    def check() -> Report:
        found = {
            name: _compare_numbers(reference, values)
            for name, reference, values in zip(arrays.numeric_names, numbers, arrays.window.numbers, strict=True)
        }
        for name, counts, codes in zip(arrays.categorical_names, levels, arrays.window.codes, strict=True):
            found[name] = _compare_levels(counts, codes)
        level = 1 / (FALSE_ALARM_BUDGET * len(found))
        return found, [name for name, one in found.items() if one.p_value <= level]

    return check


def answers(found: Report) -> Mapping[str, float]:
    """Return the KS statistics."""
    return {name: one.ks for name, one in found[0].items() if one.ks is not None}


def _prepared(values: Numbers) -> _Reference:
    deciles = np.unique(np.quantile(values, np.arange(1, 10) / 10, method="inverted_cdf"))
    return _Reference(values, deciles, _between(deciles, values), float(values.std()))


def _compare_numbers(reference: _Reference, values: Numbers) -> Found:
    test = ks_2samp(reference.values, values)
    counts = _between(reference.deciles, values)
    bins = chi2_contingency(np.vstack([reference.counts, counts]), correction=False)
    edges = np.histogram_bin_edges(np.concatenate([reference.values, values]), bins="sturges")
    return Found(
        p_value=min(1.0, 2 * min(test.pvalue, bins.pvalue)),
        psi=_psi(reference.counts, counts),
        js_distance=float(jensenshannon(np.histogram(reference.values, edges)[0], np.histogram(values, edges)[0])),
        ks=float(test.statistic),
        wasserstein=wasserstein_distance(reference.values, values) / max(reference.std, 0.001),
    )


def _compare_levels(reference: Counts, codes: NDArray[np.int8]) -> Found:
    counts = np.bincount(codes, minlength=len(LEVELS))
    test = chi2_contingency(np.vstack([reference, counts]), correction=False)
    return Found(
        p_value=float(test.pvalue), psi=_psi(reference, counts), js_distance=float(jensenshannon(reference, counts))
    )


def _between(cuts: Numbers, values: Numbers) -> Counts:
    """Return how many values are at or below each cut and above the one before."""
    return np.bincount(np.searchsorted(cuts, values), minlength=cuts.size + 1)


def _psi(reference: Counts, current: Counts) -> float:
    p = (reference + PSEUDO_COUNT) / (reference.sum() + PSEUDO_COUNT * reference.size)
    q = (current + PSEUDO_COUNT) / (current.sum() + PSEUDO_COUNT * current.size)
    return float(np.sum((q - p) * np.log(q / p)))
