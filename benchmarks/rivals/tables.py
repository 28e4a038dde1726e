"""The arrays as pandas has them, for the rivals that read nothing else."""

import pandas as pd

from benchmarks.arrays import LEVELS, FeatureArrays, Sample


def as_frame(arrays: FeatureArrays, sample: Sample) -> pd.DataFrame:
    """Return float64 columns and columns of categories, named as the features."""
    numbers = dict(zip(arrays.numeric_names, sample.numbers, strict=True))
    levels = {
        name: pd.Categorical.from_codes(codes, list(LEVELS))
        for name, codes in zip(arrays.categorical_names, sample.codes, strict=True)
    }
    return pd.DataFrame({**numbers, **levels})
