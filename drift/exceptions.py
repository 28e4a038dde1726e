"""What the use cases of drift refuse, in words for the person who asked."""

from collections.abc import Sequence
from datetime import datetime


class DriftError(Exception):
    """A use case of drift cannot be carried out."""


class IncidentClosedError(DriftError):
    """The incident is over."""

    def __init__(self, closed_at: datetime) -> None:
        super().__init__(f"This incident was closed at {closed_at:%Y-%m-%d %H:%M %Z}.")


class SnoozeInThePastError(DriftError):
    """The time to snooze until has passed."""

    def __init__(self, until: datetime) -> None:
        super().__init__(f"{until:%Y-%m-%d %H:%M %Z} has passed; give a time to come.")


class FeaturesNotStoredError(DriftError):
    """A window lacks features that a reference needs."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(
            f"The rows of this window lack {', '.join(names)}, which the capture policy does not store. Upload a file."
        )


class WindowGoneError(DriftError):
    """The rows of a check's window are not kept any more."""

    def __init__(self, wanted: int, found: int) -> None:
        super().__init__(
            f"Of the {wanted:,} rows of this window {found:,} are kept. Make a newer window the reference, "
            "or upload a file."
        )


class WindowAlreadyUsedError(DriftError):
    """The window of a check was made reference data already."""

    def __init__(self, filename: str) -> None:
        super().__init__(f"This window is reference data already: {filename} is in force, or will be once profiled.")


class NothingToCheckError(DriftError):
    """A check was asked for, and there is nothing to compare."""

    def __init__(self) -> None:
        super().__init__(
            "There is nothing to check: no reference is in force, the window has too few rows, no prediction has come "
            "since the last check, or a worker is checking it just now."
        )
