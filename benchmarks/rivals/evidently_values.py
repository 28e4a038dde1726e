"""evidently with the measures of ours: KS, PSI, Jensen-Shannon and Wasserstein of numbers, chi-squared, PSI and JS of
levels, each as a ValueDrift of one column.

Its figures are drawn with the calculation and cannot be left out; asked for column by column they are drawn once, which
is the leanest way. The data sets are made outside the timing.
"""

from collections.abc import Callable, Mapping
from typing import Any

from evidently import DataDefinition, Dataset, Report  # type: ignore[import-not-found]
from evidently.metrics import ValueDrift  # type: ignore[import-not-found]

from benchmarks.arrays import FeatureArrays, Sample
from benchmarks.rivals.tables import as_frame

OF_NUMBERS = ("wasserstein", "psi", "jensenshannon", "ks")
OF_LEVELS = ("chisquare", "psi", "jensenshannon")


def prepare(arrays: FeatureArrays) -> Callable[[], Any]:
    """Return the report over the window."""
    reference, window = as_dataset(arrays, arrays.reference), as_dataset(arrays, arrays.window)
    metrics = [ValueDrift(column=name, method=method) for method in OF_NUMBERS for name in arrays.numeric_names]
    metrics += [ValueDrift(column=name, method=method) for method in OF_LEVELS for name in arrays.categorical_names]
    return lambda: Report(metrics).run(window, reference)


def answers(_found: Any) -> Mapping[str, float]:
    """Return nothing: its answer to KS is the p-value alone."""
    return {}


def as_dataset(arrays: FeatureArrays, sample: Sample) -> Any:
    """Return a sample with its columns' kinds declared."""
    definition = DataDefinition(numerical_columns=arrays.numeric_names, categorical_columns=arrays.categorical_names)
    return Dataset.from_pandas(as_frame(arrays, sample), data_definition=definition)
