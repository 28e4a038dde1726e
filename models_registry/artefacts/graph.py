"""An ONNX file, parsed without running it: its inputs, and what its operators prove about its outputs."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import numpy_helper

from mlmon.schema import TensorType
from models_registry.artefacts.advice import advice_for
from models_registry.artefacts.report import InputTensor, OutputOrigin
from models_registry.exceptions import ArtefactError

_TENSOR_TYPES: dict[int, TensorType] = {
    onnx.TensorProto.FLOAT: TensorType.FLOAT32,
    onnx.TensorProto.DOUBLE: TensorType.FLOAT64,
    onnx.TensorProto.INT32: TensorType.INT32,
    onnx.TensorProto.INT64: TensorType.INT64,
    onnx.TensorProto.BOOL: TensorType.BOOL,
    onnx.TensorProto.STRING: TensorType.STRING,
}
# Operators that may lie between the operator that computes an output and the output.
ONLY_RESHAPES = frozenset({"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
_ORIGINS = {
    "LinearRegressor": OutputOrigin.REGRESSOR,
    "SVMRegressor": OutputOrigin.REGRESSOR,
    "TreeEnsembleRegressor": OutputOrigin.REGRESSOR,
    "LinearClassifier": OutputOrigin.CLASSIFIER,
    "SVMClassifier": OutputOrigin.CLASSIFIER,
    "TreeEnsembleClassifier": OutputOrigin.CLASSIFIER,
    "Softmax": OutputOrigin.SOFTMAX,
    "LogSoftmax": OutputOrigin.LOG_SOFTMAX,
    "Sigmoid": OutputOrigin.SIGMOID,
}
_MOST_THRESHOLDS = 1_000
_MOST_STRINGS = 50
_NORMALISERS = frozenset({"Exp", "Softmax"})  # AdaBoost makes probabilities of the votes
_SHAPE_ONLY = frozenset({"Shape", "Size"})
# Exporters that write a label output for every classifier, so that a number without one is a regression.
_LABEL_EXPORTERS = frozenset({"skl2onnx", "onnxmltools", "catboost"})

# First bytes of files that people upload by mistake; the longest match comes first.
_OTHER_FORMATS: tuple[tuple[bytes, str], ...] = (
    (b"\x89HDF\r\n", "an HDF5 file (Keras)"),
    (b"\xfd7zXZ\x00", "an xz-compressed file (joblib)"),
    (b"\x04\x22\x4d\x18", "an lz4-compressed file (joblib)"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"PK\x03\x04", "a zip archive (PyTorch .pt, Keras .keras)"),
    (b"BZh", "a bzip2-compressed file (joblib)"),
    (b"ZF0x", "an old joblib file"),
    (b"\x1f\x8b", "a gzip-compressed file (joblib)"),
    (b"\x5d\x00", "an lzma-compressed file (joblib)"),
    (b"tree\n", "a LightGBM text model"),
    (b"binf", "an XGBoost binary model"),
    (b"\x80", "a pickle"),
    (b"x\x01", "a zlib-compressed file (joblib)"),
    (b"x\x5e", "a zlib-compressed file (joblib)"),
    (b"x\x9c", "a zlib-compressed file (joblib)"),
    (b"x\xda", "a zlib-compressed file (joblib)"),
    (b"{", "JSON"),
)
_EXPORT_HINT = (
    "Export the model to ONNX and upload the .onnx file: skl2onnx.to_onnx for scikit-learn, onnxmltools for XGBoost "
    "and LightGBM, torch.onnx.export for PyTorch, tf2onnx for TensorFlow."
)


def read_graph(path: Path) -> onnx.ModelProto:
    """Return the parsed model.

    Raises
    ------
    ArtefactError
        The file is not an ONNX model.
    """
    content = path.read_bytes()
    for magic, meaning in _OTHER_FORMATS:
        if content.startswith(magic):
            raise ArtefactError(
                f"The file is {meaning}, not ONNX. Such files are not loaded, because loading one can run its author's "
                f"code. {_EXPORT_HINT}"
            )
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        if "alloc failed" in str(error):  # the parser has no other sign of it
            raise MemoryError(str(error)) from error
        raise ArtefactError(f"The file is not an ONNX model, or it was cut off. {_EXPORT_HINT}") from None
    if model.ir_version <= 0 or not model.graph.node:
        raise ArtefactError(f"The file is not an ONNX model: it has no graph of operators. {_EXPORT_HINT}")
    return model


def graph_inputs(model: onnx.ModelProto, *, max_features: int) -> list[InputTensor]:
    """Return the inputs that a caller must provide (initializers that are listed as inputs are constants).

    Raises
    ------
    ArtefactError
        An input is not a table of numbers or strings with a fixed width.
    """
    constants = {initializer.name for initializer in model.graph.initializer}
    inputs = [_described(each, model.producer_name) for each in model.graph.input if each.name not in constants]
    if not inputs:
        raise ArtefactError("The model has no input.")
    names = [each["name"] for each in inputs]
    left_out = [name for name in names if re.search(r"/.*:\d+$", name)]
    if model.producer_name == "tf2onnx" and len(names) > 1 and left_out:
        raise ArtefactError(
            f"Input {left_out[0]!r} is a constant of the model that the exporter left out (Keras' Normalization). "
            f"{advice_for(model.producer_name, 'constant')}"
        )
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ArtefactError(f"Input name {repeated[0]!r} is used twice. Give every input its own name.")
    width = sum(each["width"] for each in inputs)
    if width > max_features:
        raise ArtefactError(f"The model has {width:,} features; at most {max_features:,} are supported.")
    return inputs


def stored_classes(graph: onnx.GraphProto, label_output: str) -> tuple[str, ...]:
    """Return the class labels of a label output, in the order of their scores; empty if the graph does not store them.

    They are an attribute of the classifier (``classlabels_*``), or the table in which the end of the graph looks up the
    winning index.
    """
    node = _origin(graph, label_output)
    if node is None:
        return ()
    for attribute in node.attribute:
        if attribute.name.startswith("classlabels_") and (attribute.strings or attribute.ints):
            return label_texts([*attribute.strings, *attribute.ints])
    if node.op_type in ("ArrayFeatureExtractor", "Gather"):
        labels = constant_values(graph, node.input[0])
        return label_texts(labels) if all(isinstance(label, bytes | str | int) for label in labels) else ()
    if node.op_type == "LabelEncoder":
        return _encoded_labels(node)
    return ()


def constant_values(graph: onnx.GraphProto, name: str) -> list[object]:
    """Return the values of a constant tensor; none if it is not a constant."""
    tensors = [tensor for tensor in graph.initializer if tensor.name == name]
    tensors += [
        attribute.t
        for node in graph.node
        if node.op_type == "Constant" and name in node.output
        for attribute in node.attribute
        if attribute.name == "value"
    ]
    values: list[object] = numpy_helper.to_array(tensors[0]).ravel().tolist() if tensors else []
    return values


def label_texts(labels: Sequence[object]) -> tuple[str, ...]:
    """Return class labels as strings; raise ArtefactError if one is not UTF-8."""
    texts = []
    for label in labels:
        try:
            texts.append(label.decode("utf-8") if isinstance(label, bytes) else str(label))
        except UnicodeDecodeError:
            message = f"Class label {label!r} is not UTF-8. Export the model with labels in UTF-8."
            raise ArtefactError(message) from None
    return tuple(texts)


def origin_of(model: onnx.ModelProto, output: str) -> OutputOrigin:
    """Return which operator computes an output, ignoring operators that only reshape or cast its values."""
    node = _origin(model.graph, output)
    origin = _ORIGINS.get(node.op_type, OutputOrigin.UNKNOWN) if node is not None else OutputOrigin.UNKNOWN
    if origin is not OutputOrigin.UNKNOWN:
        return origin
    if model.producer_name.lower() not in _LABEL_EXPORTERS:
        return OutputOrigin.VOTES if _is_vote(model.graph, output) else origin
    is_labelled = any(
        value.type.tensor_type.elem_type in (onnx.TensorProto.INT64, onnx.TensorProto.STRING)
        for value in model.graph.output
    )
    return OutputOrigin.VOTES if is_labelled and _is_vote(model.graph, output) else OutputOrigin.LABEL_EXPORTER


def tree_thresholds(graph: onnx.GraphProto) -> dict[int, list[float]]:
    """Return some thresholds of the trees by column, for sample rows."""
    found: dict[int, list[float]] = {}
    for node in graph.node:
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if node.op_type in ("TreeEnsembleClassifier", "TreeEnsembleRegressor") and "nodes_values" in attributes:
            columns, values = attributes["nodes_featureids"].ints, attributes["nodes_values"].floats
            for column, threshold in list(zip(columns, values, strict=False))[:_MOST_THRESHOLDS]:
                if np.isfinite(threshold) and column >= 0:
                    found.setdefault(column, []).append(threshold)
    return found


def known_strings(graph: onnx.GraphProto) -> tuple[str, ...]:
    """Return some strings that the operators know as categories, for sample rows."""
    found: dict[str, None] = {}
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name in ("cats_strings", "keys_strings"):
                found |= dict.fromkeys(label_texts(attribute.strings[:_MOST_STRINGS]))
    return tuple(found)[:_MOST_STRINGS]


def _is_vote(graph: onnx.GraphProto, output: str) -> bool:
    """Return whether an output depends on features only through the classes that several models chose (ArgMax)."""
    producers = {name: node for node in graph.node for name in node.output}
    inputs = {value.name for value in graph.input}
    waiting, seen, is_cut = [output], {output}, False
    while waiting:
        name = waiting.pop()
        if name in inputs:
            return False
        node = producers.get(name)
        if node is None or node.op_type in _SHAPE_ONLY:
            continue
        if node.op_type in _NORMALISERS:
            return False
        if node.op_type in ("ArgMax", "Hardmax"):
            is_cut = True
            continue
        fresh = [each for each in node.input if each not in seen]
        seen.update(fresh)
        waiting += fresh
    return is_cut


def _described(value: onnx.ValueInfoProto, producer: str) -> InputTensor:
    prefix = f"Input {value.name!r}"
    if not value.type.HasField("tensor_type"):
        kind = value.type.WhichOneof("value") or "nothing"
        raise ArtefactError(f"{prefix} is a {kind.removesuffix('_type')}, not a tensor; export with tensor inputs.")
    tensor = value.type.tensor_type
    if tensor.elem_type not in _TENSOR_TYPES:
        name = onnx.TensorProto.DataType.Name(tensor.elem_type) if tensor.elem_type in _ELEMENT_TYPES else "unknown"
        raise ArtefactError(
            f"{prefix} has element type {name}; supported are {', '.join(each.value for each in TensorType)}."
        )
    dimensions = tensor.shape.dim
    if not tensor.HasField("shape") or len(dimensions) not in (1, 2):
        shape = f"rank {len(dimensions)}" if tensor.HasField("shape") else "no shape"
        raise ArtefactError(f"{prefix} has {shape}; it must be a table of rows x width (rank 2).")
    fixed_rows = dimensions[0].dim_value
    if len(dimensions) == 1 and fixed_rows > 1:
        raise ArtefactError(
            f"{prefix} is a single row of {fixed_rows} numbers. Export with an example input of shape 1 x {fixed_rows}."
        )
    width = 1 if len(dimensions) == 1 else dimensions[1].dim_value
    if width <= 0:
        raise ArtefactError(f"{prefix} has no fixed width. {advice_for(producer, 'columns')}")
    return InputTensor(
        name=value.name,
        tensor_type=_TENSOR_TYPES[tensor.elem_type].value,
        width=width,
        rank=len(dimensions),
        fixed_rows=max(fixed_rows, 0),
    )


_ELEMENT_TYPES = frozenset(onnx.TensorProto.DataType.values())


def _origin(graph: onnx.GraphProto, output: str) -> onnx.NodeProto | None:
    """Return the node that computes an output's values, ignoring nodes that only reshape or cast them."""
    producers = {name: node for node in graph.node for name in node.output}
    node = producers.get(output)
    for _ in range(len(graph.node)):
        if node is None or node.op_type not in ONLY_RESHAPES or not node.input:
            return node
        node = producers.get(node.input[0])
    return None


def _encoded_labels(node: onnx.NodeProto) -> tuple[str, ...]:
    """Return the labels that a LabelEncoder has for the indices 0, 1, ..."""
    attributes = {attribute.name: attribute for attribute in node.attribute}
    keys = attributes.get("keys_int64s")
    values = attributes.get("values_strings") or attributes.get("values_int64s")
    if keys is None or values is None:
        return ()
    labels = [*values.strings, *values.ints]
    if len(labels) != len(keys.ints) or sorted(keys.ints) != list(range(len(labels))):
        return ()
    return label_texts([labels[position] for position in np.argsort(keys.ints).tolist()])
