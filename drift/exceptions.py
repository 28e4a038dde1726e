"""Reasons why a use case of drift cannot be carried out. The message says which, and what to do."""


class DriftError(Exception):
    """A use case of drift cannot be carried out."""


class IncidentClosedError(DriftError):
    """The incident is closed."""


class SnoozeInThePastError(DriftError):
    """The end of a snooze is in the past."""


class FeaturesNotStoredError(DriftError):
    """A window lacks features that a reference needs."""


class WindowGoneError(DriftError):
    """The rows of a check's window have been deleted."""


class WindowAlreadyUsedError(DriftError):
    """The window of a check already is reference data."""


class NothingToCheckError(DriftError):
    """A check was requested, and there is nothing to compare."""
