"""The inputs of an MLflow signature, and the features of a model as it describes them."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from mlmon.schema import Feature, FeatureKind, TensorType
from mlmon.values import shown
from models_registry.exceptions import ArtefactError

_FIELD = "MLmodel, signature.inputs"
_NAMED = "The names of the features are those of the MLflow signature, and the types agree with the file."
_NAMELESS = "The MLflow signature has no column names, so the names of the features are the file's."
_WITHOUT = "State the names of the features to do without the signature."


class ColumnType(StrEnum):
    """Types of MLflow's columns. A feature cannot have those from `BINARY` on."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    LONG = "long"
    FLOAT = "float"
    DOUBLE = "double"
    STRING = "string"
    BINARY = "binary"
    DATETIME = "datetime"
    ARRAY = "array"
    OBJECT = "object"
    MAP = "map"
    VECTOR = "sparkml_vector"
    ANY = "any"


_FLOATS = (TensorType.FLOAT32, TensorType.FLOAT64)
_NUMBERS = (*_FLOATS, TensorType.INT32, TensorType.INT64)
# The tensors that hold every value of a column. Floats are rounded to float32, as MLflow does.
_HELD = {
    ColumnType.BOOLEAN: (TensorType.BOOL, *_NUMBERS),
    ColumnType.INTEGER: _NUMBERS,
    ColumnType.LONG: _NUMBERS,
    ColumnType.FLOAT: _FLOATS,
    ColumnType.DOUBLE: _FLOATS,
    ColumnType.STRING: (TensorType.STRING,),
}
# What happens to numbers that a tensor cannot hold, although the types agree.
_LIMITS = {
    (ColumnType.INTEGER, TensorType.FLOAT32): "beyond 16,777,216 are rounded",
    (ColumnType.LONG, TensorType.FLOAT32): "beyond 16,777,216 are rounded",
    (ColumnType.LONG, TensorType.INT32): "beyond 2,147,483,647 are refused",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. The name is "" if the signature has none."""

    name: str
    type: ColumnType
    is_required: bool


@dataclass(frozen=True, slots=True)
class TensorInput:
    """A tensor without names for its columns. The name is that of an input of the model, or ""."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """The inputs of a signature: columns or tensors, not both."""

    columns: tuple[Column, ...] = ()
    tensors: tuple[TensorInput, ...] = ()


def signature_of(inputs: object) -> Signature | None:
    """Return a signature from its decoded JSON; None for null or an empty list.

    Raises
    ------
    ArtefactError
        It is malformed; the message names the position and the reason.
    """
    if inputs is None or inputs == []:
        return None
    if not isinstance(inputs, list):
        raise ArtefactError(f"{_FIELD}: expected a list, got {shown(inputs)}.")
    columns: list[Column] = []
    tensors: list[TensorInput] = []
    for place, each in enumerate(inputs):
        field = f"{_FIELD}[{place}]"
        if not isinstance(each, dict):
            raise ArtefactError(f"{field}: expected an object, got {shown(each)}.")
        name = each.get("name")
        if name is not None and not isinstance(name, str | int):  # whole numbers name the columns of some data frames
            raise ArtefactError(f"{field}.name: expected a string, got {shown(name)}.")
        name = "" if name is None else str(name)
        if each.get("type") == "tensor":
            tensors.append(_tensor(each, name, field))
        else:
            columns.append(_column(each, name, field))
    names = [name for name in (*(each.name for each in columns), *(each.name for each in tensors)) if name]
    if columns and tensors:
        raise ArtefactError(f"{_FIELD}: expected columns or tensors, got both.")
    if names and len(names) < len(inputs):
        raise ArtefactError(f"{_FIELD}: {len(inputs) - len(names)} of {len(inputs)} inputs have no name.")
    ((name, times),) = Counter(names).most_common(1) or [("", 1)]
    if times > 1:
        raise ArtefactError(f"{_FIELD}: {times} inputs have the name {shown(name)}.")
    return Signature(tuple(columns), tuple(tensors))


def _column(each: Mapping[str, object], name: str, field: str) -> Column:
    try:
        kind = ColumnType(each["type"])  # type: ignore[arg-type]
    except KeyError:
        raise ArtefactError(f"{field}: the type is missing.") from None
    except ValueError:
        raise ArtefactError(
            f"{field}.type: expected one of {', '.join(ColumnType)}, got {shown(each['type'])}."
        ) from None
    required = each.get("required")
    if required is None:
        required = not each.get("optional", False)  # until MLflow 2.5
    if not isinstance(required, bool):
        raise ArtefactError(f"{field}.required: expected true or false, got {shown(required)}.")
    return Column(name, kind, required)


def _tensor(each: Mapping[str, object], name: str, field: str) -> TensorInput:
    described = each.get("tensor-spec")
    if not isinstance(described, dict):
        raise ArtefactError(f"{field}.tensor-spec: expected dtype and shape, got {shown(described)}.")
    dtype, shape = described.get("dtype"), described.get("shape")
    if not isinstance(dtype, str):
        raise ArtefactError(f"{field}.tensor-spec.dtype: expected a string, got {shown(dtype)}.")
    if not isinstance(shape, list) or not all(type(size) is int for size in shape):
        raise ArtefactError(f"{field}.tensor-spec.shape: expected a list of whole numbers, got {shown(shape)}.")
    return TensorInput(name, dtype, tuple(shape))


# --- features -------------------------------------------------------------------------------------------------------


def features_by_signature(
    features: Sequence[Feature], signature: Signature, *, with_optional: bool, with_categories: bool
) -> tuple[list[Feature], list[str]]:
    """Return the features of a graph as the signature describes them, and remarks for the uploader.

    Columns are matched as MLflow does: by their order if the model has one input, by the names of the inputs if it has
    several. The features are in the order of the signature, in which the uploader's rows are.

    Parameters
    ----------
    with_optional, with_categories
        Whether columns that are not required become optional, and boolean ones categorical.

    Raises
    ------
    ArtefactError
        The signature describes other inputs, or a column has a type that the input does not take.
    """
    if signature.tensors:
        _refuse_other_tensors(features, signature.tensors)
        return list(features), [_NAMELESS]
    if not signature.columns[0].name and len({feature.input_name for feature in features}) > 1:
        return list(features), [_NAMELESS]  # the order of several inputs says nothing about the columns
    pairs, remarks = _matched(features, signature.columns)
    described = []
    for feature, column in pairs:
        _refuse_other_type(feature, column)
        is_category = with_categories and column.type is ColumnType.BOOLEAN
        is_optional = with_optional and not column.is_required and _can_be_missing(feature)
        described.append(
            replace(
                feature,
                name=column.name,
                kind=FeatureKind.CATEGORICAL if is_category else feature.kind,
                is_required=not is_optional,
            )
        )
    if with_optional:
        remarks += _remarks_on_optional(pairs)
    if with_categories and (
        names := [
            column.name
            for feature, column in pairs
            if column.type is ColumnType.BOOLEAN and feature.tensor_type is not TensorType.BOOL
        ]
    ):
        remarks.append(f"Boolean in the MLflow signature, so categories: {_listed(names)}.")
    for (kind, tensor_type), limit in _LIMITS.items():
        of_type = [each for each in pairs if (each[1].type, each[0].tensor_type) == (kind, tensor_type)]
        if of_type:
            names = [column.name for feature, column in of_type]
            remarks.append(
                f"{kind.capitalize()} in the MLflow signature, {tensor_type} in the file, so whole numbers {limit}: "
                f"{_listed(names)}."
            )
    return described, remarks


def _matched(features: Sequence[Feature], columns: Sequence[Column]) -> tuple[list[tuple[Feature, Column]], list[str]]:
    """Return each feature with its column, in the order of the columns, and remarks.

    A column without a name gets that of its feature.
    """
    inputs = [feature.input_name for feature in features]
    if len(set(inputs)) == 1:
        if len(columns) != len(features):
            raise ArtefactError(
                f"The MLflow signature has {len(columns)} columns; the model has {len(features)} features. Log the "
                f"model with the signature of the rows that it takes. {_WITHOUT}"
            )
        named = [replace(column, name=column.name or each.name) for each, column in zip(features, columns, strict=True)]
        return list(zip(features, named, strict=True)), [_NAMED if columns[0].name else _NAMELESS]
    if len(set(inputs)) < len(inputs):
        raise ArtefactError(
            "The MLflow signature has columns, but the model has several inputs and one of them takes several columns, "
            f"so their order is unknown. {_WITHOUT}"
        )
    by_input = {feature.input_name: feature for feature in features}
    of_column = {column.name: column.name if column.name in by_input else _as_input(column.name) for column in columns}
    pairs = [(by_input[of_column[column.name]], column) for column in columns if of_column[column.name] in by_input]
    matched = [feature.input_name for feature, _ in pairs]
    if len(set(matched)) < len(matched):
        raise ArtefactError(f"Several columns of the MLflow signature fit the same input of the model. {_WITHOUT}")
    if absent := [name for name in inputs if name not in matched]:
        raise ArtefactError(
            f"The MLflow signature has no column for the input {shown(absent[0])} of the model. Its columns: "
            f"{_listed([column.name for column in columns])}. {_WITHOUT}"
        )
    remarks = [_NAMED]
    if matched != inputs:
        remarks.append("The features are in the order of the MLflow signature, not of the file's inputs.")
    if unused := [column.name for column in columns if of_column[column.name] not in by_input]:
        remarks.append(f"In the MLflow signature, but not inputs of the model: {_listed(unused)}.")
    return pairs, remarks


def _as_input(name: str) -> str:
    """Return the name that skl2onnx gives to the input of a column."""
    name = re.sub(r"[^\w+]", "_", name)
    return f"_{name}" if re.match("[0-9]", name) else name


def _refuse_other_type(feature: Feature, column: Column) -> None:
    what = f"Column {shown(column.name)} is {column.type} in the MLflow signature"
    if column.type not in _HELD:
        raise ArtefactError(
            f"{what}, which no feature can be. Give the model a number, a string or true and false instead. {_WITHOUT}"
        )
    if feature.tensor_type not in _HELD[column.type]:
        raise ArtefactError(
            f"{what}, but the model's input {shown(feature.input_name)} takes {feature.tensor_type}. Log the "
            "model with the signature of the rows that the ONNX file takes, or convert it with the types of the "
            f"signature. {_WITHOUT}"
        )


def _refuse_other_tensors(features: Sequence[Feature], tensors: Sequence[TensorInput]) -> None:
    inputs = {feature.input_name: feature for feature in features}
    widths = {name: sum(feature.input_name == name for feature in features) for name in inputs}
    if len(tensors) == 1 and len(inputs) == 1:
        tensors = [replace(tensors[0], name=next(iter(inputs)))]  # MLflow passes the only tensor whatever its name
    if unlike := {tensor.name for tensor in tensors} ^ set(inputs):
        raise ArtefactError(
            f"The MLflow signature has the tensors {_listed([tensor.name for tensor in tensors])}, but the model has "
            f"the inputs {_listed(list(inputs))}: {shown(min(unlike))} is not in both. {_WITHOUT}"
        )
    for tensor in tensors:
        what = f"Tensor {shown(tensor.name)} of the MLflow signature"
        width = tensor.shape[-1] if len(tensor.shape) > 1 else 1
        if len(tensor.shape) > 2 or width not in (-1, widths[tensor.name]):
            raise ArtefactError(
                f"{what} has the shape {list(tensor.shape)}, but the model's input takes {widths[tensor.name]} "
                f"columns. {_WITHOUT}"
            )
        is_string = not re.fullmatch(r"(float|u?int)\d+|bool", tensor.dtype)
        tensor_type = inputs[tensor.name].tensor_type
        if is_string != (tensor_type is TensorType.STRING):
            raise ArtefactError(
                f"{what} is {shown(tensor.dtype)}, but the model's input takes {tensor_type}. {_WITHOUT}"
            )


def _can_be_missing(feature: Feature) -> bool:
    return feature.tensor_type in (*_FLOATS, TensorType.STRING)


def _remarks_on_optional(pairs: Iterable[tuple[Feature, Column]]) -> list[str]:
    optional = [(feature, column.name) for feature, column in pairs if not column.is_required]
    remarks = []
    if names := [name for feature, name in optional if _can_be_missing(feature)]:
        remarks.append(
            f'Optional in the MLflow signature, so a missing value is NaN (of a string: ""): {_listed(names)}.'
        )
    if names := [name for feature, name in optional if not _can_be_missing(feature)]:
        remarks.append(
            "Optional in the MLflow signature, but required, because the file's integers and booleans cannot be "
            f"missing: {_listed(names)}."
        )
    return remarks


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(shown(name, 60) for name in names[:10]) + more
