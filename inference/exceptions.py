"""What can go wrong on the way to an answer, in words for the client."""

from collections.abc import Sequence


class InferenceError(Exception):
    """Base of the errors of the prediction path."""


class PayloadError(InferenceError):
    """The body is JSON, but not of the form that the call takes."""


class RowValueError(InferenceError):
    """A value that the model's schema refuses.

    Parameters
    ----------
    row
        Index of the row in the request, from 0.
    feature
        Name of the feature; "" where the row as a whole is wrong.
    reason
        What is wrong and what is expected.
    """

    def __init__(self, row: int, feature: str, reason: str) -> None:
        place = f"row {row}, feature {feature!r}" if feature else f"row {row}"
        super().__init__(f"{place}: {reason}")
        self.row = row
        self.feature = feature
        self.reason = reason


class NoVersionLoadedError(InferenceError):
    """The model exists, but no version of it can answer now."""


class RegistryUnreadError(NoVersionLoadedError):
    """This process has not read the registry yet: it started while the database was away."""

    def __init__(self) -> None:
        super().__init__("This server has just started and has not read its models yet.")


class ArchivedVersionError(InferenceError):
    """The version asked for is archived."""


class ArchiveError(InferenceError):
    """Observations could not be archived now; they wait in Redis."""


class RetentionError(InferenceError):
    """Some of what is not kept any longer could not be deleted; the rest was.

    Parameters
    ----------
    failures
        What failed, and why.
    """

    def __init__(self, failures: Sequence[str]) -> None:
        super().__init__(failures)
        self.failures = tuple(failures)

    def __str__(self) -> str:
        return "; ".join(self.failures)


class ItemError(InferenceError):
    """An item that a client sent and that cannot be taken.

    Parameters
    ----------
    field
        What is wrong in it; "" where it is the item as a whole.
    reason
        What is wrong and what is expected.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field} {reason}" if field else f"the item {reason}")
        self.field = field
        self.reason = reason


class ObservationError(ItemError):
    """An observation of another server that cannot be taken."""
