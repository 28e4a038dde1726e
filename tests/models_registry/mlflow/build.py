"""Build the MLflow folders: `python -m tests.models_registry.mlflow.build [NAME…]`.

Each model is trained and logged with MLflow in the framework's flavour. Then the line is executed with which mlmon
refuses that folder, and what it has logged is kept, with the framework's own predictions.
"""

import json
import os
import re
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import mlflow  # type: ignore[import-not-found]
import numpy as np
import pandas as pd
from mlflow.models import infer_signature  # type: ignore[import-not-found]

from models_registry.exceptions import ArtefactError
from models_registry.mlflow_folders.mlmodel import read_mlmodel
from tests.models_registry.mlflow import FOLDERS

NAME = "name" if mlflow.__version__.startswith("3.") else "artifact_path"
LABELS = np.array(["declined", "approved"])


def applicants() -> pd.DataFrame:
    """Return loan applicants; a tenth of the incomes is missing."""
    generator = np.random.default_rng(7)
    rows = 300
    frame = pd.DataFrame(
        {
            "age": generator.integers(18, 80, rows),
            "Income (k$)": generator.normal(50, 15, rows).round(1),
            "region": generator.choice(["north", "south", "east"], rows),
            "member": generator.random(rows) < 0.5,
        }
    )
    frame.loc[generator.random(rows) < 0.1, "Income (k$)"] = np.nan
    return frame


def approvals(frame: pd.DataFrame) -> Any:
    points = frame["Income (k$)"].fillna(30) + frame["age"] / 2 + 10 * frame["member"]
    return LABELS[(points + 10 * (frame["region"] == "north") > 85).astype(int)]


def numbers() -> pd.DataFrame:
    """Return rows of four numbers, whose columns have unequal scales."""
    generator = np.random.default_rng(8)
    names = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]
    return pd.DataFrame(generator.normal([5.8, 3.1, 3.8, 1.2], [0.8, 0.4, 1.8, 0.8], (300, 4)).round(2), columns=names)


def species(frame: Any) -> Any:
    table = np.asarray(frame, np.float64)
    return np.digitize(table[:, 2] + table[:, 3] - table[:, 1], [0.5, 3.0])


# --- models: trained model, X, its flavour's module, keywords of log_model, predictions, replacements in the line -----


def sklearn_numbers() -> tuple[Any, ...]:
    from sklearn.ensemble import RandomForestClassifier

    x = numbers()
    names = np.array(["setosa", "versicolor", "virginica"])
    model = RandomForestClassifier(6, max_depth=3, random_state=0).fit(x, names[species(x)])
    return model, x, mlflow.sklearn, {"serialization_format": "cloudpickle"}, model.predict, model.predict_proba


def sklearn_array() -> tuple[Any, ...]:
    from sklearn.linear_model import Ridge

    x = numbers().to_numpy("float32")
    model = Ridge().fit(x, x @ np.array([2.0, -1.0, 0.5, 3.0], "float32"))
    return model, x, mlflow.sklearn, {"serialization_format": "cloudpickle"}, model.predict, None


def sklearn_strings() -> tuple[Any, ...]:
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    x = applicants()
    prepare = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["Income (k$)", "age"]),
        (OneHotEncoder(handle_unknown="ignore"), ["region"]),
        ("passthrough", ["member"]),
    )
    model = make_pipeline(prepare, LogisticRegression()).fit(x, approvals(x))
    return model, x, mlflow.sklearn, {"serialization_format": "cloudpickle"}, model.predict, model.predict_proba


def sklearn_columns() -> tuple[Any, ...]:
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x = numbers()
    prepare = make_column_transformer(
        (StandardScaler(), list(x.columns[[3, 1]])), ("passthrough", list(x.columns[[0, 2]]))
    )
    model = make_pipeline(prepare, LogisticRegression()).fit(x, species(x))
    return model, x, mlflow.sklearn, {"serialization_format": "cloudpickle"}, model.predict, model.predict_proba


def xgboost_classifier() -> tuple[Any, ...]:
    from xgboost import XGBClassifier  # type: ignore[import-not-found]

    x = numbers()
    model = XGBClassifier(n_estimators=4, max_depth=2).fit(x, species(x))
    return model, x, mlflow.xgboost, {"model_format": "json"}, model.predict, model.predict_proba


def xgboost_booster() -> tuple[Any, ...]:
    import xgboost

    x = numbers()
    model = xgboost.train(
        {"objective": "reg:squarederror", "max_depth": 2}, xgboost.DMatrix(x, x["petal width (cm)"]), 4
    )
    return model, x, mlflow.xgboost, {"model_format": "json"}, lambda rows: model.predict(xgboost.DMatrix(rows)), None


def lightgbm_classifier() -> tuple[Any, ...]:
    from lightgbm import LGBMClassifier  # type: ignore[import-not-found]

    x = numbers()
    model = LGBMClassifier(n_estimators=4, num_leaves=4, verbose=-1).fit(x, species(x))
    return model, x, mlflow.lightgbm, {}, model.predict, model.predict_proba


def catboost_classifier() -> tuple[Any, ...]:
    from catboost import CatBoostClassifier  # type: ignore[import-not-found]

    x = numbers()
    model = CatBoostClassifier(iterations=4, depth=2, verbose=0, allow_writing_files=False).fit(x, species(x))
    return model, x, mlflow.catboost, {}, lambda rows: model.predict(rows).ravel(), model.predict_proba


