"""Two reports of evidently: the measures that our check has too, and DataDriftPreset with its defaults.

`MEASURES` has KS, PSI, Jensen-Shannon and Wasserstein of numbers, and chi-squared, PSI and JS of categories, each as a
ValueDrift of one column. evidently draws its charts during the calculation. This cannot be switched off, but with one
ValueDrift per column each chart is drawn only once. Creating the data sets is not timed.
"""

from collections.abc import Callable
from typing import Any

from evidently import DataDefinition, Dataset, Report  # type: ignore[import-not-found]
from evidently.metrics import ValueDrift  # type: ignore[import-not-found]
from evidently.presets import DataDriftPreset  # type: ignore[import-not-found]

from benchmarks.arrays import FeatureArrays
from benchmarks.competitors import Side

NUMERIC_METHODS = ("wasserstein", "psi", "jensenshannon", "ks")
CATEGORICAL_METHODS = ("chisquare", "psi", "jensenshannon")


def _prepare_measures(arrays: FeatureArrays) -> Callable[[], Any]:
    metrics = [ValueDrift(column=name, method=method) for method in NUMERIC_METHODS for name in arrays.numeric_names]
    for method in CATEGORICAL_METHODS:
        metrics += [ValueDrift(column=name, method=method) for name in arrays.categorical_names]
    return _prepared(arrays, metrics)


def _prepare_preset(arrays: FeatureArrays) -> Callable[[], Any]:
    return _prepared(arrays, [DataDriftPreset()])


def _prepared(arrays: FeatureArrays, metrics: list[Any]) -> Callable[[], Any]:
    """Return the report of the window."""
    definition = DataDefinition(numerical_columns=arrays.numeric_names, categorical_columns=arrays.categorical_names)
    reference, window = (
        Dataset.from_pandas(arrays.as_frame(sample), data_definition=definition)
        for sample in (arrays.reference, arrays.window)
    )
    return lambda: Report(metrics).run(window, reference)


# Neither has KS statistics: for KS, evidently returns only the p-value.
MEASURES = Side(_prepare_measures)
PRESET = Side(_prepare_preset)
