"""Errors of the registry. Their messages are for the person who caused them."""


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


class ConflictError(RegistryError):
    """The change contradicts what is stored."""


class ArtefactError(RegistryError):
    """The uploaded file is not a model that can be served."""


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
