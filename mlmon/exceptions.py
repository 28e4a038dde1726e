"""Errors of the library, in words for the person whose file or value caused them."""


class MlmonError(Exception):
    """Base of the library's errors."""


class ReferenceFileError(MlmonError):
    """The uploaded reference data cannot be used; the message names column and row where it can."""


class LabelError(MlmonError):
    """A ground truth that no prediction of the model could have."""
