"""The features of a model whose file knows tensors only."""

from collections.abc import Sequence

from mlmon.schema import Feature, FeatureKind, TensorType
from models_registry.artefact_report import InputTensor
from models_registry.exceptions import ArtefactError

# What the registry's tables hold.
LONGEST_TENSOR_NAME = 255
LONGEST_NAME = 128


def features_of(inputs: Sequence[InputTensor]) -> tuple[Feature, ...]:
    """Return a feature for each column of the inputs.

    They are called f0, f1, ... in a single tensor, else as their input, numbered where that is wider than 1. Strings
    and booleans are categorical. All are required: an integer tensor cannot hold a missing value, and whether another
    may be missing is for people to say.

    Raises
    ------
    ArtefactError
        A name cannot be used, or two columns would share one.
    """
    for each in inputs:
        refuse_name(each["name"], "Input name", LONGEST_TENSOR_NAME)
    features = tuple(
        Feature(
            name=_name(each, column, alone=len(inputs) == 1),
            kind=_kind(TensorType(each["tensor_type"])),
            is_required=True,
            input_name=each["name"],
            column=column,
            tensor_type=TensorType(each["tensor_type"]),
        )
        for each in inputs
        for column in range(each["width"])
    )
    seen: set[str] = set()
    for feature in features:
        refuse_name(feature.name, "Feature name", LONGEST_NAME)
        if feature.name in seen:
            raise ArtefactError(f"Two columns would be called {feature.name!r}. Rename the inputs of the model.")
        seen.add(feature.name)
    return features


def refuse_name(name: str, what: str, longest: int) -> None:
    """Refuse a name that is empty, too long for the registry, or that would break a line or a label.

    Raises
    ------
    ArtefactError
        Saying ``what`` has the name.
    """
    if not name.strip() or len(name) > longest or not name.isprintable():
        raise ArtefactError(
            f"{what} {name[:longest]!r} cannot be used: 1 to {longest} printable characters are needed. Rename it."
        )


def _name(each: InputTensor, column: int, *, alone: bool) -> str:
    if each["width"] == 1:
        return each["name"]
    return f"f{column}" if alone else f"{each['name']}_{column}"


def _kind(tensor_type: TensorType) -> FeatureKind:
    is_level = tensor_type in (TensorType.STRING, TensorType.BOOL)
    return FeatureKind.CATEGORICAL if is_level else FeatureKind.NUMERIC
