"""Reasons why a use case of drift cannot be carried out, in messages for people."""

from collections.abc import Sequence
from datetime import datetime


class DriftError(Exception):
    """A use case of drift cannot be carried out."""


class IncidentClosedError(DriftError):
    """The incident is closed."""

    def __init__(self, closed_at: datetime) -> None:
        super().__init__(f"This incident was closed at {closed_at:%Y-%m-%d %H:%M %Z}.")


class SnoozeInThePastError(DriftError):
    """The end of a snooze is in the past."""

    def __init__(self, until: datetime) -> None:
        super().__init__(f"{until:%Y-%m-%d %H:%M %Z} is in the past. Choose a later time.")


class FeaturesNotStoredError(DriftError):
    """A window lacks features that a reference needs."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(
            f"The rows of this window have no {', '.join(names)}, because the capture policy does not store them. "
            "Upload a file instead."
        )


class WindowGoneError(DriftError):
    """The rows of a check's window have been deleted."""

    def __init__(self, wanted: int, found: int) -> None:
        super().__init__(
            f"Only {found:,} of the {wanted:,} rows of this window are still stored. Use the window of a later check, "
            "or upload a file."
        )


class WindowAlreadyUsedError(DriftError):
    """The window of a check already is reference data."""

    def __init__(self, filename: str) -> None:
        super().__init__(f"This window already is reference data: {filename} is active, or will be once profiled.")


class NothingToCheckError(DriftError):
    """A check was requested, and there is nothing to compare."""

    def __init__(self) -> None:
        super().__init__(
            "There is nothing to check: there is no active reference, the window has too few rows, there is no new "
            "prediction since the last check, or a worker is checking it right now."
        )
