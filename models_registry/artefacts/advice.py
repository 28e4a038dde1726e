"""What to do about a refused model, in the words of the exporter that wrote it."""

# By what is wrong: the advice for any exporter (""), and for those whose option has another name. The producer of a
# file is its `producer_name` in lower case.
_ADVICE: dict[str, dict[str, str]] = {
    "ZipMap": {
        "": "Export with a tensor of probabilities.",
        "skl2onnx": 'Convert it again with options={"zipmap": False}.',
        "onnxmltools": "Convert it again with zipmap=False.",
    },
    "Loop": {
        "": "Write the step without a loop: over whole tensors, or with a fixed number of steps.",
        "pytorch": "Write the step without a Python loop over tensors, or with a loop over a fixed range(), which the "
        "exporter unrolls.",
        "tf2onnx": "Write the step without tf.while_loop or a recurrent layer (keras: unroll=True).",
        "skl2onnx": "Choose an estimator that exports without Loop, or do this step before the model.",
    },
    "custom domain": {
        "": "Export without custom or vendor operators.",
        "skl2onnx": "Choose an estimator that exports with standard operators (GaussianProcessClassifier does not); "
        "compute the vectors of texts before the call.",
        "tf2onnx": "Export without custom_ops and extra_opset.",
        "pytorch": "Export without custom_opsets, and not from a file that ONNX Runtime has optimised.",
    },
    "operator": {
        "": "Do that step before the model, or replace it.",
        "skl2onnx": "Take that step out of the pipeline, apply it before the call, and export the rest.",
        "pytorch": "Take that step out of forward(), apply it before the call, and export the rest.",
        "tf2onnx": "Take that layer out of the model, apply it before the call, and export the rest.",
    },
    "rows": {
        "": "Export with a free first dimension of inputs and outputs.",
        "skl2onnx": "Export with initial_types=[(name, FloatTensorType([None, width]))].",
        "onnxmltools": "Export with initial_types=[(name, FloatTensorType([None, width]))].",
        "pytorch": 'Export with a free first dimension: dynamic_shapes={"x": {0: "rows"}}, or with dynamo=False: '
        'dynamic_axes={"x": {0: "rows"}}; x is the name of the argument of forward(). Do not use the number of rows of '
        "the example as a constant: write x.reshape(x.shape[0], -1) instead of x.view(1, -1).",
        "tf2onnx": "Export with an input signature whose first dimension is None: "
        "tf.TensorSpec((None, width), tf.float32).",
    },
    "columns": {
        "": "Export with a fixed number of columns.",
        "skl2onnx": "Export with initial_types=[(name, FloatTensorType([None, width]))].",
        "onnxmltools": "Export with initial_types=[(name, FloatTensorType([None, width]))].",
        "pytorch": "Make only the first dimension free.",
        "tf2onnx": "Export with an input signature of fixed width: tf.TensorSpec((None, width), tf.float32).",
    },
    "targets": {
        "": "Export one model for each target.",
        "skl2onnx": "Fit and export one estimator for each target. If it is a transformer (a scaler, PCA), export the "
        "pipeline with the estimator that predicts.",
    },
    "opset": {
        "": "Export with opset 21 or older.",
        "skl2onnx": 'Export with target_opset={"": 21, "ai.onnx.ml": 3}.',
        "onnxmltools": "Export with target_opset=15.",
        "pytorch": "Export with opset_version=20.",
        "tf2onnx": "Export with opset=18.",
    },
    "load": {
        "": "Check the file with onnx.checker.check_model, and export it again with a current version of the exporter.",
        "skl2onnx": "Some converters of skl2onnx write invalid files for strings as labels and for doubles: train with "
        'integers as labels, and export with floats and options={"zipmap": False}.',
        "catboost": "Export one model for each target.",
    },
    "values": {
        "": "Handle unknown categories and unusual numbers in the model.",
        "skl2onnx": "Choose steps that predict every row: KNeighbors instead of RadiusNeighbors, "
        "OneHotEncoder(handle_unknown='ignore').",
    },
    "constant": {
        "": "Export the model with its constants.",
        "tf2onnx": "Convert it with tf2onnx.convert.from_keras, or normalise the rows before the model.",
    },
    "label": {
        "": "Export it with its class labels.",
        "catboost": "CatBoost writes wrong labels for two classes that are other integers than 0 and 1. Train it with "
        "strings as labels, or with 0 and 1.",
    },
    "rows depend": {
        "": "Check that no operator computes over the rows (a mean, a softmax with axis=0).",
        "pytorch": "Call model.eval() before the export, and check that no step computes over the rows (dim=0).",
        "tf2onnx": "Check that no layer runs in training mode or computes over the rows (axis=0).",
    },
}


def advice_for(producer: str, problem: str) -> str:
    """Return what to do about a problem with a file of this exporter (`onnx.ModelProto.producer_name`)."""
    by_producer = _ADVICE[problem]
    return by_producer.get(producer.lower(), by_producer[""])
