"""Errors of the library. Their messages are for the person whose file or value caused them."""


class MlmonError(Exception):
    """Base class of the library's errors."""


class ReferenceFileError(MlmonError):
    """Reference data that cannot be used. The message names the column and the row if there is one."""


class ComparisonInputError(MlmonError):
    """A file or table that cannot be compared. The message names it, and the column and row if there is one."""


class MissingExtraError(MlmonError):
    """An option needs packages of an extra that is not installed."""


class LabelError(MlmonError):
    """Ground truth that no prediction of the model can equal."""
