"""Errors of the library. Their messages are for the person whose file or value caused them."""

from enum import StrEnum


class MlmonError(Exception):
    """Base class of the library's errors."""


class RowErrorCode(StrEnum):
    """Why a value, or the row that contains it, is refused."""

    MISSING = "missing"
    WRONG_TYPE = "wrong_type"
    OUT_OF_RANGE = "out_of_range"
    TOO_LONG = "too_long"
    INVALID_STRING = "invalid_string"  # with a NUL character, or not UTF-8
    UNKNOWN_FEATURE = "unknown_feature"
    WRONG_LENGTH = "wrong_length"
    WRONG_FORM = "wrong_form"  # a row that is neither a list nor an object
    NO_FINITE_PREDICTION = "no_finite_prediction"


class RowValueError(MlmonError):
    """A value that a feature cannot have.

    Parameters
    ----------
    row
        Index of the row in the request or in the batch, from 0.
    feature
        Name of the feature; "" if the whole row is wrong.
    reason
        What is wrong and what is expected.
    code
        The kind of reason.
    without_value
        The reason with the type of the value in place of the value, which may be personal data; by default `reason`.
    """

    def __init__(self, row: int, feature: str, reason: str, *, code: RowErrorCode, without_value: str = "") -> None:
        place = f"row {row}, feature {feature!r}" if feature else f"row {row}"
        super().__init__(f"{place}: {reason}")
        self.row = row
        self.feature = feature
        self.reason = reason
        self.code = code
        self.without_value = without_value or reason


class ReferenceFileError(MlmonError):
    """Reference data that cannot be used. The message names the column and the row if there is one."""


class TimeZoneError(MlmonError):
    """A name that no time zone has. The message suggests similar ones."""


class TimeValueError(MlmonError):
    """A value of a column of times that is no time.

    Parameters
    ----------
    row
        Index of the row in the column, from 0.
    reason
        What is wrong and what is expected.
    """

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(f"row {row}: {reason}")
        self.row = row
        self.reason = reason


class ComparisonInputError(MlmonError):
    """A file or table that cannot be compared. The message names it, and the column and row if there is one."""


class ResultFileError(MlmonError):
    """A file for the result that cannot be written. The message names the option and the file."""


class MissingExtraError(MlmonError):
    """An option needs packages of an extra that is not installed."""


class LabelError(MlmonError):
    """Ground truth that no prediction of the model can equal."""


class EvidenceInputError(MlmonError):
    """Counts or settings from which no evidence can be computed. The message names the field and the entry."""
