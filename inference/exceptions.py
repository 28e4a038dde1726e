"""Errors of predict requests, capture and the archive; the messages are for the client."""


class InferenceError(Exception):
    """Base of the errors of inference."""


class PayloadError(InferenceError):
    """The body is valid JSON but does not have the expected form."""


class UnreadableBodyError(InferenceError):
    """The body cannot be taken apart: it is not JSON, or its parts have other lengths than stated."""


class LargeBodyError(InferenceError):
    """The body is larger than allowed once it is decompressed."""


class UnsupportedEncodingError(InferenceError):
    """The body is compressed in a way that is not supported."""


class NoVersionLoadedError(InferenceError):
    """The model exists, but none of its versions can predict now."""


class RegistryUnreadError(NoVersionLoadedError):
    """This process has not read the registry yet: it started while the database was unavailable."""

    def __init__(self) -> None:
        super().__init__("This server has just started and has not loaded its models yet. Try again in a few seconds.")


class ArchivedVersionError(InferenceError):
    """The requested version is archived."""


class ArchiveError(InferenceError):
    """Observations could not be archived now; they stay in Redis."""


class RetentionError(InferenceError):
    """Some expired rows could not be deleted; the others were."""


class ServedElsewhereError(InferenceError):
    """The version, or each version in production, is served by another server, so it cannot predict here."""

    def __init__(self, model_name: str, version: str | None = None) -> None:
        subject = f"Version {version} of {model_name}" if version else f"Model {model_name}"
        super().__init__(
            f"{subject} is served elsewhere and cannot predict here. Send requests to its own server, and its "
            f"predictions to /api/v1/models/{model_name}/observations."
        )


class ItemError(InferenceError):
    """An invalid item of a request.

    Parameters
    ----------
    field
        Name of the invalid field; "" if the whole item is wrong.
    reason
        What is wrong and what is expected.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field} {reason}" if field else f"the item {reason}")
        self.field = field
        self.reason = reason


class EventError(InferenceError):
    """An event of KServe's payload logger that cannot be captured.

    Parameters
    ----------
    outcome
        A member of `inference.kserve.events.EventOutcome`.
    """

    def __init__(self, outcome: str, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome


class ObservationError(ItemError):
    """An invalid observation from another server."""
