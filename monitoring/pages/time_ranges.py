"""How far back a page looks, and in which steps."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from inference.models import RollupSpan

HOUR = 3600
DAY = 24 * HOUR


class TimeRange(Enum):
    """A time up to now: its name in addresses, its words, its length and step in seconds, and the rows that it reads.

    About a hundred steps: as many as a chart can show, and few enough to send with the page.
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
    def named(cls, key: str) -> "TimeRange | None":
        """Return the range of that name."""
        return next((one for one in cls if one.key == key), None)

    @classmethod
    def covering(cls, seconds: float) -> "TimeRange":
        """Return the shortest range that is as long, the longest one where none is."""
        return next((one for one in cls if one.seconds >= seconds), cls.NINETY_DAYS)

    @classmethod
    def at_first(cls, age: timedelta) -> "TimeRange":
        """Return the range to begin with: a day, or less of what has not been there for so long."""
        return min(cls.covering(age.total_seconds()), cls.ONE_DAY, key=lambda one: one.seconds)


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps of a range that ends now.

    Attributes
    ----------
    begins
        Unix time of each step's begin, ascending, shape (n,); the last one holds `now`.
    """

    now: datetime
    seconds: int
    begins: NDArray[np.int64]

    @classmethod
    def of(cls, time_range: TimeRange, now: datetime) -> "Steps":
        """Return the steps of `time_range`; they begin at multiples of its step in Unix time."""
        step = time_range.step_seconds
        last = int(now.timestamp()) // step * step
        begins = np.arange(last - time_range.seconds + step, last + 1, step, dtype=np.int64)
        return cls(now=now, seconds=step, begins=begins)

    @property
    def since(self) -> datetime:
        """Begin of the first step."""
        return datetime.fromtimestamp(int(self.begins[0]), UTC)

    def place_of(self, moment: datetime) -> int:
        """Return which step a moment is in; the first or the last one for those outside."""
        place = (int(moment.timestamp()) - int(self.begins[0])) // self.seconds
        return min(max(place, 0), len(self.begins) - 1)

    def lasted_minutes(self) -> NDArray[np.float64]:
        """Return how long each step has lasted, in minutes, shape (n,): the last one is not over."""
        minutes = np.full(len(self.begins), self.seconds / 60)
        begun = self.now - datetime.fromtimestamp(int(self.begins[-1]), UTC)
        minutes[-1] = max(begun / timedelta(minutes=1), 1 / 60)
        return minutes
