"""Shapes and examples of the Open Inference Protocol for the OpenAPI description."""

from http import HTTPStatus
from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema_field
from rest_framework import serializers

from rest.problems import DETAILS, MEANINGS

TAG = "Open Inference Protocol"
VERSION = {"model_name": "classifier", "model_version": "1.0.0"}
CLASSES = ["setosa", "versicolor", "virginica"]
IDS = "0199f0c2-7a40-7c1e-9d3b-5f0a4f2b0001,0199f0c2-7a40-7c1e-9d3b-5f0a4f2b0002"
ROWS = [5.1, 3.5, 1.4, 0.2, 6.7, 3.0, 5.2, 2.3]
FEATURES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
_MEANINGS = MEANINGS | {
    405: "The call has another method.",
    400: "The body is not valid JSON, or its parts have other lengths than its headers say.",
    413: "The body is larger than this server accepts, perhaps only after decompression.",
    415: "The Content-Type is neither application/json nor application/octet-stream, or the compression is unknown.",
}
_ERRORS = {
    405: 'Method "PUT" not allowed.',
    415: 'Content-Type "text/csv" is not supported; send application/json, application/octet-stream or none.',
    422: 'Input "features": expected the shape [rows, 4], got [8].',
}


@extend_schema_field({"type": "object", "additionalProperties": True})
class ParametersField(serializers.Field[object, object, object, object]):
    """Parameters by name."""


@extend_schema_field({"type": "array", "items": {}})
class TensorDataField(serializers.Field[object, object, object, object]):
    """The values of a tensor, row by row."""


class ErrorSerializer(serializers.Serializer[object]):
    error = serializers.CharField(help_text="What is wrong, in one sentence.")


class LiveSerializer(serializers.Serializer[object]):
    live = serializers.BooleanField()


class ReadySerializer(serializers.Serializer[object]):
    ready = serializers.BooleanField()
    error = serializers.CharField(required=False, help_text="What is unavailable.")


class ServerMetadataSerializer(serializers.Serializer[object]):
    name = serializers.CharField()
    version = serializers.CharField()
    extensions = serializers.ListField(child=serializers.CharField())


class ModelNamesSerializer(serializers.Serializer[object]):
    models = serializers.ListField(
        child=serializers.CharField(), help_text="Models with a version that is served here."
    )


class IndexRequestSerializer(serializers.Serializer[object]):
    ready = serializers.BooleanField(required=False, help_text="Whether to list only versions that are ready.")


class IndexEntrySerializer(serializers.Serializer[object]):
    name = serializers.CharField()
    version = serializers.CharField()
    state = serializers.ChoiceField(choices=[("READY", "READY"), ("UNAVAILABLE", "UNAVAILABLE")])
    reason = serializers.CharField(allow_blank=True, help_text="Why the version is unavailable.")


class TensorMetadataSerializer(serializers.Serializer[object]):
    name = serializers.CharField()
    datatype = serializers.CharField()
    shape = serializers.ListField(child=serializers.IntegerField(), help_text="-1 is any number of rows.")
    parameters = ParametersField(
        required=False, help_text="Of an input: the features in its columns. Of an output: the classes."
    )


class ModelMetadataSerializer(serializers.Serializer[object]):
    name = serializers.CharField()
    versions = serializers.ListField(child=serializers.CharField(), help_text="Versions that are served here.")
    platform = serializers.CharField()
    inputs = TensorMetadataSerializer(many=True)
    outputs = TensorMetadataSerializer(many=True)


class ModelReadySerializer(serializers.Serializer[object]):
    name = serializers.CharField()
    ready = serializers.BooleanField()


class ConfiguredTensorSerializer(serializers.Serializer[object]):
    name = serializers.CharField()
    data_type = serializers.CharField()
    dims = serializers.ListField(child=serializers.IntegerField())


class ModelConfigurationSerializer(serializers.Serializer[object]):
    name = serializers.CharField()
    platform = serializers.CharField()
    backend = serializers.CharField()
    max_batch_size = serializers.IntegerField(help_text="Always 0: the dimensions contain the number of rows.")
    input = ConfiguredTensorSerializer(many=True)
    output = ConfiguredTensorSerializer(many=True)


class InputTensorSerializer(serializers.Serializer[object]):
    name = serializers.CharField(help_text="An input of the ONNX model, or a feature.")
    datatype = serializers.CharField()
    shape = serializers.ListField(child=serializers.IntegerField(min_value=0))
    data = TensorDataField(required=False, help_text="Row by row, flat or nested; null is a missing value.")  # type: ignore[assignment]
    parameters = ParametersField(required=False, help_text="`binary_data_size` in place of `data`.")


class RequestedOutputSerializer(serializers.Serializer[object]):
    name = serializers.CharField()
    parameters = ParametersField(required=False, help_text="`binary_data`: whether the values are binary.")


