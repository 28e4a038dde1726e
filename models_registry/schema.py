"""The inputs and outputs of a model, read from the ONNX graph and edited by people."""

from dataclasses import dataclass

from mlmon.schema import Feature, TaskType


@dataclass(frozen=True, slots=True)
class ModelSchema:
    """Inputs and outputs of a model version.

    Attributes
    ----------
    task_type
        Classification or regression.
    features
        In the order of positional rows (``{"features": [f1, f2, ...]}``).
    classes
        Class labels as strings, in the order of the score columns; empty for regression.
    label_output
        The ONNX output with the predicted label (for regression, the predicted number); "" for a classifier that only
        returns scores, whose prediction is the class with the largest score.
    score_output
        The ONNX output with scores, of shape rows x classes, or "".
    scores_are_probabilities
        Whether the scores of a row are in [0, 1] and sum to 1. Otherwise the confidence is their softmax.
    """

    task_type: TaskType
    features: tuple[Feature, ...]
    classes: tuple[str, ...]
    label_output: str
    score_output: str
    scores_are_probabilities: bool
