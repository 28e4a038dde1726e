"""List, inspect and infer with tritonclient; runs in the clients' environment and prints what it found as JSON."""

import json
import sys
from typing import Any

import numpy as np
import tritonclient.http as triton

given = json.load(sys.stdin)
headers = given.get("headers")
client = triton.InferenceServerClient(given["url"].removeprefix("http://"))
NAMES = ("classifier", "flight-delay")
FEATURES = (
    "carrier",
    "origin",
    "dest",
    "scheduled_hour",
    "distance",
    "seats",
    "plane_age",
    "wind_speed",
    "precip",
    "visib",
)


def tensor(name: str, values: Any, binary: bool) -> Any:
    one = triton.InferInput(name, list(values.shape), triton.np_to_triton_dtype(values.dtype))
    return one.set_data_from_numpy(values, binary_data=binary)


def flight_tensors(binary: bool) -> list[Any]:
    tensors = []
    for name, values in zip(FEATURES, zip(*given["flights"], strict=True), strict=True):
        if isinstance(values[0], str):
            tensors.append(tensor(name, np.array(values, dtype=np.object_), binary))
        elif isinstance(values[0], int):
            tensors.append(tensor(name, np.array(values).reshape(-1, 1), binary))
        elif binary:
            tensors.append(tensor(name, np.array(values, dtype=np.float32), binary))
        else:  # JSON has no NaN, and this client cannot send null
            tensors.append(tensor(name, np.array(values, dtype=np.float64), True))
    return tensors


def inferred(case: str, model: str, tensors: list[Any], **options: Any) -> dict[str, Any]:
    result = client.infer(model, tensors, request_id="request-7", headers=dict(headers or {}), **options)
    response = result.get_response()
    labels = [one.decode() if isinstance(one, bytes) else one for one in result.as_numpy("prediction").tolist()]
    return {
        "case": case,
        "model": model,
        "prediction": labels,
        "confidence": result.as_numpy("confidence").tolist(),
        "probabilities": result.as_numpy("probabilities").tolist(),
        "id": response["id"],
        "prediction_ids": response["parameters"]["prediction_ids"].split(","),
    }


flowers = np.array(given["flowers"], dtype=np.float32)
columns = [
    tensor(name, flowers[:, index].astype(np.float64), True)
    for index, name in enumerate(("sepal_length", "sepal_width", "petal_length", "petal_width"))
]
json_outputs = [
    triton.InferRequestedOutput(name, binary_data=False) for name in ("probabilities", "confidence", "prediction")
]
cases = [
    inferred("binary", "classifier", [tensor("features", flowers, True)]),
    inferred("json", "classifier", [tensor("features", flowers, False)], outputs=json_outputs),
    inferred("a tensor for each feature", "classifier", columns),
    inferred("version", "classifier", [tensor("features", flowers, True)], model_version="1.0.0"),
    inferred("gzip", "classifier", [tensor("features", flowers, True)], request_compression_algorithm="gzip"),
    inferred("deflate", "classifier", [tensor("features", flowers, True)], request_compression_algorithm="deflate"),
    inferred("binary", "flight-delay", flight_tensors(True)),
    inferred("json", "flight-delay", flight_tensors(False), outputs=json_outputs),
]
print(
    json.dumps(
        {
            "live": client.is_server_live(headers=headers),
            "ready": client.is_server_ready(headers=headers),
            "models": [entry["name"] for entry in client.get_model_repository_index(headers=headers)],
            "ready_models": {name: client.is_model_ready(name, headers=headers) for name in (*NAMES, "absent")},
            "server": client.get_server_metadata(headers=headers),
            "metadata": {name: client.get_model_metadata(name, headers=headers) for name in NAMES},
            "inferred": cases,
        }
    )
)
