"""What the trial process is told about an upload and what it reports, as JSON."""

from typing import TypedDict


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

    ``width`` is the number of columns where every result had shape rows or rows x width, else None; ``shape`` is that
    of the result for three rows. ``is_probability`` means that every finite row is in [0, 1] and sums to 1. ``rows``
    holds, for each row but those of the large batch, the label or the position of the largest number ("" where there
    are several, or none). ``stored_classes`` and ``is_regressor`` are what the graph says.
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
    """What the model is, or why it is none: ``failure`` is "refused", "memory", "text", "load", "predict" or ""."""

    framework: str
    inputs: list[InputTensor]
    outputs: list[OutputTensor]
    failure: str
    message: str
