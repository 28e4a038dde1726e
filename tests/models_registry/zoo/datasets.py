"""The data that the zoo's models are trained on, and the rows that are held out."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris

HELD_OUT = 12


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows and targets for training, and held-out rows. Numbers are float32 values, stored as float64."""

    features: tuple[str, ...]
    x: NDArray[Any]
    y: NDArray[Any]
    rows: NDArray[Any]

    def labelled(self, labels: list[Any]) -> "Dataset":
        """Return the data with these labels instead of the numbers 0, 1, ..."""
        return replace(self, y=np.array(labels)[self.y])

    def first(self, rows: int) -> "Dataset":
        """Return the data with fewer rows for training."""
        return replace(self, x=self.x[:rows], y=self.y[:rows])


def float32(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the numbers rounded to float32."""
    return values.astype(np.float32).astype(np.float64)


def _split(features: tuple[str, ...], x: NDArray[Any], y: NDArray[Any], train: int) -> Dataset:
    order = np.random.default_rng(7).permutation(len(x))
    x, y = float32(x[order]), y[order]
    return Dataset(features, x[HELD_OUT : HELD_OUT + train], y[HELD_OUT : HELD_OUT + train], x[:HELD_OUT])


@cache
def iris() -> Dataset:
    """Return iris: four lengths in cm, classes 0, 1, 2."""
    x, y = load_iris(return_X_y=True)
    return _split(("sepal_length", "sepal_width", "petal_length", "petal_width"), x, y, 138)


@cache
def cancer() -> Dataset:
    """Return breast cancer: the first four columns, classes 0 and 1."""
    x, y = load_breast_cancer(return_X_y=True)
    return _split(("radius", "texture", "perimeter", "area"), x[:, :4], y, 150)


@cache
def diabetes() -> Dataset:
    """Return diabetes: age, sex, body mass index and blood pressure, unscaled, and the progression of the disease."""
    x, y = load_diabetes(return_X_y=True, scaled=False)
    return _split(("age", "sex", "bmi", "bp"), x[:, :4], y, 150)


def with_missing(data: Dataset) -> Dataset:
    """Return the data with a tenth of the values missing, in the held-out rows too."""
    generator = np.random.default_rng(3)

    def holes(x: NDArray[Any]) -> NDArray[Any]:
        return np.where(generator.random(x.shape) < 0.1, np.nan, x)

    return replace(data, x=holes(data.x), rows=holes(data.rows))


def binary_columns(data: Dataset) -> Dataset:
    """Return the data with 1 for values above the median and 0 for the others."""
    median = np.median(data.x, axis=0)
    return replace(data, x=(data.x > median).astype(np.float64), rows=(data.rows > median).astype(np.float64))


DATASETS: dict[str, Callable[[], Dataset]] = {
    "iris": lambda: iris().labelled(["setosa", "versicolor", "virginica"]),
    "iris 0 1 2": iris,
    "iris tenths": lambda: replace(iris(), x=np.rint(iris().x * 10), rows=np.rint(iris().rows * 10)),
    "iris tenths strings": lambda: DATASETS["iris tenths"]().labelled(["setosa", "versicolor", "virginica"]),
    "iris two labels": lambda: replace(iris(), y=np.column_stack([iris().y > 0, iris().x[:, 0] > 6]).astype(int)),
    "iris 2 9 10": lambda: iris().labelled([2, 9, 10]),
    "iris binary columns": lambda: binary_columns(iris().labelled(["setosa", "versicolor", "virginica"])),
    "iris missing": lambda: with_missing(iris().labelled(["setosa", "versicolor", "virginica"])),
    "iris 40": lambda: DATASETS["iris"]().first(40),
    "cancer": lambda: cancer().labelled(["malignant", "benign"]),
    "cancer 0 1": cancer,
    "cancer 2 10": lambda: cancer().labelled([2, 10]),
    "cancer -1 1": lambda: cancer().labelled([-1, 1]),
    "cancer bool": lambda: cancer().labelled([False, True]),
    "cancer missing": lambda: with_missing(cancer()),
    "cancer 40": lambda: cancer().first(40),
    "diabetes": diabetes,
    "diabetes 40": lambda: diabetes().first(40),
    "diabetes missing": lambda: with_missing(diabetes()),
    "diabetes two targets": lambda: replace(diabetes(), y=np.column_stack([diabetes().y, diabetes().y ** 0.5])),
}
