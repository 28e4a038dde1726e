"""What a model takes and what it answers: pure descriptions, read from the ONNX graph and edited by people."""

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
        The ONNX output that holds the predicted label (or the predicted number for regression);
        "" for a classifier that returns scores only, whose class is then the largest score.
    score_output
        The ONNX output of shape rows x classes with scores; "" where there is none.
    scores_are_probabilities
        Whether the scores of a row are in [0, 1] and sum to 1 (then they are the confidence, else their softmax is).
    """

    task_type: TaskType
    features: tuple[Feature, ...]
    classes: tuple[str, ...]
    label_output: str
    score_output: str
    scores_are_probabilities: bool
