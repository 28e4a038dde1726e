"""Lines over time: what a page's script draws, and the same in words."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from mlmon.figures import number_text, share_text
from monitoring.pages.figures import seconds_text

Values = list[float | None]


class Unit(StrEnum):
    """What the numbers of a chart are; board.js writes them in the same way."""

    COUNT = "count"
    RATE = "rate"  # in a minute
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
    """How a line is drawn."""

    SOLID = "solid"
    DASHED = "dashed"  # an estimate beside what it estimates
    LIMIT = "limit"  # a threshold


@dataclass(frozen=True, slots=True)
class Line:
    """One line: a value for each step, None where there is none."""

    label: str
    values: Values
    stroke: Stroke = Stroke.SOLID

    @property
    def is_empty(self) -> bool:
        return all(value is None for value in self.values)


@dataclass(frozen=True, slots=True)
class Span:
    """A time that a chart shades, in Unix time, such as that of an incident."""

    begin: int
    end: int
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture of lines over the same steps.

    Attributes
    ----------
    key
        Unique on the page.
    steps
        Unix time.
    nothing
        What to say where no line has a value, and what to do next.
    from_zero
        Whether the axis begins at 0 whatever the values, so that what is small looks small.
    """

    key: str
    title: str
    unit: Unit
    steps: list[int]
    lines: Sequence[Line]
    note: str = ""
    nothing: str = "Nothing was measured in this time."
    spans: Sequence[Span] = field(default_factory=tuple)
    from_zero: bool = False

    @property
    def script_id(self) -> str:
        """The id of the element that holds `payload`."""
        return f"chart-{self.key}"

    @property
    def is_empty(self) -> bool:
        return all(line.is_empty for line in self.lines if line.stroke != Stroke.LIMIT)

    @property
    def summary(self) -> list[str]:
        """Each line in words."""
        return [self._summary(line) for line in self.lines if not line.is_empty]

    @property
    def payload(self) -> dict[str, Any]:
        """What the script draws."""
        return {
            "unit": self.unit,
            "steps": self.steps,
            "lines": [asdict(line) for line in self.lines if not line.is_empty],
            "spans": [asdict(span) for span in self.spans],
            "fromZero": self.from_zero,
        }

    def _summary(self, line: Line) -> str:
        known = [value for value in line.values if value is not None]
        lowest, highest, last = (self.unit.text(value) for value in (min(known), max(known), known[-1]))
        if line.stroke == Stroke.LIMIT or lowest == highest:
            return f"{line.label}: {last}"
        return f"{line.label}: from {lowest} to {highest}, last {last}"
