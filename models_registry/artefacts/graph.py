"""An ONNX file, parsed without running it: is it safe to load, and which inputs, outputs and classes does it have?"""

from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import numpy_helper

from mlmon.schema import TensorType
from models_registry.artefacts.operators import ALLOWED_OPERATORS, SHAPE_OPERATORS, SIZE_INPUTS, SUBGRAPH_OPERATORS
from models_registry.artefacts.report import InputTensor
from models_registry.exceptions import ArtefactError

_TENSOR_TYPES: dict[int, TensorType] = {
    onnx.TensorProto.FLOAT: TensorType.FLOAT32,
    onnx.TensorProto.DOUBLE: TensorType.FLOAT64,
    onnx.TensorProto.INT32: TensorType.INT32,
    onnx.TensorProto.INT64: TensorType.INT64,
    onnx.TensorProto.BOOL: TensorType.BOOL,
    onnx.TensorProto.STRING: TensorType.STRING,
}
# Operators that may lie between a classifier and its label output.
_PASSES_LABELS = frozenset({"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
_REGRESSORS = frozenset({"LinearRegressor", "SVMRegressor", "TreeEnsembleRegressor"})

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


def refuse_unsafe(model: onnx.ModelProto) -> None:
    """Refuse a model that could read other files, run forever or use unlimited memory.

    Raises
    ------
    ArtefactError
        The message names the part that is refused, and what to do.
    """
    if model.functions:
        raise ArtefactError(
            "The model defines its own functions, which are not supported. Export it with its functions inlined "
            "(onnx.inliner.inline_local_functions)."
        )
    if model.training_info:
        raise ArtefactError("The model contains training graphs. Export it for inference only.")
    if model.graph.sparse_initializer:
        raise ArtefactError(
            "The model contains sparse initializers, which are not supported. Store them as dense tensors."
        )
    _refuse_external_data(model.graph)
    for node in model.graph.node:
        _refuse_operator(node)
    _refuse_value_dependent_shapes(model.graph)


def graph_inputs(graph: onnx.GraphProto, *, max_features: int) -> list[InputTensor]:
    """Return the inputs that a caller must provide (initializers that are listed as inputs are constants).

    Raises
    ------
    ArtefactError
        An input is not a table of numbers or strings with a fixed width and a free number of rows.
    """
    constants = {initializer.name for initializer in graph.initializer}
    inputs = [_described(each) for each in graph.input if each.name not in constants]
    if not inputs:
        raise ArtefactError("The model has no input.")
    names = [each["name"] for each in inputs]
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
            return tuple(_text(label) for label in (*attribute.strings, *attribute.ints))
    if node.op_type in ("ArrayFeatureExtractor", "Gather"):
        return _constant_labels(graph, node.input[0])
    if node.op_type == "LabelEncoder":
        return _encoded_labels(node)
    return ()


def is_regressor(graph: onnx.GraphProto, output: str) -> bool:
    """Return whether an output comes directly from a regression operator, whatever its width."""
    node = _origin(graph, output)
    return node is not None and node.op_type in _REGRESSORS


def _refuse_external_data(graph: onnx.GraphProto) -> None:
    attributes = [attribute for node in graph.node for attribute in node.attribute]
    single = (attribute.t for attribute in attributes if attribute.HasField("t"))
    several = (tensor for attribute in attributes for tensor in attribute.tensors)
    for tensor in (*graph.initializer, *single, *several):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise ArtefactError(
                f"Tensor {tensor.name!r} is stored in another file (external data). Save the model as one file: "
                "onnx.save(onnx.load(path), path, save_as_external_data=False)."
            )


def _refuse_operator(node: onnx.NodeProto) -> None:
    domain = "" if node.domain == "ai.onnx" else node.domain
    if node.op_type == "ZipMap":
        raise ArtefactError(
            "The model ends in ZipMap, which returns dictionaries instead of a tensor. Convert it again with "
            'options={"zipmap": False} (skl2onnx) or zipmap=False (onnxmltools).'
        )
    if node.op_type in SUBGRAPH_OPERATORS:
        raise ArtefactError(
            f"Operator {node.op_type} contains a subgraph, which can run forever; it is not supported. "
            "Unroll it, or choose an estimator that exports without it."
        )
    if domain not in ALLOWED_OPERATORS:
        raise ArtefactError(
            f"Operator {node.op_type} belongs to the custom domain {domain!r}. Only the standard domains ai.onnx and "
            "ai.onnx.ml are supported: export without custom or vendor operators."
        )
    if node.op_type not in ALLOWED_OPERATORS[domain]:
        raise ArtefactError(
            f"Operator {node.op_type} is not supported (models_registry/artefacts/operators.py has the list and its "
            "reasons). Do that step before the model, or replace it."
        )
    for attribute in node.attribute:
        # Check the fields, not the declared type, which a crafted file can set to anything.
        if attribute.HasField("g") or attribute.graphs:
            raise ArtefactError(f"Operator {node.op_type} contains a subgraph, which is not supported.")
        if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
            raise ArtefactError(f"Operator {node.op_type} contains a sparse tensor. Store it as a dense tensor.")


def _refuse_value_dependent_shapes(graph: onnx.GraphProto) -> None:
    """Refuse shapes that depend on a client's numbers; nodes that are not in topological order are refused too."""
    known = {initializer.name for initializer in graph.initializer} | {""}
    for node in graph.node:
        for position in SIZE_INPUTS.get(node.op_type, ()):
            if position < len(node.input) and node.input[position] not in known:
                raise ArtefactError(
                    f"The shape of {node.op_type}'s result depends on feature values, so one request could use all "
                    "memory. Export with shapes that depend on the number of rows only."
                )
        if node.op_type in SHAPE_OPERATORS or all(name in known for name in node.input):
            known.update(node.output)


def _described(value: onnx.ValueInfoProto) -> InputTensor:
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
    if dimensions[0].dim_value > 0:
        raise ArtefactError(
            f"{prefix} accepts exactly {dimensions[0].dim_value} row(s). Export with a free first dimension "
            '(skl2onnx: FloatTensorType([None, width]); PyTorch: dynamic_axes={"input": {0: "rows"}}).'
        )
    width = 1 if len(dimensions) == 1 else dimensions[1].dim_value
    if width <= 0:
        raise ArtefactError(f"{prefix} has no fixed width. Export with a fixed number of columns.")
    return InputTensor(
        name=value.name, tensor_type=_TENSOR_TYPES[tensor.elem_type].value, width=width, rank=len(dimensions)
    )


_ELEMENT_TYPES = frozenset(onnx.TensorProto.DataType.values())


def _origin(graph: onnx.GraphProto, output: str) -> onnx.NodeProto | None:
    """Return the node that computes an output's values, ignoring nodes that only reshape or cast them."""
    producers = {name: node for node in graph.node for name in node.output}
    node = producers.get(output)
    for _ in range(len(graph.node)):
        if node is None or node.op_type not in _PASSES_LABELS:
            return node
        node = producers.get(node.input[0])
    return None


def _constant_labels(graph: onnx.GraphProto, name: str) -> tuple[str, ...]:
    tensors = [tensor for tensor in graph.initializer if tensor.name == name]
    tensors += [
        attribute.t
        for node in graph.node
        if node.op_type == "Constant" and name in node.output
        for attribute in node.attribute
        if attribute.name == "value"
    ]
    if not tensors:
        return ()
    values: list[object] = numpy_helper.to_array(tensors[0]).ravel().tolist()
    if not all(isinstance(value, bytes | str | int) for value in values):
        return ()
    return tuple(_text(value) for value in values)


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
    return tuple(_text(labels[position]) for position in np.argsort(keys.ints).tolist())


def _text(label: object) -> str:
    if isinstance(label, bytes):
        try:
            return label.decode("utf-8")
        except UnicodeDecodeError:
            raise ArtefactError(f"Class label {label!r} is not UTF-8. Export the model with labels in UTF-8.") from None
    return str(label)
