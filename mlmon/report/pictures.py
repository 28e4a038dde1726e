"""Two distributions drawn over each other: geometry for the templates, without colours and markup."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mlmon.figures import category_text, number_text, share_text, short_number_text
from mlmon.results import QUANTILE_LEVELS, Distribution

WIDTH, HEIGHT = 1000, 200  # of a histogram, in units of its SVG
MOST_CATEGORIES = 12
MOST_NUMBERED_CATEGORIES = 24  # if all are numbers, such as hours
LONGEST_LABEL = 28


@dataclass(frozen=True, slots=True)
class BinLine:
    """One bin as text."""

    label: str
    reference: str
    current: str


@dataclass(frozen=True, slots=True)
class QuantileLine:
    """One quantile as text."""

    name: str
    reference: str
    current: str


@dataclass(frozen=True, slots=True)
class Histogram:
    """Two histograms on the same bins, each one an SVG path.

    Attributes
    ----------
    reference, current
        Outlines that start and end at the base line. The highest bin of both is as high as the drawing.
    ticks
        The smallest value, the middle of the range and the largest value.
    bins
        The same figures for a table.
    quantiles
        Empty if they were not computed.
    """

    width: int
    height: int
    reference: str
    current: str
    ticks: tuple[str, str, str]
    bins: tuple[BinLine, ...]
    quantiles: tuple[QuantileLine, ...]


@dataclass(frozen=True, slots=True)
class CategoryLine:
    """One category; widths in percent of the largest share of both samples."""

    label: str
    name: str
    reference: str
    current: str
    reference_width: float
    current_width: float
    is_new: bool


@dataclass(frozen=True, slots=True)
class Categories:
    """Shares of categories, reference above current, and a text about those left out."""

    lines: tuple[CategoryLine, ...]
    left_out: str


Picture = Histogram | Categories


def picture_of(distribution: Distribution | None) -> Picture | None:
    """Return the picture of two samples; None if one of them has no values."""
    if distribution is None or not sum(distribution.reference) or not sum(distribution.current):
        return None
    reference, current = (
        np.array(counts, dtype=np.float64) / sum(counts) for counts in (distribution.reference, distribution.current)
    )
    if distribution.labels:
        return shares_picture(distribution.labels, reference, current)
    return _histogram(distribution, reference, current)


def shares_picture(labels: Sequence[str], reference: NDArray[np.float64], current: NDArray[np.float64]) -> Categories:
    """Return the picture of shares that sum to 1: the categories that are large or changed most.

    Parameters
    ----------
    labels
        k names, the most frequent in the reference first.
    reference, current
        Shares, shape (k,).
    """
    if len(labels) <= MOST_NUMBERED_CATEGORIES and all(_is_number(label) for label in labels):
        shown = sorted(range(len(labels)), key=lambda index: float(labels[index]))
    else:
        weight = np.maximum(reference, current) + 4 * np.abs(current - reference)
        shown = sorted(np.argsort(-weight, kind="stable")[:MOST_CATEGORIES].tolist())
    longest = float(max(reference.max(), current.max()))
    lines = []
    for index in shown:
        label, before, now = category_text(labels[index]), float(reference[index]), float(current[index])
        lines.append(
            CategoryLine(
                label=label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 1]}…",
                name=labels[index],
                reference=share_text(before),
                current=share_text(now),
                reference_width=100 * before / longest,
                current_width=100 * now / longest,
                is_new=before == 0,
            )
        )
    left_out = ""
    if hidden := len(labels) - len(shown):
        before, now = (max(0.0, 1 - float(shares[shown].sum())) for shares in (reference, current))
        left_out = f"{hidden} more: {share_text(before)} of the reference, {share_text(now)} now"
    return Categories(tuple(lines), left_out)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _histogram(
    distribution: Distribution, reference: NDArray[np.float64], current: NDArray[np.float64]
) -> Histogram | None:
    edges = np.array(distribution.edges, dtype=np.float64)
    offsets = edges / 2 - edges[0] / 2  # halves, as the range of two float64 may overflow
    places = offsets / offsets[-1] if offsets[-1] > 0 else np.linspace(0, 1, edges.size)  # from 0 to 1
    widths = np.diff(places)
    if not (widths > 0).all():
        return None
    # Bins have unequal widths: the area is the share.
    densities = reference / widths, current / widths
    highest = float(max(densities[0].max(), densities[1].max()))
    low, high = float(edges[0]), float(edges[-1])
    quantiles = zip(QUANTILE_LEVELS, distribution.reference_quantiles, distribution.current_quantiles, strict=False)
    return Histogram(
        width=WIDTH,
        height=HEIGHT,
        reference=_outline(places, densities[0] / highest),
        current=_outline(places, densities[1] / highest),
        ticks=(number_text(low), number_text(low / 2 + high / 2), number_text(high)),
        bins=tuple(
            BinLine(f"{number_text(left)} to {number_text(right)}", share_text(before), share_text(now))
            for (left, right), before, now in zip(pairwise(edges.tolist()), reference, current, strict=True)
        ),
        quantiles=tuple(
            QuantileLine(
                "Median" if level == 0.5 else f"{100 * level:g} %", short_number_text(before), short_number_text(now)
            )
            for level, before, now in quantiles
        ),
    )


def _outline(places: NDArray[np.float64], heights: NDArray[np.float64]) -> str:
    """Return an SVG path along the tops of the bins."""
    steps = [f"V{HEIGHT * (1 - top):.1f}H{WIDTH * right:.1f}" for right, top in zip(places[1:], heights, strict=True)]
    return f"M0 {HEIGHT}{''.join(steps)}V{HEIGHT}Z"