def pytorch_network() -> tuple[Any, ...]:
    import torch  # type: ignore[import-not-found]

    torch.manual_seed(0)
    x = numbers().to_numpy("float32")
    layers = torch.nn.Linear(4, 64), torch.nn.ReLU(), torch.nn.Linear(64, 3), torch.nn.Softmax(1)
    model, target = torch.nn.Sequential(*layers), torch.tensor(species(x))
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(60):
        optimiser.zero_grad()
        torch.nn.functional.nll_loss(torch.log(model(torch.tensor(x))), target).backward()
        optimiser.step()

    def probabilities(rows: Any) -> Any:
        with torch.no_grad():
            return model(torch.tensor(rows)).numpy()

    return model, x, mlflow.pytorch, {}, lambda rows: probabilities(rows).argmax(1), probabilities


def keras_network(module: str) -> tuple[Any, ...]:
    import keras  # type: ignore[import-not-found]

    keras.utils.set_random_seed(0)
    x = numbers().to_numpy("float32")
    layers = keras.layers.Dense(8, activation="relu"), keras.layers.Dense(3, activation="softmax")
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
    model.fit(x, species(x), epochs=15, batch_size=50, verbose=0)

    def probabilities(rows: Any) -> Any:
        return model.predict(rows, verbose=0)

    options = {"input_example": None} if module == "keras" else {}  # with one, mlflow.keras 3.17 fails
    return model, x, getattr(mlflow, module), options, lambda rows: probabilities(rows).argmax(1), probabilities


RECIPES: dict[str, Callable[[], tuple[Any, ...]]] = {
    "sklearn": sklearn_numbers,
    "sklearn-2": sklearn_numbers,
    "sklearn-array": sklearn_array,
    "sklearn-columns": sklearn_columns,
    "sklearn-strings": sklearn_strings,
    "xgboost": xgboost_classifier,
    "xgboost-booster": xgboost_booster,
    "lightgbm": lightgbm_classifier,
    "catboost": catboost_classifier,
    "pytorch": pytorch_network,
    "keras": lambda: keras_network("keras"),
    "tensorflow": lambda: keras_network("tensorflow"),
}


def build(name: str, folder: Path) -> None:
    """Log a model in its flavour, follow the refusal, and keep both folders."""
    model, x, module, options, predict, predict_proba = RECIPES[name]()
    rows = x[:12]
    described = {
        "framework": f"{module.__name__.rpartition('.')[2]}, MLflow {mlflow.__version__}",
        "features": list(map(str, x.columns)) if isinstance(x, pd.DataFrame) else [],
        "rows": json.loads(rows.to_json(orient="values")) if isinstance(x, pd.DataFrame) else rows.tolist(),
        "predictions": predict(rows).tolist(),
        "probabilities": predict_proba(rows).tolist() if predict_proba else None,
    }
    with mlflow.start_run():
        logged = module.log_model(
            model, **{NAME: "model"}, signature=infer_signature(x), **({"input_example": x[:5]} | options)
        )
        refused = Path(mlflow.artifacts.download_artifacts(logged.model_uri, dst_path=str(folder / "refused")))
    try:
        read_mlmodel(refused / "MLmodel")
    except ArtefactError as error:
        message = str(error)
    else:
        raise AssertionError(f"{name} was not refused")
    line = message.partition("that it was trained on: ")[2]
    if name == "sklearn-columns":  # what the message says on models that select columns by their names
        found = re.search(r"\(ColumnTransformer\), write (.+?) instead of (.+?)\. Log it", message)
        assert found
        line = line.replace(found[2], found[1])
    described["line"] = line
    print(f"{name}: {line}")  # noqa: T201
    modules = [each for each in ("catboost", "numpy", "onnx", "onnxmltools", "skl2onnx", "torch") if f"{each}." in line]
    namespace: dict[str, Any] = {each: __import__(each) for each in modules} | {
        "mlflow": mlflow,
        "model": model,
        "X": x,
    }
    if "onnxmltools" in namespace:
        import onnxmltools.convert.common.data_types  # type: ignore[import-not-found]  # noqa: F401
    with mlflow.start_run() as run:
        *statements, last = line.split("; ")
        exec("; ".join(statements), namespace)  # noqa: S102
        logged = eval(last, namespace)  # noqa: S307
        assert logged.run_id == run.info.run_id
        kept = Path(mlflow.artifacts.download_artifacts(logged.model_uri, dst_path=str(folder / "kept")))
    shutil.rmtree(FOLDERS / name, ignore_errors=True)
    shutil.copytree(kept, FOLDERS / name / "onnx")
    (FOLDERS / name / "refused").mkdir()
    shutil.copy(refused / "MLmodel", FOLDERS / name / "refused")  # without the model: no test needs the framework
    (FOLDERS / name / "described.json").write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
    for path in (FOLDERS / name).rglob("*"):
        if path.is_file():
            _remove_folders(path)


def _remove_folders(path: Path) -> None:
    """Remove this machine's folders: from the artifact_path of MLmodel, and PyTorch's stack traces in the ONNX file."""
    if path.name == "MLmodel":
        text = path.read_text(encoding="utf-8")
        path.write_text(re.sub(r"(?m)^artifact_path: /.*$", "artifact_path: model", text), encoding="utf-8")
    if path.suffix == ".onnx":
        import onnx

        model = onnx.load(path, load_external_data=False)
        for node in model.graph.node:
            for each in node.metadata_props:
                each.value = re.sub(r'"/[^"\n]*/(?=(site-packages|mlflow)/)', '"', each.value)
        path.write_bytes(model.SerializeToString())
    assert not re.search(rb'"?/(tmp|home|root|work|usr)/', path.read_bytes()), path


def main(names: list[str]) -> None:
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
        for name in names or RECIPES:
            build(name, Path(folder) / name)


if __name__ == "__main__":
    main(sys.argv[1:])
