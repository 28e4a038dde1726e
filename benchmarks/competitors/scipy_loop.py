"""A loop over the features with SciPy, as a competent user writes it: the same measures as our check, and an alarm.

Numeric features: two-sample KS, chi-squared on the reference's deciles, PSI on them, Jensen-Shannon distance on bins
(Sturges' rule) of both samples, normalised Wasserstein distance. Categorical features: chi-squared, PSI, Jensen-Shannon
distance. Then Bonferroni. The reference's deciles and counts are computed once and not timed. Categories are integer
codes, so no strings are counted.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2_contingency, ks_2samp, wasserstein_distance

from benchmarks.arrays import CATEGORIES, FeatureArrays
from benchmarks.competitors import Side

FALSE_ALARM_BUDGET = 10_000
PSEUDO_COUNT = 0.5

Counts = NDArray[np.int64]
Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Measures:
    """Measures of one feature."""

    p_value: float
    psi: float
    js_distance: float
    ks: float | None = None
    wasserstein: float | None = None


Report = tuple[dict[str, Measures], list[str]]  # by feature, and the features that have drifted


@dataclass(frozen=True, slots=True, eq=False)
class _Reference:
    values: Numbers
    deciles: Numbers
    counts: Counts
    std: float


def prepare(arrays: FeatureArrays) -> Callable[[], Report]:
    """Return the loop over all features."""
    references = []
    for values in arrays.reference.numbers:
        deciles = np.unique(np.quantile(values, np.arange(1, 10) / 10, method="inverted_cdf"))
        references.append(_Reference(values, deciles, _bin_counts(deciles, values), float(values.std())))
    category_counts = [np.bincount(codes, minlength=len(CATEGORIES)) for codes in arrays.reference.codes]

    def check() -> Report:
        measures = {
            name: _compare_numbers(reference, values)
            for name, reference, values in zip(arrays.numeric_names, references, arrays.window.numbers, strict=True)
        }
        for name, counts, codes in zip(arrays.categorical_names, category_counts, arrays.window.codes, strict=True):
            measures[name] = _compare_categories(counts, codes)
        alpha = 1 / (FALSE_ALARM_BUDGET * len(measures))
        return measures, [name for name, one in measures.items() if one.p_value <= alpha]

    return check


def _compare_numbers(reference: _Reference, values: Numbers) -> Measures:
    test = ks_2samp(reference.values, values)
    counts = _bin_counts(reference.deciles, values)
    bins = chi2_contingency(np.vstack([reference.counts, counts]), correction=False)
    edges = np.histogram_bin_edges(np.concatenate([reference.values, values]), bins="sturges")
    return Measures(
        p_value=min(1.0, 2 * min(test.pvalue, bins.pvalue)),
        psi=_psi(reference.counts, counts),
        js_distance=float(jensenshannon(np.histogram(reference.values, edges)[0], np.histogram(values, edges)[0])),
        ks=float(test.statistic),
        wasserstein=wasserstein_distance(reference.values, values) / max(reference.std, 0.001),
    )


def _compare_categories(reference: Counts, codes: NDArray[np.int8]) -> Measures:
    counts = np.bincount(codes, minlength=len(CATEGORIES))
    test = chi2_contingency(np.vstack([reference, counts]), correction=False)
    return Measures(
        p_value=float(test.pvalue), psi=_psi(reference, counts), js_distance=float(jensenshannon(reference, counts))
    )


def _bin_counts(cuts: Numbers, values: Numbers) -> Counts:
    """Return how many values are at or below each cut and above the previous one."""
    return np.bincount(np.searchsorted(cuts, values), minlength=cuts.size + 1)


def _psi(reference: Counts, current: Counts) -> float:
    p = (reference + PSEUDO_COUNT) / (reference.sum() + PSEUDO_COUNT * reference.size)
    q = (current + PSEUDO_COUNT) / (current.sum() + PSEUDO_COUNT * current.size)
    return float(np.sum((q - p) * np.log(q / p)))


SIDE = Side(prepare, lambda report: {name: one.ks for name, one in report[0].items() if one.ks is not None})
