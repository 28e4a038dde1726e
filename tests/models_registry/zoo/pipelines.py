"""scikit-learn's pipelines over strings and numbers, exported with skl2onnx."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)

from tests.models_registry.zoo.datasets import DATASETS, HELD_OUT, float32
from tests.models_registry.zoo.entry import Entry, Recipes, package
from tests.models_registry.zoo.scikit_learn import predicted

_NUMBERS = ["income", "age"]
_STRINGS = ["region", "job"]
_COLUMNS = _NUMBERS + _STRINGS
_TYPES: dict[str, Any] = {
    "income": FloatTensorType([None, 1]),
    "age": Int64TensorType([None, 1]),
    "region": StringTensorType([None, 1]),
    "job": StringTensorType([None, 1]),
}


def applicants() -> tuple[pd.DataFrame, Any]:
    """Return applicants for a loan, some with an unknown income, and the decisions."""
    generator = np.random.default_rng(5)
    rows = 200
    income = float32(generator.lognormal(10, 0.5, rows).round(2))
    frame = pd.DataFrame(
        {
            "income": np.where(generator.random(rows) < 0.15, np.nan, income),
            "age": generator.integers(18, 80, rows),
            "region": generator.choice(["north", "south", "Zürich"], rows),
            "job": generator.choice(["clerk", "nurse", "none"], rows),
        }
    )
    chance = 0.3 + 0.5 * (frame["region"] == "south") - 0.3 * (frame["age"] > 60)
    decided = np.where(generator.random(rows) < chance, "declined", "granted")
    frame.loc[2, "region"] = "unseen"  # a held-out row
    return frame, decided


def recipes() -> Recipes:
    """Return a recipe for each pipeline."""
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    encoders: dict[str, Any] = {
        "one-hot": OneHotEncoder(handle_unknown="ignore"),
        "one-hot-infrequent": OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=60),
        "ordinal": OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
        "target-encoder": TargetEncoder(random_state=0),
        "one-hot-error": OneHotEncoder(),
    }
    found: Recipes = {}
    for name, encoder in encoders.items():
        columns = [("numbers", numbers, _NUMBERS), ("strings", encoder, _STRINGS)]
        make = partial(_pipeline, columns, LogisticRegression(max_iter=3000))
        found[f"pipeline-{name}"] = partial(_mixed, make, None)
        if name == "one-hot":
            found["pipeline-one-hot-no-zipmap"] = partial(_mixed, make, {"zipmap": False})
            found["pipeline-one-hot-data-frame"] = partial(_mixed, make, None, frame_type="float64")
            found["pipeline-one-hot-data-frame-no-zipmap"] = partial(
                _mixed, make, {"zipmap": False}, frame_type="float64"
            )
            found["pipeline-one-hot-data-frame-float32"] = partial(
                _mixed, make, None, frame_type="float32", fixes="pipeline-one-hot-data-frame"
            )
    one_hot = [("numbers", numbers, _NUMBERS), ("strings", encoders["one-hot"], _STRINGS)]
    found["pipeline-boosting"] = partial(
        _mixed,
        partial(_pipeline, one_hot, GradientBoostingClassifier(n_estimators=5, max_depth=2, random_state=0)),
        None,
    )
    found["pipeline-regressor"] = partial(_mixed, partial(_pipeline, one_hot, Ridge()), None, is_regression=True)
    found["pipeline-ordinal-forest-columns"] = partial(
        _mixed,
        partial(
            _pipeline,
            [("numbers", SimpleImputer(), _NUMBERS), ("strings", encoders["ordinal"], _STRINGS)],
            RandomForestClassifier(n_estimators=4, max_depth=3, random_state=0),
        ),
        {"zipmap": "columns"},
    )
    found["pipeline-strings-tensor"] = partial(_strings, None)
    found["pipeline-strings-tensor-no-zipmap"] = partial(_strings, {"zipmap": False})
    found["pipeline-tfidf"] = partial(_words, TfidfVectorizer())
    found["pipeline-tfidf-case-kept"] = partial(_words, TfidfVectorizer(lowercase=False), fixes="pipeline-tfidf")
    found["pipeline-tfidf-characters"] = partial(_words, TfidfVectorizer(analyzer="char", ngram_range=(1, 2)))
    found["pipeline-counts"] = partial(_words, CountVectorizer())
    steps: dict[str, Any] = {
        "polynomial": PolynomialFeatures(2),
        "power-transformer": PowerTransformer(),
        "bins": KBinsDiscretizer(4, quantile_method="averaged_inverted_cdf"),
        "bins-ordinal": KBinsDiscretizer(4, encode="ordinal", quantile_method="averaged_inverted_cdf"),
        "robust-min-max": make_pipeline(RobustScaler(), MinMaxScaler()),
        "log": FunctionTransformer(np.log1p),
        "columns-by-number": make_column_transformer((StandardScaler(), [0, 2]), remainder="passthrough"),
    }
    for name, step in steps.items():
        found[f"pipeline-{name}"] = partial(_numeric, step, "diabetes", LinearRegression())
    last = LogisticRegression(max_iter=9000)
    found["pipeline-imputer-missing"] = partial(_numeric, SimpleImputer(), "cancer missing", last)
    found["pipeline-knn-imputer-missing"] = partial(_numeric, KNNImputer(), "cancer missing", last)
    return found


def _pipeline(columns: list[tuple[str, Any, list[str]]], last: Any) -> Any:
    return make_pipeline(ColumnTransformer(columns), last)


def _mixed(
    make: Callable[[], Any],
    options: Any,
    *,
    is_regression: bool = False,
    frame_type: str | None = None,
    fixes: str | None = None,
) -> Entry:
    """Return the entry of a pipeline with an input for each column.

    skl2onnx takes the inputs' types from the data frame, with income as ``frame_type``, or from `_TYPES` if it is None.
    """
    frame, decided = applicants()
    target = frame["age"] * 2.5 + (frame["job"] == "nurse") * 20 if is_regression else decided
    pipeline = make().fit(frame[HELD_OUT:], target[HELD_OUT:])
    rows = frame[:HELD_OUT]
    if _refuses_unseen(pipeline, rows):
        rows = frame[3 : 3 + HELD_OUT]
    number = float if frame_type == "float64" else np.float32
    typed = rows[:1].astype({"income": frame_type, "region": object, "job": object}) if frame_type else None
    found = _entry(
        pipeline,
        features=tuple(_COLUMNS),
        rows=[[number(income), *others] for income, *others in rows.astype(object).itertuples(index=False)],
        types=list(_TYPES.items()) if typed is None else typed,
        options=options,
        found=predicted(pipeline, rows),
        note="an input for each column" + (f", types from a data frame of {frame_type}" if frame_type else ""),
    )
    return replace(found, fixes=fixes)


def _refuses_unseen(pipeline: Any, rows: pd.DataFrame) -> bool:
    try:
        pipeline.predict(rows)
    except ValueError:
        return True
    return False


def _strings(options: Any) -> Entry:
    """Return the entry of a pipeline with a single tensor of strings."""
    frame, decided = applicants()
    strings = frame[_STRINGS].to_numpy(dtype=object)
    pipeline = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression())
    pipeline.fit(strings[HELD_OUT:], decided[HELD_OUT:])
    return _entry(
        pipeline,
        features=tuple(_STRINGS),
        rows=strings[:HELD_OUT].tolist(),
        types=[("strings", StringTensorType([None, 2]))],
        options=options,
        found=predicted(pipeline, strings[:HELD_OUT]),
        note="a single tensor of strings",
    )


def _words(vectorizer: Any, fixes: str | None = None) -> Entry:
    """Return the entry of a classifier of short texts."""
    generator = np.random.default_rng(1)
    words = {"good": ["great", "fast", "friendly", "service"], "bad": ["slow", "broken", "rude", "service"]}
    labels = generator.choice(sorted(words), 80)
    texts = [" ".join(generator.choice(words[label], 4)) for label in labels]
    pipeline = make_pipeline(vectorizer, LogisticRegression()).fit(texts[HELD_OUT:], labels[HELD_OUT:])
    found = _entry(
        pipeline,
        features=("review",),
        rows=[[text] for text in texts[:HELD_OUT]],
        types=[("review", StringTensorType([None, 1]))],
        options={"zipmap": False},
        found=predicted(pipeline, texts[:HELD_OUT]),
        note="a column of texts",
    )
    return replace(found, fixes=fixes)


def _numeric(step: Any, data_name: str, last: Any) -> Entry:
    """Return the entry of a pipeline over a single tensor of floats."""
    data = DATASETS[data_name]()
    pipeline = make_pipeline(step, last).fit(data.x, data.y)
    return _entry(
        pipeline,
        features=data.features,
        rows=data.rows.astype(np.float32),
        types=[("X", FloatTensorType([None, data.x.shape[1]]))],
        options=None,
        found=predicted(pipeline, data.rows),
        note="a single tensor",
    )


def _entry(
    pipeline: Any, *, features: tuple[str, ...], rows: Any, types: Any, options: Any, found: dict[str, Any], note: str
) -> Entry:
    def export(path: Path) -> None:
        chosen = {id(pipeline): options} if options else None
        example = {"X": types} if isinstance(types, pd.DataFrame) else {"initial_types": types}
        path.write_bytes(to_onnx(pipeline, **example, options=chosen).SerializeToString())

    named = ", ".join(f"{key}={value!r}" for key, value in (options or {}).items())
    return Entry(
        export=export,
        framework=package("scikit-learn"),
        exporter=package("skl2onnx"),
        options=f"{named or 'defaults'}; {note}",
        features=features,
        rows=rows,
        **found,
    )