class InferRequestSerializer(serializers.Serializer[object]):
    id = serializers.CharField(required=False, help_text="Returned in the response.")
    inputs = InputTensorSerializer(many=True)
    outputs = RequestedOutputSerializer(many=True, required=False, help_text="By default all outputs.")
    parameters = ParametersField(
        required=False,
        help_text="`routing_key` keeps a caller on one version; `binary_data_output` is the default of `binary_data`.",
    )


class OutputTensorSerializer(serializers.Serializer[object]):
    name = serializers.CharField()
    datatype = serializers.CharField()
    shape = serializers.ListField(child=serializers.IntegerField())
    data = TensorDataField(required=False)  # type: ignore[assignment]  # a field; the metaclass removes it from the class
    parameters = ParametersField(required=False, help_text="`binary_data_size` in place of `data`.")


class InferResponseSerializer(serializers.Serializer[object]):
    model_name = serializers.CharField()
    model_version = serializers.CharField()
    id = serializers.CharField(required=False, help_text="The request's.")
    parameters = ParametersField(
        help_text="`prediction_ids`: for the ground truth, in the order of the rows, with commas."
    )
    outputs = OutputTensorSerializer(many=True)


def _response(name: str, body: object) -> OpenApiExample:
    return OpenApiExample(name, body, response_only=True, status_codes=["200"])


def _tensor(name: str, datatype: str, shape: list[int], **members: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, **members}


INPUT = _tensor("features", "FP32", [-1, 4], parameters={"features": FEATURES, "optional": []})
OUTPUTS = [
    _tensor("prediction", "BYTES", [-1], parameters={"classes": CLASSES}),
    _tensor("confidence", "FP64", [-1]),
    _tensor("probabilities", "FP64", [-1, 3], parameters={"classes": CLASSES}),
]
LIVE = _response("Alive", {"live": True})
READY = _response("Ready", {"ready": True})
NOT_READY = OpenApiExample(
    "Not ready",
    {"ready": False, "error": "redis: unavailable: ConnectionError"},
    response_only=True,
    status_codes=["503"],
)
SERVER = _response(
    "Server",
    {"name": "mlmon", "version": "0.1.0", "extensions": ["binary_tensor_data", "model_configuration", "parameters"]},
)
NAMES = _response("The demo's models", {"models": ["classifier", "flight-delay"]})
INDEX_REQUEST = OpenApiExample("Only those that are ready", {"ready": True}, request_only=True)
INDEX = _response("A version of the demo", {"name": "classifier", "version": "1.0.0", "state": "READY", "reason": ""})
METADATA = _response(
    "The demo classifier",
    {
        "name": "classifier",
        "versions": ["1.0.0"],
        "platform": "onnxruntime_onnx",
        "inputs": [INPUT],
        "outputs": OUTPUTS,
    },
)
MODEL_READY = _response("Ready", {"name": "classifier", "ready": True})
CONFIGURATION = _response(
    "The demo classifier",
    {
        "name": "classifier",
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "max_batch_size": 0,
        "input": [{"name": "features", "data_type": "TYPE_FP32", "dims": [-1, 4]}],
        "output": [
            {"name": "prediction", "data_type": "TYPE_STRING", "dims": [-1]},
            {"name": "confidence", "data_type": "TYPE_FP64", "dims": [-1]},
            {"name": "probabilities", "data_type": "TYPE_FP64", "dims": [-1, 3]},
        ],
    },
)
ONE_INPUT = OpenApiExample(
    "The model's input",
    {"id": "42", "inputs": [_tensor("features", "FP32", [2, 4], data=ROWS)]},
    request_only=True,
)
INPUT_PER_FEATURE = OpenApiExample(
    "An input for each feature, one output",
    {
        "inputs": [
            _tensor(name, "FP32", [2], data=[ROWS[index], ROWS[index + 4]]) for index, name in enumerate(FEATURES)
        ],
        "outputs": [{"name": "prediction"}],
        "parameters": {"routing_key": "customer-17"},
    },
    request_only=True,
)
PREDICTED = _response(
    "Predictions of two rows",
    {
        **VERSION,
        "id": "42",
        "parameters": {"prediction_ids": IDS},
        "outputs": [
            _tensor("prediction", "BYTES", [2], data=["setosa", "virginica"]),
            _tensor("confidence", "FP64", [2], data=[0.981, 0.961]),
            _tensor("probabilities", "FP64", [2, 3], data=[0.981, 0.019, 0.0, 0.0, 0.039, 0.961]),
        ],
    },
)


def error_responses(*statuses: int) -> dict[tuple[int, str], OpenApiResponse]:
    """Return the OpenAPI description of a call's error responses, by status and media type."""
    return {
        (status, "application/json"): OpenApiResponse(
            ErrorSerializer,
            description=_MEANINGS[status],
            examples=[
                OpenApiExample(
                    HTTPStatus(status).phrase,
                    {"error": _ERRORS.get(status) or DETAILS[status][0][0]},
                    response_only=True,
                    status_codes=[str(status)],
                )
            ],
        )
        for status in statuses
    }
