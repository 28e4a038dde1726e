"""nannyml's univariate calculator: KS, Wasserstein and Jensen-Shannon of numbers, chi-squared and JS of categories.

It has no PSI and no verdict over all features. `fit` is not timed. With its defaults, KS and Wasserstein are estimated
from 10,000 bins if the reference has 10,000 rows or more.
"""

from collections.abc import Callable, Mapping
from typing import Any

from nannyml import UnivariateDriftCalculator  # type: ignore[import-not-found]

from benchmarks.arrays import FeatureArrays
from benchmarks.competitors import Side


def prepare(arrays: FeatureArrays) -> Callable[[], Any]:
    """Return the calculation for the window as one chunk."""
    calculator = UnivariateDriftCalculator(
        column_names=[*arrays.numeric_names, *arrays.categorical_names],
        continuous_methods=["kolmogorov_smirnov", "wasserstein", "jensen_shannon"],
        categorical_methods=["chi2", "jensen_shannon"],
        chunk_size=arrays.window.rows,
    )
    calculator.fit(arrays.as_frame(arrays.reference))
    window = arrays.as_frame(arrays.window)
    return lambda: calculator.calculate(window)


def ks_statistics(result: Any) -> Mapping[str, float]:
    """Return the KS statistic of each numeric feature."""
    table = result.filter(period="analysis", methods=["kolmogorov_smirnov"]).to_df(multilevel=True)
    return {
        name: float(table[(name, "kolmogorov_smirnov", "value")].iloc[0])
        for name in result.continuous_column_names
        if len(table)
    }


SIDE = Side(prepare, ks_statistics)
