"""List, inspect and infer with KServe's REST client; prints what it found as JSON."""

import asyncio
import json
import sys
from typing import Any

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

given = json.load(sys.stdin)
URL = given["url"]
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
DATATYPES = ("BYTES", "BYTES", "BYTES", "INT64", *["FP32"] * 6)


def flight_tensors(binary: bool) -> list[InferInput]:
    tensors = []
    for name, datatype, values in zip(FEATURES, DATATYPES, zip(*given["flights"], strict=True), strict=True):
        tensor = InferInput(name, [len(values), 1], datatype, data=list(values))
        if binary:
            dtype = {"BYTES": np.object_, "INT64": np.int64, "FP32": np.float32}[datatype]
            tensor.set_data_from_numpy(np.array(values, dtype=dtype).reshape(-1, 1))
        tensors.append(tensor)
    return tensors


def flower_tensor(binary: bool) -> InferInput:
    flowers = np.array(given["flowers"], dtype=np.float32)
    tensor = InferInput("features", list(flowers.shape), "FP32")
    tensor.set_data_from_numpy(flowers, binary_data=binary)
    return tensor


async def inferred(
    client: InferenceRESTClient, case: str, model: str, tensors: list[InferInput], **parameters: Any
) -> dict[str, Any]:
    request = InferRequest(model, tensors, request_id="request-7", parameters=parameters)
    response = await client.infer(URL, request, model_name=model)
    outputs = {output.name: output.as_numpy().tolist() for output in response.outputs}
    return {
        "case": case,
        "model": model,
        **outputs,
        "id": response.id,
        "prediction_ids": response.parameters["prediction_ids"].split(","),
    }


async def main() -> None:
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client, httpx.AsyncClient() as plain:
        found = {
            "live": await client.is_server_live(URL),
            "ready": await client.is_server_ready(URL),
            "ready_models": {
                name: await client.is_model_ready(URL, name) for name in ("classifier", "flight-delay", "absent")
            },
            # This client has no calls that list and describe models.
            "models": (await plain.get(f"{URL}/v2/models")).json()["models"],
            "metadata": {
                name: (await plain.get(f"{URL}/v2/models/{name}")).json() for name in ("classifier", "flight-delay")
            },
            "inferred": [
                await inferred(client, "json", "classifier", [flower_tensor(False)]),
                await inferred(client, "binary", "classifier", [flower_tensor(True)], binary_data_output=True),
                await inferred(client, "json", "flight-delay", flight_tensors(False)),
                await inferred(client, "binary", "flight-delay", flight_tensors(True), binary_data_output=True),
            ],
        }
    print(json.dumps(found))


asyncio.run(main())
