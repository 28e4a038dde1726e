"""Values through the HTTP API: the same table as for files (`tests.mlmon.value_table`), as they are captured."""

import json
import struct
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import redis
from django.test import Client
from onnx import TensorProto
from pytest_django.fixtures import Settings

from inference import stream
from inference.serving import serving
from mlmon.schema import TaskType
from models_registry.models import ModelVersion
from models_registry.services.versions import promote
from tests.factories import uploaded_version
from tests.mlmon.value_table import ABSENT, VALUES, Refused
from tests.models_registry.onnx_models import graph_model, node, value

pytestmark = pytest.mark.django_db

ELEMENTS = {
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "bool": TensorProto.BOOL,
    "string": TensorProto.STRING,
}
ONE_OF_EACH = {"float32": 1.5, "float64": 1.5, "int32": 1, "int64": 1, "bool": True, "string": "a"}
JSON_CELLS = [
    (each.meaning, kind, given, stored)
    for each in VALUES
    for kind, stored in each.stored.items()
    for given in each.json
]
BINARY_CELLS = [
    (each.meaning, kind, given, stored)
    for each in VALUES
    for kind, stored in each.stored.items()
    for given in each.arrow
    if isinstance(given, pa.Array)
    and (
        pa.types.is_floating(given.type)
        or pa.types.is_integer(given.type)
        or pa.types.is_boolean(given.type)
        or pa.types.is_string(given.type)
    )
    and (given.null_count == 0 or pa.types.is_floating(given.type))
]
DATATYPES = {
    "float32": "FP32",
    "float64": "FP64",
    "int32": "INT32",
    "int64": "INT64",
    "bool": "BOOL",
    "string": "BYTES",
}
MISSING = Refused("a value is required, but it is missing")


@pytest.fixture
def version(redis_client: redis.Redis, settings: Settings, tmp_path: Path) -> ModelVersion:
    """A regression that ignores its inputs, one of each type; numbers with a point and strings may be missing."""
    settings.MEDIA_ROOT = tmp_path
    inputs = [value("anchor"), *(value(kind, element) for kind, element in ELEMENTS.items())]
    model = graph_model([node("Identity", ["anchor"], ["Y"])], inputs=inputs)
    row = uploaded_version(
        "typed", onnx=model.SerializeToString(), features=None, task=TaskType.REGRESSION, production=False
    )
    row.features.filter(name__in=["float32", "float64", "string"]).update(is_required=False)
    promote(version=row)
    return row


@pytest.mark.parametrize("entry_point", ["predict", "observations", "infer"])
def test_a_value_is_captured_as_the_table_says(
    entry_point: str, version: ModelVersion, client: Client, redis_client: redis.Redis
) -> None:
    wrong = []
    for meaning, kind, given, stored in JSON_CELLS:
        required = stored is None and kind in ("int32", "int64", "bool")
        row = {"anchor": 0.5, **ONE_OF_EACH, kind: given}
        if given is ABSENT:
            del row[kind]
        found = captured_by(entry_point, kind, row, client, redis_client, version)
        expected = MISSING if required else stored
        if kind == "bool" and isinstance(stored, float):
            expected = f"{stored:.0f}"  # a boolean is a category
        if (type(found) is Refused, found) != (type(expected) is Refused, expected):
            wrong.append((meaning, kind, given, found))
    assert wrong == []
    assert len(JSON_CELLS) > 150


def captured_by(
    entry_point: str, kind: str, row: dict[str, Any], client: Client, redis_client: redis.Redis, version: ModelVersion
) -> Any:
    """Return what an endpoint captures of a feature in a row, or the reason why it refuses it."""
    redis_client.delete(stream.stream_key(version.pk, "observations"))
    if entry_point == "infer":
        tensors = [
            {"name": name, "datatype": DATATYPES.get(name, "FP32"), "shape": [1], "data": [given]}
            for name, given in row.items()
        ]
        response = client.post("/v2/models/typed/infer", {"inputs": tensors}, content_type="application/json")
    else:
        body = {"features": row} if entry_point == "predict" else {"features": row, "prediction": 0.5}
        response = client.post(f"/api/v1/models/typed/{entry_point}", body, content_type="application/json")
    if response.status_code == 422:
        if entry_point == "infer":
            return Refused(response.json()["error"].removeprefix(f"row 0, feature '{kind}': "))
        (error,) = response.json()["errors"]
        return Refused(error["reason"].removeprefix(f"{kind}: "))
    return captured(kind, response, redis_client, version)


@pytest.mark.parametrize("shape", [[1], [1, 1]], ids=str)
def test_a_binary_tensor_is_captured_as_the_table_says(
    shape: list[int], version: ModelVersion, client: Client, redis_client: redis.Redis
) -> None:
    wrong = []
    for meaning, kind, given, stored in BINARY_CELLS:
        redis_client.delete(stream.stream_key(version.pk, "observations"))
        datatype, binary = tensor_of(given)
        row = {"anchor": 0.5, **ONE_OF_EACH}
        tensors: list[dict[str, Any]] = [
            {"name": name, "datatype": DATATYPES.get(name, "FP32"), "shape": [1], "data": [value]}
            for name, value in row.items()
            if name != kind
        ]
        size = {"binary_data_size": len(binary)}
        tensors.append({"name": kind, "datatype": datatype, "shape": shape, "parameters": size})
        header = json.dumps({"inputs": tensors}).encode()
        response = client.generic(
            "POST",
            "/v2/models/typed/infer",
            header + binary,
            headers={"Inference-Header-Content-Length": str(len(header))},
        )
        required = stored is None and kind in ("int32", "int64", "bool")
        expected = MISSING if required else f"{stored:.0f}" if kind == "bool" and isinstance(stored, float) else stored
        found: Any
        if response.status_code == 422:
            found = Refused(json.loads(response.content)["error"].removeprefix(f"row 0, feature '{kind}': "))
        else:
            found = captured(kind, response, redis_client, version)
        if (type(found) is Refused, found) != (type(expected) is Refused, expected):
            wrong.append((meaning, kind, given, found))
    assert wrong == []
    assert len(BINARY_CELLS) > 80


def tensor_of(values: Any) -> tuple[str, bytes]:
    """Return the datatype and the bytes of an Arrow column: little-endian numbers, or strings behind their length."""
    if pa.types.is_string(values.type):
        string = str(values[0].as_py())
        return "BYTES", struct.pack("<I", len(string.encode())) + string.encode()
    numbers = values.to_numpy(zero_copy_only=False)
    name = {"b": "BOOL", "i": "INT", "u": "UINT", "f": "FP"}[numbers.dtype.kind]
    return name if name == "BOOL" else f"{name}{numbers.itemsize * 8}", numbers.tobytes()


def captured(kind: str, response: Any, redis_client: redis.Redis, version: ModelVersion) -> Any:
    """Return what is captured of a feature after a request that was accepted."""
    assert response.status_code == 200, response.content
    serving().capture_queue.flush()
    (stored,) = stream.read_window(redis_client, version.pk, 10).table.column(f"feature.{kind}").to_pylist()
    return stored
