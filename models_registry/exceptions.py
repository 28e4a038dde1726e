"""Errors of the registry. Their messages are for the person who caused them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mlmon.exceptions import ReferenceFileError
from mlmon.schema import TaskType

if TYPE_CHECKING:
    from models_registry.schema import ScoreKind


class RegistryError(Exception):
    """Base class of the registry's errors."""


class UnknownModelError(RegistryError):
    """No model has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no model named {name!r}.")


class UnknownVersionError(RegistryError):
    """The model has no such version."""

    def __init__(self, name: str, version: str) -> None:
        super().__init__(f"Model {name!r} has no version {version!r}.")


class UnknownJobError(RegistryError):
    """The model has no such job."""

    def __init__(self, name: str, job_id: int) -> None:
        super().__init__(f"Model {name!r} has no job {job_id}.")


class ConflictError(RegistryError):
    """The change contradicts what is stored."""


class ContradictionError(ConflictError):
    """The row exists with other values than a repeated request has.

    Parameters
    ----------
    row
        The row, as people name it.
    reasons
        By field of the request: the stored value and the request's.
    """

    def __init__(self, row: str, reasons: Mapping[str, str]) -> None:
        super().__init__(f"{row} is stored already. " + " ".join(f"{name}: {text}" for name, text in reasons.items()))
        self.reasons = reasons


class ArtefactError(RegistryError):
    """The uploaded file is not a model that can be served."""


class UndeclaredOutputError(ArtefactError):
    """The file does not prove what its outputs mean, and the uploader has not stated it.

    Attributes
    ----------
    question
        What the file leaves open.
    choices
        What can be stated: task, kind of the scores (None: nothing), and what that means.
    """

    def __init__(self, question: str, choices: Sequence[tuple[TaskType, "ScoreKind | None", str]]) -> None:
        self.question = question
        self.choices = tuple(choices)
        super().__init__(f"{question} {self.advice('State', 'task={task}', 'scores={scores}')}")

    def advice(self, verb: str, task_text: str, scores_text: str) -> str:
        """Return the choices as a sentence, each with `task_text` and `scores_text` filled in."""
        sentences = []
        for task, scores, meaning in self.choices:
            stated = [task_text.format(task=task)] + ([scores_text.format(scores=scores)] if scores else [])
            sentences.append(f"{' '.join(stated)} ({meaning})")
        return f"{verb} {', or '.join(sentences)}."


class LargeArtefactError(ArtefactError):
    """The uploaded model is larger than the limit."""


class SchemaError(RegistryError):
    """The stated schema of a version that is served elsewhere is invalid.

    Parameters
    ----------
    reasons
        By place in the document, such as "features[2].type"; "" is the document itself.
    """

    def __init__(self, reasons: Mapping[str, str]) -> None:
        self.reasons = {place or "schema": reason for place, reason in reasons.items()}
        super().__init__(" ".join(f"{place}: {reason}" for place, reason in self.reasons.items()))


class PredictionColumnError(ReferenceFileError):
    """A column of predictions is named for a version whose predictions mlmon makes itself."""


class CheckFileError(ReferenceFileError):
    """The file with the framework's own predictions cannot be read."""


class LargeReferenceError(ReferenceFileError):
    """The uploaded reference file is larger than the limit."""


class PredictionFailedError(RegistryError):
    """ONNX Runtime failed on rows that the schema accepts."""


class NonFinitePredictionError(PredictionFailedError):
    """The prediction for a row is NaN or infinite: arithmetic on the row's values overflowed."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(f"Row {row}: {reason}")
        self.row = row
        self.reason = reason


class PredictionTimeoutError(PredictionFailedError):
    """The model exceeded its time limit."""
