"""Two distributions over each other, as shapes that a template draws: geometry only, no colours and no markup."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlmon.figures import number_text, share_text, short_number_text
from mlmon.results import QUANTILE_LEVELS, Distribution
from mlmon.sentences import level_text

WIDTH, HEIGHT = 1000, 200  # of a histogram's drawing, in units of its own
MOST_ROWS = 12  # of levels
MOST_ORDERED_ROWS = 24  # of levels that are numbers, such as hours: all or none
LONGEST_LABEL = 28


@dataclass(frozen=True, slots=True)
class BinLine:
    """One bin in words."""

    label: str
    reference: str
    current: str


@dataclass(frozen=True, slots=True)
class QuantileLine:
    """One quantile in words."""

    name: str
    reference: str
    current: str


@dataclass(frozen=True, slots=True)
class Histogram:
    """Two histograms on the same bins, each one path of an SVG.

    Attributes
    ----------
    reference, current
        Outlines from the base line to the base line; the highest bin of both is as high as the drawing.
    ticks
        Texts below it: the smallest value, the middle of the range, the largest.
    bins
        The same as a table.
    quantiles
        Empty where a check kept none.
    """

    width: int
    height: int
    reference: str
    current: str
    ticks: tuple[str, str, str]
    bins: tuple[BinLine, ...]
    quantiles: tuple[QuantileLine, ...]


@dataclass(frozen=True, slots=True)
class LevelLine:
    """One level; widths in percent of the largest share of both."""

    label: str
    name: str
    reference: str
    current: str
    reference_width: float
    current_width: float
    is_new: bool


@dataclass(frozen=True, slots=True)
class Levels:
    """Shares of levels, reference above current; those left out together in one text."""

    lines: tuple[LevelLine, ...]
    left_out: str


Picture = Histogram | Levels


def picture_of(distribution: Distribution | None) -> Picture | None:
    """Return the picture of two samples; None where one of them has no values."""
    if distribution is None or not sum(distribution.reference) or not sum(distribution.current):
        return None
    reference, current = _shares(distribution.reference), _shares(distribution.current)
    if distribution.labels:
        return levels_of(distribution.labels, reference, current)
    return _histogram(distribution, reference, current)


def levels_of(labels: Sequence[str], reference: NDArray[np.float64], current: NDArray[np.float64]) -> Levels:
    """Return the picture of shares that sum to 1: of the levels that are large or changed most.

    Parameters
    ----------
    labels
        k names, commonest in the reference first.
    reference, current
        Shares, shape (k,).
    """
    shown = _shown_levels(labels, reference, current)
    longest = float(max(reference.max(), current.max()))
    lines = tuple(
        LevelLine(
            label=_short(labels[index]),
            name=labels[index],
            reference=share_text(reference[index]),
            current=share_text(current[index]),
            reference_width=100 * reference[index] / longest,
            current_width=100 * current[index] / longest,
            is_new=bool(reference[index] == 0),
        )
        for index in shown
    )
    return Levels(lines, _left_out(shown, reference, current))


def _shares(counts: Sequence[int]) -> NDArray[np.float64]:
    return np.array(counts, dtype=np.float64) / sum(counts)


def _shown_levels(labels: Sequence[str], reference: NDArray[np.float64], current: NDArray[np.float64]) -> list[int]:
    if len(labels) <= MOST_ORDERED_ROWS and all(_is_number(label) for label in labels):
        return sorted(range(len(labels)), key=lambda index: float(labels[index]))
    weight = np.maximum(reference, current) + 4 * np.abs(current - reference)
    return sorted(np.argsort(-weight, kind="stable")[:MOST_ROWS].tolist())


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _left_out(shown: Sequence[int], reference: NDArray[np.float64], current: NDArray[np.float64]) -> str:
    hidden = reference.size - len(shown)
    if not hidden:
        return ""
    before, now = 1 - float(reference[shown].sum()), 1 - float(current[shown].sum())
    return f"{hidden} more: {share_text(max(0.0, before))} of the reference, {share_text(max(0.0, now))} now"


def _short(label: str) -> str:
    text = level_text(label)
    return text if len(text) <= LONGEST_LABEL else f"{text[: LONGEST_LABEL - 1]}…"


def _histogram(
    distribution: Distribution, reference: NDArray[np.float64], current: NDArray[np.float64]
) -> Histogram | None:
    edges = np.array(distribution.edges, dtype=np.float64)
    places = _places(edges)
    widths = np.diff(places)
    if not (widths > 0).all():
        return None
    # Bins of unequal widths: a share is an area.
    densities = reference / widths, current / widths
    highest = float(max(densities[0].max(), densities[1].max()))
    low, high = float(edges[0]), float(edges[-1])
    return Histogram(
        width=WIDTH,
        height=HEIGHT,
        reference=_outline(places, densities[0] / highest),
        current=_outline(places, densities[1] / highest),
        ticks=(number_text(low), number_text(low / 2 + high / 2), number_text(high)),
        bins=tuple(
            BinLine(
                f"{number_text(float(edges[index]))} to {number_text(float(edges[index + 1]))}",
                share_text(float(reference[index])),
                share_text(float(current[index])),
            )
            for index in range(reference.size)
        ),
        quantiles=_quantile_lines(distribution),
    )


def _quantile_lines(distribution: Distribution) -> tuple[QuantileLine, ...]:
    found = zip(QUANTILE_LEVELS, distribution.reference_quantiles, distribution.current_quantiles, strict=False)
    return tuple(
        QuantileLine(
            "Median" if level == 0.5 else f"{100 * level:g} %", short_number_text(before), short_number_text(now)
        )
        for level, before, now in found
    )


def _places(edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where the edges are, 0 to 1; in halves, for the range of two float64 may be beyond float64."""
    offsets = edges / 2 - edges[0] / 2
    return offsets / offsets[-1] if offsets[-1] > 0 else np.linspace(0, 1, edges.size)


def _outline(places: NDArray[np.float64], heights: NDArray[np.float64]) -> str:
    """Return a path that goes along the tops of the bins."""
    steps = [f"M0 {HEIGHT}"]
    for right, height in zip(places[1:], heights, strict=True):
        steps.append(f"V{HEIGHT * (1 - height):.1f}H{WIDTH * right:.1f}")
    return "".join([*steps, f"V{HEIGHT}Z"])
