"""What the serving benchmark sends: the same rows for every server, with the predictions of ONNX Runtime."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime as ort
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.linear_model import LogisticRegression

Kind = Literal["list", "named", "strings", "batch"]
Predictions = list[tuple[str, float]]

DEMO = Path(__file__).resolve().parent.parent / "demo"
IRIS_FEATURES = ("sepal_length", "sepal_width", "petal_length", "petal_width")
FLIGHT_TYPES = {
    **dict.fromkeys(("carrier", "origin", "dest"), "BYTES"),
    "scheduled_hour": "INT64",
    **dict.fromkeys(("distance", "seats", "plane_age", "wind_speed", "precip", "visib"), "FP32"),
}
DTYPES: Mapping[str, type] = {"BYTES": np.object_, "INT64": np.int64, "FP32": np.float32}
BATCH_ROWS, BATCH_FEATURES = 1_000, 20
DIFFERENT_ROWS, DIFFERENT_BATCHES = 60, 4
TOLERANCE = 1e-5  # of a probability in float32, which a server may write with fewer digits
SEED = 23


@dataclass(frozen=True, slots=True)
class Workload:
    """The bodies of one kind of request.

    Attributes
    ----------
    payloads
        As mlmon and the FastAPI server take them.
    tensors
        The same rows in the Open Inference Protocol v2.
    expected
        For each body, the class and its probability of each row.
    """

    payloads: Sequence[Mapping[str, Any]]
    tensors: Sequence[Mapping[str, Any]]
    expected: Sequence[Predictions]


def write_models(folder: Path) -> None:
    """Write the three ONNX files: the demo's two, and a classifier of 20 numbers."""
    for name in ("classifier", "flight-delay"):
        (folder / f"{name}.onnx").write_bytes((DEMO / f"{name}-1.0.0.onnx").read_bytes())
    random = np.random.default_rng(SEED)
    values = random.normal(size=(3_000, BATCH_FEATURES))
    groups = np.digitize(values[:, :5].sum(axis=1) + random.normal(size=len(values)), [-1.5, 1.5])
    classifier = LogisticRegression().fit(values, np.array(["low", "middle", "high"])[groups])
    inputs = [("features", FloatTensorType([None, BATCH_FEATURES]))]
    model = to_onnx(classifier, initial_types=inputs, options={"zipmap": False}, target_opset={"": 17, "ai.onnx.ml": 3})
    (folder / "batch.onnx").write_bytes(model.SerializeToString())


def workload(kind: Kind, models: Path) -> Workload:
    """Return the requests of one kind, with the predictions of the models in `models`."""
    if kind == "batch":
        return _batches(models)
    if kind == "strings":
        return _flights(models)
    table = pa_csv.read_csv(DEMO / "classifier-reference.csv")
    rows = _spread(table.select(list(IRIS_FEATURES)))
    lists = [list(row.values()) for row in rows]
    predictions = _predicted(models / "classifier.onnx", {"features": np.array(lists, np.float32)})
    expected = [[one] for one in predictions]
    if kind == "list":
        tensors = [{"inputs": [_tensor("features", "FP32", [1, 4], row)]} for row in lists]
        return Workload([{"features": row} for row in lists], tensors, expected)
    columns = [[_tensor(name, "FP32", [1, 1], [value]) for name, value in row.items()] for row in rows]
    return Workload([{"features": row} for row in rows], [{"inputs": one} for one in columns], expected)


def with_routing_keys(payloads: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the same bodies, each with a key of its own."""
    return [{**payload, "routing_key": f"customer-{index}"} for index, payload in enumerate(payloads)]


def encoded(documents: Sequence[Mapping[str, Any]]) -> list[bytes]:
    """Return compact JSON documents."""
    return [json.dumps(document, separators=(",", ":")).encode() for document in documents]


# --- what the responses say -----------------------------------------------------------------------------------------


def mlmon_predictions(body: Any) -> Predictions:
    """Return the predictions in a response of mlmon."""
    return [(row["prediction"], row["confidence"]) for row in body.get("predictions", [body])]


def fastapi_predictions(body: Any) -> Predictions:
    """Return the predictions in a response of the FastAPI server."""
    if "predictions" in body:
        return list(zip(body["predictions"], body["confidences"], strict=True))
    return [(body["prediction"], body["confidence"])]


def v2_predictions(body: Any) -> Predictions:
    """Return the predictions in a response of the Open Inference Protocol."""
    outputs = {one["name"]: one["data"] for one in body["outputs"]}
    return list(zip(outputs["label"], outputs["confidence"], strict=True))


READERS: Mapping[str, Callable[[Any], Predictions]] = {
    "mlmon": mlmon_predictions,
    "fastapi": fastapi_predictions,
    "mlserver": v2_predictions,
}


def difference(found: Predictions, expected: Predictions) -> str:
    """Return how predictions differ from those of ONNX Runtime, or "" if they do not."""
    if len(found) != len(expected):
        return f"{len(found)} predictions for {len(expected)} rows"
    for row, (one, other) in enumerate(zip(found, expected, strict=True)):
        if one[0] != other[0] or not abs(one[1] - other[1]) <= TOLERANCE:
            return f"row {row}: {one[0]!r} with {one[1]}, but ONNX Runtime predicts {other[0]!r} with {other[1]}"
    return ""


def _flights(models: Path) -> Workload:
    table = pq.read_table(DEMO / "flight-delay-year.parquet", columns=list(FLIGHT_TYPES))
    rows = [
        {name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()}
        for row in _spread(table.drop_null())
    ]
    feed: dict[str, NDArray[Any]] = {
        name: np.array([[row[name]] for row in rows], DTYPES[datatype]) for name, datatype in FLIGHT_TYPES.items()
    }
    tensors = [
        [_tensor(name, datatype, [1, 1], [row[name]]) for name, datatype in FLIGHT_TYPES.items()] for row in rows
    ]
    expected = [[one] for one in _predicted(models / "flight-delay.onnx", feed)]
    return Workload([{"features": row} for row in rows], [{"inputs": one} for one in tensors], expected)


def _batches(models: Path) -> Workload:
    random = np.random.default_rng(SEED + 1)
    batches = random.normal(size=(DIFFERENT_BATCHES, BATCH_ROWS, BATCH_FEATURES)).round(4)
    shape = [BATCH_ROWS, BATCH_FEATURES]
    tensors = [{"inputs": [_tensor("features", "FP32", shape, batch.ravel().tolist())]} for batch in batches]
    expected = [_predicted(models / "batch.onnx", {"features": batch.astype(np.float32)}) for batch in batches]
    return Workload([{"rows": batch.tolist()} for batch in batches], tensors, expected)


def _spread(table: pa.Table) -> list[dict[str, Any]]:
    """Return rows from all parts of the table."""
    chosen = np.linspace(0, table.num_rows - 1, DIFFERENT_ROWS).astype(int)
    rows: list[dict[str, Any]] = table.take(chosen).to_pylist()
    return rows


def _tensor(name: str, datatype: str, shape: list[int], data: list[Any]) -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


def _predicted(path: Path, feed: Mapping[str, NDArray[Any]]) -> Predictions:
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    labels, probabilities = session.run(["label", "probabilities"], dict(feed))
    return list(zip(labels.tolist(), probabilities.max(axis=1).tolist(), strict=True))
