"""Why requests and observations were rejected: by feature and reason, for `/metrics` and for the model's page.

An example text names types, never values: a rejected value may be personal data, and neither the capture policy nor the
retention of observations applies to it. Names of unknown keys are shown, because a renamed feature is found by them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from inference.exceptions import ObservationError, PayloadError
from mlmon.exceptions import RowErrorCode, RowValueError
from mlmon.schema import Feature, TensorType

# In place of a feature's name.
UNKNOWN_FEATURE = "unknown"  # a key that the schema does not have
WHOLE_ROW = "row"
WHOLE_REQUEST = "request"
OTHERS = "other"
MOST_PAIRS = 50  # of feature and reason in one minute of one process; further ones are counted as "other"
LONGEST_EXAMPLE = 300  # characters


class RequestErrorCode(StrEnum):
    """Why a request or an observation is rejected as a whole; `RowErrorCode` are the reasons of values and rows."""

    UNREADABLE = "unreadable"  # no JSON, another media type, too large
    NOT_PERMITTED = "not_permitted"
    UNKNOWN_VERSION = "unknown_version"  # or an archived one
    SERVED_ELSEWHERE = "served_elsewhere"  # so that no version can predict here
    WRONG_BODY = "wrong_body"  # JSON of another form
    INVALID_FIELD = "invalid_field"  # of an observation, such as its prediction


@dataclass(frozen=True, slots=True)
class Rejection:
    """The first reason why a request or an observation was rejected.

    Attributes
    ----------
    feature_name
        A feature of the schema, or `UNKNOWN_FEATURE`, `WHOLE_ROW` or `WHOLE_REQUEST`: never a client's string.
    reason
        A member of `RowErrorCode` or of `RequestErrorCode`.
    example
        The reason in words, without values.
    """

    feature_name: str
    reason: str
    example: str

    @classmethod
    def of(cls, error: RowValueError | PayloadError | ObservationError) -> Self:
        """Return the rejection that an error means."""
        if isinstance(error, RowValueError):
            feature_name = error.feature or WHOLE_ROW
            if error.code is RowErrorCode.UNKNOWN_FEATURE:
                feature_name = UNKNOWN_FEATURE
            return cls(feature_name, error.code.value, _example(error.without_value))
        if isinstance(error, ObservationError):  # its reason may contain a value
            example = f"the field {error.field} of an observation is invalid" if error.field else "not an observation"
            return cls(WHOLE_ROW, RequestErrorCode.INVALID_FIELD.value, _example(example))
        return cls.of_request(RequestErrorCode.WRONG_BODY, "the body has another form than the API expects")

    @classmethod
    def of_request(cls, code: RequestErrorCode, example: str) -> Self:
        """Return the rejection of a whole request."""
        return cls(WHOLE_REQUEST, code.value, _example(example))


def _example(text: str) -> str:
    """Return a text that JSON and the database can store, whatever a client sent."""
    return "".join(one if one.isprintable() else "?" for one in text[:LONGEST_EXAMPLE])


def possible_rejections(features: tuple[Feature, ...]) -> Iterator[tuple[str, str]]:
    """Yield the feature names and reasons with which the requests of a version can be rejected."""
    for feature in features:
        yield feature.name, RowErrorCode.WRONG_TYPE.value
        if feature.is_required:
            yield feature.name, RowErrorCode.MISSING.value
        if feature.tensor_type is not TensorType.STRING:
            yield feature.name, RowErrorCode.OUT_OF_RANGE.value
        else:
            yield feature.name, RowErrorCode.TOO_LONG.value
            yield feature.name, RowErrorCode.INVALID_STRING.value
    yield UNKNOWN_FEATURE, RowErrorCode.UNKNOWN_FEATURE.value
    for row_code in (RowErrorCode.WRONG_LENGTH, RowErrorCode.WRONG_FORM, RowErrorCode.NO_FINITE_PREDICTION):
        yield WHOLE_ROW, row_code.value
    for code in RequestErrorCode:
        yield WHOLE_ROW if code is RequestErrorCode.INVALID_FIELD else WHOLE_REQUEST, code.value


@dataclass(slots=True)
class PairCount:
    """Rejections of one feature for one reason.

    Attributes
    ----------
    last_at
        Unix time of the latest one, in seconds.
    example
        The reason of the latest one.
    """

    count: int
    last_at: float
    example: str

    def add(self, other: "PairCount") -> None:
        self.count += other.count
        if other.last_at >= self.last_at:
            self.last_at, self.example = other.last_at, other.example


@dataclass(slots=True)
class RejectionCounts:
    """Rejections of one model in one minute, by feature and reason."""

    pairs: dict[tuple[str, str], PairCount] = field(default_factory=dict)

    @classmethod
    def of(cls, figures: list[tuple[str, str, int, float, str]]) -> Self:
        """Return the counts from `figures`."""
        return cls(
            {(name, reason): PairCount(count, last_at, example) for name, reason, count, last_at, example in figures}
        )

    def figures(self) -> list[tuple[str, str, int, float, str]]:
        """Return the counts as `of` expects them."""
        return [(*pair, one.count, one.last_at, one.example) for pair, one in self.pairs.items()]

    def count(self, rejection: Rejection, at: float) -> None:
        """Count a rejection at a Unix time."""
        pair, counted = (rejection.feature_name, rejection.reason), PairCount(1, at, rejection.example)
        if pair not in self.pairs and len(self.pairs) >= MOST_PAIRS:
            pair = (OTHERS, OTHERS)
        self._add(pair, counted)

    def add(self, other: "RejectionCounts") -> None:
        """Add the counts of another process to these."""
        for pair, counted in other.pairs.items():
            self._add(pair, counted)

    def _add(self, pair: tuple[str, str], counted: PairCount) -> None:
        if pair in self.pairs:
            self.pairs[pair].add(counted)
        else:
            self.pairs[pair] = counted
