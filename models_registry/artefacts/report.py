"""What the trial of an uploaded model reports, as JSON, and the features that follow from its input tensors."""

from collections.abc import Sequence
from typing import TypedDict

from mlmon.schema import Feature, FeatureKind, TensorType
from models_registry.exceptions import ArtefactError

# Limits of the registry's tables.
LONGEST_TENSOR_NAME = 255
LONGEST_NAME = 128


class TrialSpecification(TypedDict):
    """The file, and the limits of the process that reads it."""

    path: str
    memory_bytes: int
    cpu_seconds: int
    batch_rows: int
    max_features: int


class InputTensor(TypedDict):
    """An input of the model: rows x width (rank 2), or rows (rank 1, width 1); ``tensor_type`` of `TensorType`."""

    name: str
    tensor_type: str
    width: int
    rank: int


class OutputTensor(TypedDict):
    """An output of the model, over all sample rows.

    ``width`` is the number of columns if every result had the shape rows or rows x width, else None; ``shape`` is that
    of the result for three rows. ``is_probability`` means that every finite row is in [0, 1] and sums to 1. ``rows``
    holds, for each row except those of the large batch, the label or the position of the largest number ("" if several
    are largest). ``stored_classes`` and ``is_regressor`` come from the graph.
    """

    name: str
    dtype: str
    shape: list[int]
    width: int | None
    is_finite: bool
    is_probability: bool
    labels: list[str]
    rows: list[str]
    stored_classes: list[str]
    is_regressor: bool


class TrialReport(TypedDict):
    """The model, or why the file is not one.

    ``failure`` is "refused", "memory", "encoding", "load", "predict", or "" if there is none.
    """

    framework: str
    inputs: list[InputTensor]
    outputs: list[OutputTensor]
    failure: str
    message: str


def features_of(inputs: Sequence[InputTensor]) -> tuple[Feature, ...]:
    """Return a feature for each column of the inputs.

    The columns of a single tensor are named f0, f1, ...; those of several tensors are named after their input, with a
    number if it is wider than 1. Strings and booleans are categorical. All features are required: an integer tensor
    cannot hold a missing value, and for other types people decide.

    Raises
    ------
    ArtefactError
        A name is not allowed, or two columns would have the same name.
    """
    features = []
    for each in inputs:
        refuse_name(each["name"], "Input name", LONGEST_TENSOR_NAME)
        tensor_type = TensorType(each["tensor_type"])
        is_category = tensor_type in (TensorType.STRING, TensorType.BOOL)
        for column in range(each["width"]):
            name = f"f{column}" if len(inputs) == 1 else f"{each['name']}_{column}"
            features.append(
                Feature(
                    name=each["name"] if each["width"] == 1 else name,
                    kind=FeatureKind.CATEGORICAL if is_category else FeatureKind.NUMERIC,
                    is_required=True,
                    input_name=each["name"],
                    column=column,
                    tensor_type=tensor_type,
                )
            )
    seen: set[str] = set()
    for feature in features:
        refuse_name(feature.name, "Feature name", LONGEST_NAME)
        if feature.name in seen:
            raise ArtefactError(f"Two columns would have the name {feature.name!r}. Rename the inputs of the model.")
        seen.add(feature.name)
    return tuple(features)


def refuse_name(name: str, what: str, longest: int) -> None:
    """Raise ArtefactError for a name that is empty, too long for the registry, or not printable."""
    if not name.strip() or len(name) > longest or not name.isprintable():
        raise ArtefactError(
            f"{what} {name[:longest]!r} is not allowed: use 1 to {longest} printable characters. Rename it."
        )
