"""The descriptions of a version that clients read: metadata, and the model configuration of Triton."""

from collections.abc import Sequence
from typing import Any

from inference.open_inference.datatypes import BYTES, DATATYPE_OF
from inference.open_inference.outputs import outputs_of
from inference.open_inference.tensors import features_by_input
from models_registry.schema import ModelSchema

PLATFORM, BACKEND = "onnxruntime_onnx", "onnxruntime"  # Triton's names
EXTENSIONS = ("binary_tensor_data", "model_configuration", "parameters")
ANY_NUMBER = -1  # of rows


def model_metadata(name: str, versions: Sequence[str], schema: ModelSchema) -> dict[str, Any]:
    """Return the metadata of a version: its tensors, with the names of features and classes as parameters."""
    inputs = [
        {
            "name": input_name,
            "datatype": DATATYPE_OF[features[0].tensor_type],
            "shape": [ANY_NUMBER, len(features)],
            "parameters": {
                "features": [feature.name for feature in features],
                "optional": [feature.name for feature in features if not feature.is_required],
            },
        }
        for input_name, features in features_by_input(schema.features).items()
    ]
    outputs = [
        {
            "name": output.name,
            "datatype": output.datatype,
            "shape": [ANY_NUMBER, len(output.classes)] if output.has_columns else [ANY_NUMBER],
            **({"parameters": {"classes": list(output.classes)}} if output.classes else {}),
        }
        for output in outputs_of(schema).values()
    ]
    return {"name": name, "versions": list(versions), "platform": PLATFORM, "inputs": inputs, "outputs": outputs}


def model_configuration(name: str, schema: ModelSchema) -> dict[str, Any]:
    """Return the configuration of a version as Triton has it; the first dimension is the number of rows."""
    described = model_metadata(name, (), schema)
    return {
        "name": name,
        "platform": PLATFORM,
        "backend": BACKEND,
        "max_batch_size": 0,  # the dimensions contain the rows
        "input": [_configured(tensor) for tensor in described["inputs"]],
        "output": [_configured(tensor) for tensor in described["outputs"]],
    }


def _configured(tensor: dict[str, Any]) -> dict[str, Any]:
    datatype = "STRING" if tensor["datatype"] == BYTES else tensor["datatype"]
    return {"name": tensor["name"], "data_type": f"TYPE_{datatype}", "dims": tensor["shape"]}
