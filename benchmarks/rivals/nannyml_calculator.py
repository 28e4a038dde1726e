"""nannyml's univariate calculator: KS, Wasserstein and Jensen-Shannon of numbers, chi-squared and JS of levels.

No PSI and no verdict over all features, so it does less than ours. `fit` is outside the timing. Its defaults hold: from
10,000 reference rows on, KS and Wasserstein are estimated from 10,000 bins.
"""

from collections.abc import Callable, Mapping
from typing import Any

from nannyml import UnivariateDriftCalculator  # type: ignore[import-not-found]

from benchmarks.arrays import FeatureArrays
from benchmarks.rivals.tables import as_frame


def prepare(arrays: FeatureArrays) -> Callable[[], Any]:
    """Return the calculation over the window as one chunk."""
    calculator = UnivariateDriftCalculator(
        column_names=[*arrays.numeric_names, *arrays.categorical_names],
        continuous_methods=["kolmogorov_smirnov", "wasserstein", "jensen_shannon"],
        categorical_methods=["chi2", "jensen_shannon"],
        chunk_size=arrays.window.rows,
    )
    calculator.fit(as_frame(arrays, arrays.reference))
    window = as_frame(arrays, arrays.window)
    return lambda: calculator.calculate(window)


def answers(found: Any) -> Mapping[str, float]:
    """Return its KS statistics."""
    table = found.filter(period="analysis", methods=["kolmogorov_smirnov"]).to_df(multilevel=True)
    return {
        name: float(table[(name, "kolmogorov_smirnov", "value")].iloc[0])
        for name in found.continuous_column_names
        if len(table)
    }
