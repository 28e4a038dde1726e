"""A runtime of MLServer for ONNX classifiers: the outputs are the predicted class and its probability."""

from typing import Any

import numpy as np
import onnxruntime as ort
from mlserver import MLModel  # type: ignore[import-not-found]
from mlserver.codecs import NumpyCodec, StringCodec  # type: ignore[import-not-found]
from mlserver.types import InferenceRequest, InferenceResponse, RequestInput  # type: ignore[import-not-found]
from mlserver.utils import get_model_uri  # type: ignore[import-not-found]


class OnnxClassifier(MLModel):
    """Takes one tensor for each ONNX input, or one for each column if the model has a single input."""

    async def load(self) -> bool:
        """Create the session in a worker process."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # as many processes as cores
        path = await get_model_uri(self.settings)
        self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._inputs = [one.name for one in self._session.get_inputs()]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Return the predictions of all rows."""
        columns = {one.name: _array(one) for one in payload.inputs}
        if len(self._inputs) == 1 and len(columns) > 1:
            columns = {self._inputs[0]: np.column_stack(list(columns.values()))}
        labels, probabilities = self._session.run(["label", "probabilities"], columns)
        return InferenceResponse(
            model_name=self.name,
            outputs=[
                StringCodec.encode_output("label", labels.tolist()),
                NumpyCodec.encode_output("confidence", probabilities.max(axis=1)),
            ],
        )


def _array(tensor: RequestInput) -> "np.ndarray[Any, Any]":
    if tensor.datatype == "BYTES":
        return np.array(StringCodec.decode_input(tensor), object).reshape(tensor.shape)
    array: np.ndarray[Any, Any] = NumpyCodec.decode_input(tensor)
    return array
