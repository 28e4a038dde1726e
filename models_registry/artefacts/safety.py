"""Refusal of graphs that could run forever, or use memory that depends on a client's numbers."""

from collections.abc import Iterator, Sequence

import onnx

from models_registry.artefacts.advice import advice_for
from models_registry.artefacts.operators import ALLOWED_OPERATORS, SHAPE_OPERATORS, SIZE_INPUTS, SUBGRAPH_OPERATORS
from models_registry.artefacts.report import InputTensor
from models_registry.exceptions import ArtefactError

_KEEPS_WIDTH = frozenset({"Cast", "Identity", "Imputer", "Normalizer", "Scaler"})
_DEEPEST_SUBGRAPH = 4
_MOST_OUTPUTS = 100


def refuse_unsafe(model: onnx.ModelProto) -> None:
    """Refuse a model that could run forever or use unlimited memory.

    External data must have been merged before.

    Raises
    ------
    ArtefactError
        The message names the part that is refused, and what to do.
    """
    if model.functions:
        raise ArtefactError(
            "The model defines functions of another opset, which cannot be inlined. "
            f"{advice_for(model.producer_name, 'operator')}"
        )
    if len(model.graph.output) > _MOST_OUTPUTS:
        raise ArtefactError(
            f"The model has {len(model.graph.output):,} outputs; at most {_MOST_OUTPUTS} are supported."
        )
    if model.training_info:
        raise ArtefactError("The model contains training graphs. Export it for inference only.")
    for graph in all_graphs(model.graph):
        if graph.sparse_initializer:
            raise ArtefactError(
                "The model contains sparse initializers, which are not supported. Store them as dense tensors."
            )
        for node in graph.node:
            _refuse_operator(node, model.producer_name)
    _refuse_value_dependent_shapes(model.graph, frozenset({""}))


def refuse_other_widths(graph: onnx.GraphProto, inputs: Sequence[InputTensor]) -> None:
    """Refuse linear models whose coefficients are of another number of columns than the input has.

    ONNX Runtime ignores the rest. The columns are followed through operators that keep their number.
    """
    widths = {each["name"]: each["width"] for each in inputs}
    for node in graph.node:
        width = widths.get(node.input[0]) if node.input else None
        if width is None:
            continue
        if node.op_type in _KEEPS_WIDTH:
            widths[node.output[0]] = width
        numbers = {attribute.name: len(attribute.floats) for attribute in node.attribute}
        if node.op_type in ("LinearClassifier", "LinearRegressor"):
            coefficients, targets = numbers.get("coefficients", 0), max(1, numbers.get("intercepts", 0))
            has_other_width = coefficients != width * targets
        else:
            lengths = {numbers.get(name, 0) for name in ("offset", "scale", "imputed_value_floats")}
            has_other_width = node.op_type in ("Scaler", "Imputer") and not lengths <= {0, 1, width}
        if has_other_width:
            raise ArtefactError(
                f"Operator {node.op_type} was trained on another number of columns than the input has ({width}). "
                "Export the model with the number of columns that it was trained on."
            )


def all_graphs(graph: onnx.GraphProto, depth: int = 0) -> Iterator[onnx.GraphProto]:
    """Yield a graph and the graphs inside its operators.

    Raises
    ------
    ArtefactError
        They are nested too deeply.
    """
    if depth > _DEEPEST_SUBGRAPH:
        raise ArtefactError(
            f"Operators with subgraphs (If, Scan) are nested more than {_DEEPEST_SUBGRAPH} deep. Simplify the model."
        )
    yield graph
    for node in graph.node:
        for body in subgraphs(node):
            yield from all_graphs(body, depth + 1)


def subgraphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """Return the graphs inside an operator: check the fields, because a crafted file can declare any type."""
    single = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    return single + [graph for attribute in node.attribute for graph in attribute.graphs]


def _refuse_operator(node: onnx.NodeProto, producer: str) -> None:
    domain = "" if node.domain == "ai.onnx" else node.domain
    if node.op_type == "ZipMap":
        raise ArtefactError(
            "Operator ZipMap is not the last operator of the model, and what it returns is not a tensor. "
            f"{advice_for(producer, 'ZipMap')}"
        )
    if node.op_type in ("Loop", "SequenceMap"):
        raise ArtefactError(f"Operator {node.op_type} can run forever. {advice_for(producer, 'Loop')}")
    if node.op_type == "SequenceConstruct":
        raise ArtefactError(
            f"The model makes a sequence of tensors, as for several targets. {advice_for(producer, 'targets')}"
        )
    if domain not in ALLOWED_OPERATORS:
        raise ArtefactError(
            f"Operator {node.op_type} belongs to the custom domain {domain!r}. Only the standard domains ai.onnx and "
            f"ai.onnx.ml are supported. {advice_for(producer, 'custom domain')}"
        )
    if node.op_type not in ALLOWED_OPERATORS[domain]:
        raise ArtefactError(
            f"Operator {f'{domain}.' * bool(domain)}{node.op_type} is not supported "
            "(models_registry/artefacts/operators.py has the list and its "
            f"reasons). {advice_for(producer, 'custom domain' if domain == 'com.microsoft' else 'operator')}"
        )
    if node.op_type == "Dropout" and len(node.input) > 2 and node.input[2]:
        raise ArtefactError(
            "Operator Dropout can be in training mode, so predictions could be random. "
            f"{advice_for(producer, 'rows depend')}"
        )
    if node.op_type not in SUBGRAPH_OPERATORS and subgraphs(node):
        raise ArtefactError(f"Operator {node.op_type} contains a subgraph, which is not supported.")
    for attribute in node.attribute:
        if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
            raise ArtefactError(f"Operator {node.op_type} contains a sparse tensor. Store it as a dense tensor.")


def _refuse_value_dependent_shapes(graph: onnx.GraphProto, outer: frozenset[str]) -> None:
    """Refuse shapes that depend on a client's numbers; nodes that are not in topological order are refused too.

    Parameters
    ----------
    outer
        Names of tensors around a subgraph whose values do not depend on feature values.
    """
    known = set(outer - {value.name for value in graph.input}) | {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        for position in SIZE_INPUTS.get(node.op_type, ()):
            if position < len(node.input) and node.input[position] not in known:
                raise ArtefactError(
                    f"The shape of {node.op_type}'s result depends on feature values, so one request could use all "
                    "memory. Export with shapes that depend on the number of rows only."
                )
        bodies = subgraphs(node)
        if node.op_type == "If" and node.input[0] not in known:
            # The sample rows of the trial might not reach the expensive branch.
            raise ArtefactError(
                "Operator If chooses a part of the model by feature values. Compute both parts and choose by Where "
                "(torch.where, tf.where)."
            )
        for body in bodies:
            _refuse_value_dependent_shapes(body, frozenset(known))
        # A subgraph can use tensors of the outer graph that are not inputs of its operator.
        if node.op_type in SHAPE_OPERATORS or (not bodies and all(name in known for name in node.input)):
            known.update(node.output)
        else:
            known.difference_update(node.output)
