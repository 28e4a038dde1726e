"""Changes of an exported graph, so that it takes any number of rows from one file and returns tensors.

Each change keeps the numbers that the model computes; the trial runs both graphs and compares them.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path, PurePosixPath

import onnx
from onnx import helper

from models_registry.artefacts.advice import advice_for
from models_registry.artefacts.graph import ONLY_RESHAPES, constant_values, label_texts
from models_registry.artefacts.report import InputTensor
from models_registry.artefacts.safety import all_graphs
from models_registry.exceptions import ArtefactError

_COLUMN_OPERATORS = ("ArrayFeatureExtractor", "Gather", "Slice")


@dataclass(slots=True)
class NormalisedGraph:
    """A graph that can be served, and how its outputs follow from those of the file.

    Attributes
    ----------
    model
        The changed model; the file's own if nothing was changed.
    changes
        A sentence for each change.
    maps
        Tensor and class labels that replace an output of dictionaries, by the name of that output.
    columns
        Tensor and position that replace an output of one column, by the name of that output.
    column_classes
        Class labels of the columns of such tensors.
    """

    model: onnx.ModelProto
    changes: list[str] = field(default_factory=list)
    maps: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    columns: dict[str, tuple[str, int]] = field(default_factory=dict)
    column_classes: dict[str, tuple[str, ...]] = field(default_factory=dict)


def merge_external_data(model: onnx.ModelProto, data_files: Mapping[str, Path]) -> int:
    """Store tensors of other files in the model; return their number.

    Only uploaded files are read: a location in the model is looked up by name and never opened as a path.

    Raises
    ------
    ArtefactError
        A file was not uploaded, or does not hold the tensor.
    """
    merged = 0
    for tensor in _tensors(model):
        if tensor.data_location != onnx.TensorProto.EXTERNAL and not tensor.external_data:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = str(PurePosixPath(entries.get("location", "")))
        if location not in data_files:
            raise ArtefactError(
                f"Tensor {tensor.name!r} is stored in the file {location[:255]!r} (external data), which was not "
                "uploaded. Upload it together with the model, as several files or as a zip archive; or save the model "
                "as one file: onnx.save(onnx.load(path), path, save_as_external_data=False)."
            )
        tensor.raw_data = _external_bytes(tensor, data_files[location], location, entries)
        del tensor.external_data[:]
        tensor.data_location = onnx.TensorProto.DEFAULT
        merged += 1
    return merged


def without_dictionaries(model: onnx.ModelProto) -> NormalisedGraph:
    """Return a copy of the model whose outputs are tensors: without a ZipMap at its end, with columns put together."""
    normalised = NormalisedGraph(model)
    zip_maps = {node.output[0]: node for node in model.graph.node if node.op_type == "ZipMap" and node.output}
    ends = [output.name for output in model.graph.output if output.name in zip_maps]
    split = _split_tensor(model.graph)
    if not ends and split is None:
        return normalised
    normalised.model = onnx.ModelProto()
    normalised.model.CopyFrom(model)
    graph = normalised.model.graph
    for name in ends:
        node = zip_maps[name]
        tables = [list(each) for attribute in node.attribute for each in (attribute.strings, attribute.ints) if each]
        if len(tables) != 1 or not node.input:
            advice = advice_for(model.producer_name, "targets")
            raise ArtefactError(f"Operator ZipMap has no table of classes, as for several targets. {advice}")
        classes = label_texts(tables[0])
        tensor = node.input[0]
        if normalised.column_classes.get(tensor, classes) != classes:
            raise ArtefactError(f"The columns of {tensor!r} have two tables of classes. Export the model again.")
        normalised.maps[name] = (tensor, classes)
        normalised.column_classes[tensor] = classes
        (described,) = (output for output in graph.output if output.name == name)
        element = described.type.sequence_type.elem_type.map_type.value_type.tensor_type.elem_type
        _replace_outputs(graph, [name], tensor, len(classes), element)
        graph.node.remove(next(each for each in graph.node if name in each.output))
        normalised.changes.append(
            f"Output {name!r} was a dictionary for each row (ZipMap). The tensor {tensor!r} is read instead, with the "
            "classes of the dictionary."
        )
    if split is not None:
        tensor, names = split
        classes = _column_classes(names) if model.producer_name == "skl2onnx" else ()
        normalised.columns |= {name: (tensor, position) for position, name in enumerate(names)}
        if classes:
            normalised.column_classes[tensor] = classes
        (described,) = (output for output in graph.output if output.name == names[0])
        _replace_outputs(graph, names, tensor, len(names), described.type.tensor_type.elem_type)
        _remove_unused(graph)
        normalised.changes.append(
            f"The outputs {names[0]!r} to {names[-1]!r} were columns of the tensor {tensor!r}, which is read instead."
        )
    return normalised


def with_free_rows(model: onnx.ModelProto, inputs: list[InputTensor]) -> onnx.ModelProto:
    """Return a copy of the model whose inputs and outputs have any number of rows, though the exporter fixed it."""
    freed = onnx.ModelProto()
    freed.CopyFrom(model)
    graph = freed.graph
    names = {each["name"] for each in inputs}
    for value in (*graph.input, *graph.output):
        shape = value.type.tensor_type.shape
        if shape.dim and (value.name in names or value in graph.output):
            shape.dim[0].dim_param = "rows"
    del graph.value_info[:]  # they hold the fixed number too
    return freed


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    for graph in all_graphs(model.graph):
        yield from graph.initializer
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors


def _external_bytes(tensor: onnx.TensorProto, path: Path, location: str, entries: Mapping[str, str]) -> bytes:
    what = f"Tensor {tensor.name!r} in the file {location!r}"
    try:
        offset, item = int(entries.get("offset", 0)), helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        expected = prod(tensor.dims) * item
        length = int(entries.get("length", expected))
    except (ValueError, KeyError, TypeError) as error:
        raise ArtefactError(f"{what} has an invalid type or position. Export the model again.") from error
    if length != expected or offset < 0 or expected < 0 or offset + length > path.stat().st_size:
        raise ArtefactError(
            f"{what} needs {expected:,} bytes at position {offset:,}, but the file has {path.stat().st_size:,}. Upload "
            "the model and its data file of the same export."
        )
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length)


def _split_tensor(graph: onnx.GraphProto) -> tuple[str, list[str]] | None:
    """Return a tensor whose columns are separate outputs (skl2onnx: ``zipmap="columns"``), and their names in order."""
    producers = {name: node for node in graph.node for name in node.output}
    found: dict[str, dict[int, str]] = {}
    for output in graph.output:
        node = producers.get(output.name)
        for _ in range(len(graph.node)):
            if node is None or node.op_type not in ONLY_RESHAPES or not node.input:
                break
            node = producers.get(node.input[0])
        if node is None or node.op_type not in _COLUMN_OPERATORS or len(node.input) < 2:
            continue
        position = constant_values(graph, node.input[1])
        if len(position) == 1 and isinstance(position[0], int):
            found.setdefault(node.input[0], {})[position[0]] = output.name
    complete = [
        (tensor, [names[position] for position in range(len(names))])
        for tensor, names in found.items()
        if len(names) > 1 and sorted(names) == list(range(len(names)))
    ]
    return complete[0] if len(complete) == 1 else None


def _column_classes(names: list[str]) -> tuple[str, ...]:
    """Return the classes in skl2onnx's names of columns: "i0" and "i1" are integers, "sno" and "syes" strings."""
    is_integer = all(re.fullmatch(r"i-?\d+", name) for name in names)
    is_string = all(name.startswith("s") for name in names)
    return tuple(name[1:] for name in names) if is_integer or is_string else ()


def _replace_outputs(graph: onnx.GraphProto, names: list[str], tensor: str, width: int, element: int) -> None:
    """Replace outputs by one tensor of shape rows x width, in the place of the first of them."""
    place = min(position for position, output in enumerate(graph.output) if output.name in names)
    outputs = [output for output in graph.output if output.name not in names]
    if tensor not in {output.name for output in outputs}:
        described = helper.make_tensor_value_info(tensor, element or onnx.TensorProto.FLOAT, ["rows", width])
        outputs.insert(place, described)
    kept = [onnx.ValueInfoProto.FromString(output.SerializeToString()) for output in outputs]
    del graph.output[:]
    graph.output.extend(kept)


def _remove_unused(graph: onnx.GraphProto) -> None:
    """Remove operators whose results nothing uses."""
    while True:
        used = {output.name for output in graph.output}
        used.update(name for each in all_graphs(graph) for node in each.node for name in node.input)
        used.update(output.name for each in all_graphs(graph) for output in each.output)
        unused = [node for node in graph.node if not used.intersection(node.output)]
        if not unused:
            return
        for node in unused:
            graph.node.remove(node)
