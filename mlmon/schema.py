"""Features: what a column is and how it is compared."""

from dataclasses import dataclass
from enum import StrEnum


class FeatureKind(StrEnum):
    """How a feature is compared with its reference: as an ordered number, or as a category."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"


class TaskType(StrEnum):
    """What a model predicts: one of its classes, a number, or whether a row is an anomaly (class "-1") or not ("1")."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"
    ANOMALY = "anomaly"


class TensorType(StrEnum):
    """Element types of ONNX input tensors that are served."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"
    INT32 = "int32"
    INT64 = "int64"
    BOOL = "bool"
    STRING = "string"


@dataclass(frozen=True, slots=True)
class Feature:
    """One named value of a row, and its place in the input tensors of the model.

    Attributes
    ----------
    name
        Unique in the model version; the key of named rows and the column of reference files.
    kind
        How drift is measured.
    is_required
        Whether a row without it (or with null) is rejected. Otherwise a missing value is NaN, or "" in a string tensor.
    input_name, column
        The ONNX input tensor (shape rows x width) and the column in it. Of a model that is served elsewhere: "" and the
        position of the feature.
    tensor_type
        The element type of that tensor; it decides which values the feature accepts.
    """

    name: str
    kind: FeatureKind
    is_required: bool
    input_name: str
    column: int
    tensor_type: TensorType
