"""Provoke errors with tritonclient; runs in the clients' environment and prints the exceptions as JSON."""

import json
import sys
from typing import Any

import numpy as np
import tritonclient.http as triton

given = json.load(sys.stdin)
client = triton.InferenceServerClient(given["url"].removeprefix("http://"))
raised: dict[str, dict[str, Any]] = {}


def tensor(name: str, values: Any) -> Any:
    one = triton.InferInput(name, list(values.shape), triton.np_to_triton_dtype(values.dtype))
    return one.set_data_from_numpy(values)


def infer(case: str, model: str, *tensors: Any) -> None:
    try:
        client.infer(model, list(tensors))
    except Exception as error:  # the test checks which it is
        status, message = getattr(error, "status", lambda: None)(), str(error)
        raised[case] = {"type": type(error).__name__, "status": int(status or 0), "message": message}


flower = np.array([[5.1, 3.5, 1.4, 0.2]], dtype=np.float32)
number, string = np.array([6.0]), np.array(["UA"], dtype=np.object_)
infer("unknown model", "absent", tensor("features", flower))
infer("unknown input", "classifier", tensor("X", flower))
infer("wrong shape", "classifier", tensor("features", flower[:, :3]))
infer("missing feature", "flight-delay", tensor("distance", number))
infer("string for a number", "flight-delay", tensor("distance", np.array(["far"], dtype=np.object_)))
print(json.dumps(raised))
