"""Serialise requests and read responses with tritonclient; prints what it found as JSON, bytes as base64."""

import base64
import json
import sys
from typing import Any

import numpy as np
import tritonclient.http as triton

given = json.load(sys.stdin)
DTYPES: dict[str, Any] = {"BOOL": bool, "FP16": np.float16, "FP32": np.float32, "FP64": np.float64, "BYTES": np.object_}
DTYPES |= {f"{sign}INT{bits}": np.dtype(f"{sign}int{bits}".lower()) for sign in ("", "U") for bits in (8, 16, 32, 64)}


def written(case: dict[str, Any]) -> dict[str, Any]:
    tensors = []
    for one in case["tensors"]:
        values = np.array(one["values"], dtype=DTYPES[one["datatype"]])
        tensor = triton.InferInput(one["name"], list(values.shape), one["datatype"])
        tensors.append(tensor.set_data_from_numpy(values, binary_data=one["binary"]))
    body, length = triton.InferenceServerClient.generate_request_body(tensors, request_id="é")
    return {"body": base64.b64encode(body).decode(), "length": length}


def read(response: dict[str, Any]) -> dict[str, Any]:
    body = base64.b64decode(response["body"])
    result = triton.InferenceServerClient.parse_response_body(body, header_length=response["length"])
    outputs = {}
    for output in result.get_response()["outputs"]:
        values = result.as_numpy(output["name"]).tolist()
        outputs[output["name"]] = [one.decode() if isinstance(one, bytes) else one for one in values]
    return outputs


print(
    json.dumps(
        {"written": [written(case) for case in given["cases"]], "read": [read(one) for one in given["responses"]]}
    )
)
