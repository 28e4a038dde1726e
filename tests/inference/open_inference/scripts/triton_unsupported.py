"""Call with tritonclient what mlmon has, or refuses with advice; prints the messages as JSON."""

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import tritonclient.http as triton

given = json.load(sys.stdin)
client = triton.InferenceServerClient(given["url"].removeprefix("http://"))
flowers = np.array(given["flowers"], dtype=np.float32)
tensor = triton.InferInput("features", list(flowers.shape), "FP32").set_data_from_numpy(flowers)


def refused(call: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    try:
        call(*arguments, **options)
    except triton.InferenceServerException as error:
        return str(error.message())
    return "no error"


print(
    json.dumps(
        {
            "config": client.get_model_config("classifier"),
            "load": refused(client.load_model, "classifier"),
            "statistics": refused(client.get_inference_statistics, "classifier"),
            "shared memory": refused(client.get_system_shared_memory_status),
            "class count": refused(
                client.infer, "classifier", [tensor], outputs=[triton.InferRequestedOutput("prediction", class_count=2)]
            ),
            "unknown output": refused(
                client.infer, "classifier", [tensor], outputs=[triton.InferRequestedOutput("label")]
            ),
        }
    )
)
