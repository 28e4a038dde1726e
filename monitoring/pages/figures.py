"""Figures as a reader expects them, and as a program does."""

from dataclasses import dataclass

from mlmon.figures import number_text, share_text

NOTHING = "-"


@dataclass(frozen=True, slots=True)
class Figure:
    """A number, or None where there is none, and its text."""

    value: float | None
    text: str


def seconds_figure(seconds: float | None) -> Figure:
    """Return a latency: "480 µs", "8.4 ms", "1.2 s"."""
    return Figure(seconds, NOTHING if seconds is None else seconds_text(seconds))


def seconds_text(seconds: float) -> str:
    """Return a latency in the unit that fits, with two digits."""
    if seconds >= 0.9995:
        return f"{number_text(seconds, 2)} s"
    if seconds >= 0.001:
        return f"{number_text(seconds * 1000, 2)} ms"
    return f"{seconds * 1e6:.0f} µs"


def rate_figure(per_minute: float) -> Figure:
    """Return requests in a minute: "1,240", "12", "0.4", "0"."""
    return Figure(per_minute, f"{per_minute:,.0f}" if per_minute >= 10 or not per_minute else f"{per_minute:.1f}")


def count_figure(count: int) -> Figure:
    """Return a count: "12,400"."""
    return Figure(count, f"{count:,}")


def ratio_figure(ratio: float | None) -> Figure:
    """Return a share: "0.42 %", "0 %"."""
    return Figure(ratio, NOTHING if ratio is None else share_text(ratio))


def accuracy_figure(value: float | None) -> Figure:
    """Return an accuracy, or an error in the target's unit, with three digits."""
    return Figure(value, NOTHING if value is None else number_text(value))
