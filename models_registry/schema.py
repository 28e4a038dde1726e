"""The inputs and outputs of a model, read from the ONNX graph and edited by people."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from mlmon.schema import Feature, TaskType

# Rows of one run, as tried when the version was uploaded. Larger requests are split.
MOST_ROWS_AT_ONCE = 512


class ScoreKind(StrEnum):
    """What the scores of a classifier are; confidence exists for the first two."""

    PROBABILITIES = "probabilities"
    LOGITS = "logits"
    MARGINS = "margins"


@dataclass(frozen=True, slots=True)
class Declaration:
    """What an uploader states about the outputs of a model, where the graph does not prove it.

    Attributes
    ----------
    task, scores
        None if not stated.
    classes
        Class labels in the order of the score columns; empty if not stated. Of a single number, the second class is
        that of large numbers.
    """

    task: TaskType | None = None
    scores: ScoreKind | None = None
    classes: tuple[str, ...] = ()

    @classmethod
    def of(cls, task: str, scores: str, classes: Iterable[str]) -> "Declaration":
        """Return a declaration from the values of a form; "" is not stated."""
        return cls(TaskType(task) if task else None, ScoreKind(scores) if scores else None, tuple(classes))


@dataclass(frozen=True, slots=True)
class ModelSchema:
    """Inputs and outputs of a model version.

    Of a version that is served elsewhere, the outputs are "", and a classifier's scores are probabilities.

    Attributes
    ----------
    task_type
        Classification, regression or anomaly.
    features
        In the order of positional rows (``{"features": [f1, f2, ...]}``).
    classes
        Class labels as strings, in the order of the score columns; empty for regression. Of an anomaly model: "-1" for
        an anomaly and "1".
    label_output
        The ONNX output with the predicted label (for regression, the predicted number); "" for a classifier that only
        returns scores, whose prediction is the class with the largest score.
    score_output
        The ONNX output with scores, of shape rows x classes, or ""; rows x 1 for an anomaly model, and for two classes
        if the number is the score of the second.
    score_kind
        What the scores are, or None without scores.
    rows_at_once
        The most rows of one run of the model; larger batches are split.
    """

    task_type: TaskType
    features: tuple[Feature, ...]
    classes: tuple[str, ...]
    label_output: str
    score_output: str
    score_kind: ScoreKind | None
    rows_at_once: int = MOST_ROWS_AT_ONCE
