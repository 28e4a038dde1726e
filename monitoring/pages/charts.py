"""Charts over time: their steps, and their lines as data for the script and as sentences."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum, StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.models import RollupSpan
from mlmon.figures import number_text, share_text
from monitoring.pages.figures import seconds_text

HOUR = 3600
DAY = 24 * HOUR
Values = list[float | None]


class TimeRange(Enum):
    """A time range up to now: its key in URLs, its label, its length and step in seconds, and the rows it reads.

    Each range has about a hundred steps, as many as a chart can show.
    """

    ONE_HOUR = "1h", "1 hour", HOUR, 60, RollupSpan.MINUTE
    SIX_HOURS = "6h", "6 hours", 6 * HOUR, 300, RollupSpan.MINUTE
    ONE_DAY = "24h", "24 hours", DAY, 900, RollupSpan.MINUTE
    SEVEN_DAYS = "7d", "7 days", 7 * DAY, 2 * HOUR, RollupSpan.HOUR
    THIRTY_DAYS = "30d", "30 days", 30 * DAY, 8 * HOUR, RollupSpan.HOUR
    NINETY_DAYS = "90d", "90 days", 90 * DAY, DAY, RollupSpan.HOUR

    def __init__(self, key: str, label: str, seconds: int, step_seconds: int, span: RollupSpan) -> None:
        self.key = key
        self.label = label
        self.seconds = seconds
        self.step_seconds = step_seconds
        self.span = span

    @classmethod
    def covering(cls, seconds: float) -> "TimeRange":
        """Return the shortest range of at least that length, or the longest range."""
        return next((one for one in cls if one.seconds >= seconds), cls.NINETY_DAYS)

    @classmethod
    def chosen(cls, key: str, age: timedelta) -> "TimeRange":
        """Return the range with that key; without one, a day, or less for a younger model."""
        default = min(cls.covering(age.total_seconds()), cls.ONE_DAY, key=lambda one: one.seconds)
        return next((one for one in cls if one.key == key), default)


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps of a range that ends now.

    Attributes
    ----------
    begins
        Unix time of the start of each step, ascending, shape (n,); the last step contains `now`.
    """

    now: datetime
    seconds: int
    begins: NDArray[np.int64]

    @classmethod
    def of(cls, time_range: TimeRange, now: datetime) -> "Steps":
        """Return the steps of a range; they start at multiples of its step in Unix time."""
        step = time_range.step_seconds
        last = int(now.timestamp()) // step * step
        begins = np.arange(last - time_range.seconds + step, last + 1, step, dtype=np.int64)
        return cls(now=now, seconds=step, begins=begins)

    @property
    def since(self) -> datetime:
        """Start of the first step."""
        return datetime.fromtimestamp(int(self.begins[0]), UTC)

    def place_of(self, moment: datetime) -> int:
        """Return the step of a moment; the first or the last step for moments outside the range."""
        place = (int(moment.timestamp()) - int(self.begins[0])) // self.seconds
        return min(max(place, 0), len(self.begins) - 1)


class Unit(StrEnum):
    """The unit of a chart; charts.js writes its numbers in the same way."""

    COUNT = "count"
    RATE = "rate"  # per minute
    SECONDS = "seconds"
    RATIO = "ratio"
    NUMBER = "number"

    def text(self, value: float) -> str:
        """Return a number with its unit."""
        match self:
            case Unit.SECONDS:
                return seconds_text(value)
            case Unit.RATIO:
                return share_text(value)
            case Unit.COUNT:
                return f"{value:,.0f}"
            case _:
                return number_text(value)


class Stroke(StrEnum):
    """The style of a line."""

    SOLID = "solid"
    DASHED = "dashed"  # an estimate
    LIMIT = "limit"  # a threshold


@dataclass(frozen=True, slots=True)
class Line:
    """One line: a value for each step, None for steps without one."""

    label: str
    values: Values
    stroke: Stroke = Stroke.SOLID

    @property
    def is_empty(self) -> bool:
        return all(value is None for value in self.values)


@dataclass(frozen=True, slots=True)
class Span:
    """A period that a chart shades, in Unix time, such as an incident."""

    begin: int
    end: int
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over the same steps.

    Attributes
    ----------
    key
        Unique on the page.
    steps
        Unix time.
    nothing
        Text for a chart without values, with what to do next.
    from_zero
        Whether the axis always starts at 0, so that small values look small.
    """

    key: str
    title: str
    unit: Unit
    steps: list[int]
    lines: Sequence[Line]
    note: str = ""
    nothing: str = "There are no values in this range."
    spans: Sequence[Span] = field(default_factory=tuple)
    from_zero: bool = False

    @property
    def is_empty(self) -> bool:
        return all(line.is_empty for line in self.lines if line.stroke != Stroke.LIMIT)

    @property
    def summary(self) -> list[str]:
        """One sentence for each line."""
        sentences = []
        for line in self.lines:
            known = [value for value in line.values if value is not None]
            if known:
                lowest, highest, last = (self.unit.text(value) for value in (min(known), max(known), known[-1]))
                is_constant = line.stroke == Stroke.LIMIT or lowest == highest
                sentences.append(
                    f"{line.label}: {last}" if is_constant else f"{line.label}: from {lowest} to {highest}, last {last}"
                )
        return sentences

    @property
    def payload(self) -> dict[str, Any]:
        """The data that the script draws."""
        return {
            "unit": self.unit,
            "steps": self.steps,
            "lines": [asdict(line) for line in self.lines if not line.is_empty],
            "spans": [asdict(span) for span in self.spans],
            "fromZero": self.from_zero,
        }
