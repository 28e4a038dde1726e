"""The data that every side of a comparison reads from the same files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SEED = 20_261_123
CATEGORIES = ("north", "south", "east", "west", "centre")
CLASSES = ("refused", "granted", "unclear")
NUMERIC_FEATURES = 90
CATEGORICAL_FEATURES = 10
SHIFTED_EVERY = 5  # one feature in five of the window has drifted a little


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Rows by column, without missing values.

    Attributes
    ----------
    numbers
        Shape (90, n), float64, each column contiguous.
    codes
        Shape (10, n), int8: indices into `CATEGORIES`.
    predictions
        Shape (n,), int8: indices into `CLASSES`.
    """

    numbers: NDArray[np.float64]
    codes: NDArray[np.int8]
    predictions: NDArray[np.int8]

    @property
    def rows(self) -> int:
        """n."""
        return int(self.numbers.shape[1])

    def corner(self, rows: int, features: int) -> "Sample":
        """Return a copy of the first rows of the first features of each kind."""
        return Sample(
            numbers=self.numbers[:features, :rows].copy(),
            codes=self.codes[:features, :rows].copy(),
            predictions=self.predictions[:rows].copy(),
        )

    def as_matrix(self) -> NDArray[np.float64]:
        """Return all features as float64, shape (100, n)."""
        return np.concatenate([self.numbers, self.codes.astype(np.float64)])


@dataclass(frozen=True, slots=True, eq=False)
class FeatureArrays:
    """A reference and a window of the same features."""

    reference: Sample
    window: Sample

    @property
    def numeric_names(self) -> list[str]:
        """Names of the numeric features."""
        return [f"number_{index:02d}" for index in range(self.reference.numbers.shape[0])]

    @property
    def categorical_names(self) -> list[str]:
        """Names of the categorical features."""
        return [f"category_{index:02d}" for index in range(self.reference.codes.shape[0])]

    def corner(self, rows: int, features: int) -> "FeatureArrays":
        """Return the first rows of the first features of each kind, of both samples."""
        return FeatureArrays(self.reference.corner(rows, features), self.window.corner(rows, features))

    def as_frame(self, sample: Sample) -> Any:
        """Return a sample as a pandas data frame, for competitors that read nothing else."""
        import pandas as pd

        numbers = dict(zip(self.numeric_names, sample.numbers, strict=True))
        categories = {
            name: pd.Categorical.from_codes(codes, list(CATEGORIES))
            for name, codes in zip(self.categorical_names, sample.codes, strict=True)
        }
        return pd.DataFrame({**numbers, **categories})

    def save(self, folder: Path) -> None:
        """Write one .npy file for each array."""
        for role, sample in (("reference", self.reference), ("window", self.window)):
            for name in Sample.__slots__:
                np.save(folder / f"{role}.{name}.npy", getattr(sample, name))


def load(folder: Path) -> FeatureArrays:
    """Read the files that `FeatureArrays.save` wrote."""
    reference, window = (
        Sample(*(np.load(folder / f"{role}.{name}.npy") for name in Sample.__slots__))
        for role in ("reference", "window")
    )
    return FeatureArrays(reference, window)


def drawn(rows: int, *, seed: int = SEED) -> FeatureArrays:
    """Return a reference and a window of `rows` rows each, with 90 numeric features and 10 with five categories."""
    rng = np.random.default_rng([seed, rows])
    return FeatureArrays(_sample(rng, rows, shift=0.0), _sample(rng, rows, shift=0.1))


def _sample(rng: np.random.Generator, rows: int, *, shift: float) -> Sample:
    numbers = np.empty((NUMERIC_FEATURES, rows))
    for index in range(NUMERIC_FEATURES):
        moved = shift if index % SHIFTED_EVERY == 0 else 0.0
        numbers[index] = _transformed(index, rng.normal(moved, 1.0, rows))
    codes = np.empty((CATEGORICAL_FEATURES, rows), dtype=np.int8)
    for index in range(CATEGORICAL_FEATURES):
        moved = shift if index % SHIFTED_EVERY == 0 else 0.0
        shares = np.array([0.4 - moved, 0.25, 0.2, 0.1 + moved, 0.05])
        codes[index] = rng.choice(len(CATEGORIES), size=rows, p=shares)
    predictions = rng.choice(len(CLASSES), size=rows, p=[0.6, 0.35, 0.05]).astype(np.int8)
    return Sample(numbers=numbers, codes=codes, predictions=predictions)


def _transformed(index: int, normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return normally distributed values as one of six kinds of column."""
    match index % 6:
        case 0 | 1:
            return normal
        case 2:
            return 1e4 * np.exp(normal)  # lognormal, like amounts of money
        case 3:
            return np.round(normal, 1)  # ties: about eighty distinct values
        case 4:
            return np.round(1000 * np.exp(0.5 * normal))  # ties: whole numbers with a long tail
        case _:
            return normal**3  # heavy tails
