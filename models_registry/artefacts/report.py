"""What the trial of an uploaded model reports, as JSON, and the features that follow from its input tensors."""

from collections.abc import Sequence
from enum import StrEnum
from typing import TypedDict

from mlmon.schema import Feature, FeatureKind, TensorType
from models_registry.exceptions import ArtefactError

# Limits of the registry's tables.
LONGEST_TENSOR_NAME = 255
LONGEST_NAME = 128
# Between two predictions of the same row that count as equal.
RELATIVE_TOLERANCE = 1e-5
ABSOLUTE_TOLERANCE = 1e-6


class OutputOrigin(StrEnum):
    """What computes an output: an operator, votes of several models, or any operator of an exporter of labels.

    The latter (``LABEL_EXPORTER``) writes a label output for every classifier.
    """

    REGRESSOR = "regressor"
    CLASSIFIER = "classifier"
    SOFTMAX = "softmax"
    LOG_SOFTMAX = "log_softmax"
    SIGMOID = "sigmoid"
    VOTES = "votes"
    LABEL_EXPORTER = "label_exporter"
    UNKNOWN = "unknown"


class TrialSpecification(TypedDict):
    """The file, and the limits of the process that reads it.

    ``empty_folder`` becomes the working directory. ``data_files`` holds paths of the uploaded files beside the model by
    the name that the model may use. The normalised model is written to ``normalised_path`` if it differs from the file.
    """

    path: str
    empty_folder: str
    data_files: dict[str, str]
    normalised_path: str
    size_bytes: int
    memory_bytes: int
    cpu_seconds: int
    batch_rows: int
    max_features: int


class InputTensor(TypedDict):
    """An input of the model: rows x width (rank 2), or rows (rank 1, width 1); ``tensor_type`` of `TensorType`.

    ``fixed_rows`` is the number of rows that the exporter has fixed, or 0.
    """

    name: str
    tensor_type: str
    width: int
    rank: int
    fixed_rows: int


class OutputTensor(TypedDict):
    """An output of the model, over all sample rows.

    ``width`` is the number of columns if every run had one result for each row, else None; ``shape`` is that of the
    result for three rows. ``is_probability`` means that every finite row is in [0, 1] and sums to 1; for a width of 1,
    that it is in [0, 1]. ``is_log_probability`` means that of the exponentials. ``is_opposite`` means that the two
    numbers of each row are each other's negative, ``is_whole`` that all numbers are whole. ``rows`` holds, for each row
    except those of the large batch, the label or the position of the largest number ("" if several are largest). For a
    width of 1, ``rows`` has "0" for a negative number, else "1", and ``halves`` "0" for one below 0.5, else "1".
    ``sample`` holds the first numbers of the generic rows. ``stored_classes`` and ``origin`` come from the graph.
    """

    name: str
    dtype: str
    shape: list[int]
    width: int | None
    is_finite: bool
    is_probability: bool
    is_log_probability: bool
    is_opposite: bool
    is_whole: bool
    labels: list[str]
    rows: list[str]
    halves: list[str]
    sample: list[float]
    stored_classes: list[str]
    origin: str


class TrialReport(TypedDict):
    """The model, or why the file is not one.

    ``changes`` has a sentence for each difference between the file and what is served; ``is_normalised`` says that
    another file is served. ``rows_at_once`` is the largest number of rows of one run. ``failure`` is "refused",
    "memory", "encoding", "damaged", "load", "predict", or "" if there is none; ``tried_rows`` is the number of rows of
    the run that failed.
    """

    framework: str
    producer: str
    inputs: list[InputTensor]
    outputs: list[OutputTensor]
    changes: list[str]
    is_normalised: bool
    rows_at_once: int
    failure: str
    message: str
    tried_rows: int


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
