"""Provoke errors with KServe's REST client; runs in the clients' environment and prints the exceptions as JSON."""

import asyncio
import json
import sys

from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

given = json.load(sys.stdin)
CASES = {
    "unknown model": ("absent", InferInput("features", [1, 4], "FP32", data=[5.1, 3.5, 1.4, 0.2])),
    "unknown input": ("classifier", InferInput("X", [1, 4], "FP32", data=[5.1, 3.5, 1.4, 0.2])),
    "wrong shape": ("classifier", InferInput("features", [1, 3], "FP32", data=[5.1, 3.5, 1.4])),
    "missing feature": ("flight-delay", InferInput("distance", [1], "FP64", data=[6.0])),
    "string for a number": ("flight-delay", InferInput("distance", [1], "BYTES", data=["far"])),
}


async def main() -> None:
    raised = {}
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        for case, (model, tensor) in CASES.items():
            try:
                await client.infer(given["url"], InferRequest(model, [tensor]), model_name=model)
            except Exception as error:  # the test checks which it is
                status = getattr(getattr(error, "response", None), "status_code", 0)
                raised[case] = {"type": type(error).__name__, "status": status, "message": str(error)}
    print(json.dumps(raised))


asyncio.run(main())
