"""Figures on pages, each with its value and its text."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from drift.models import DriftCheck
from drift.rendering.states import outcome_of
from inference.selectors import Recently
from inference.traffic import LATENCY_EDGES, TrafficCounts
from mlmon.figures import ago_text, number_text, share_text
from mlmon.report.views import Tag, Tone
from mlmon.schema import TaskType
from models_registry.models import ModelVersion
from monitoring.selectors import RECENT_MINUTES, VersionFacts
from performance.measures import headline_of
from performance.models import PerformanceReport

NOTHING = "-"
MOST_NAMES = 3
NOT_CHECKED = Tag("not checked", Tone.PLAIN, "No window has been compared with the reference yet.")


@dataclass(frozen=True, slots=True)
class Figure:
    """A number, or None if it is unknown, and its text."""

    value: float | None
    text: str

    @classmethod
    def of(cls, value: float | None, text_of: Callable[[float], str]) -> "Figure":
        """Return a number with the text that `text_of` gives it, or the sign for an unknown one."""
        return cls(value, NOTHING if value is None else text_of(value))


def seconds_text(seconds: float) -> str:
    """Return a latency with two digits, in the unit that fits: "480 µs", "8.4 ms", "1.2 s"."""
    if seconds >= 0.9995:
        return f"{number_text(seconds, 2)} s"
    if seconds >= 0.001:
        return f"{number_text(seconds * 1000, 2)} ms"
    return f"{seconds * 1e6:.0f} µs"


def rate_figure(count: int, now: datetime) -> Figure:
    """Return the mean per minute of a count of the last `RECENT_MINUTES` minutes: "1,240", "12", "0.4", "0"."""
    rate = count / max(1.0, Recently.of(now, minutes=RECENT_MINUTES).minutes)
    return Figure(rate, f"{rate:,.0f}" if rate >= 10 or not rate else f"{rate:.1f}")


def headline(report: PerformanceReport | None, kind: Literal["realised", "estimated"]) -> float | None:
    """Return the figure that summarises a report, or None if it has none."""
    return headline_of(getattr(report, kind, None))


def measure_of(version: ModelVersion | None) -> str:
    """Return the name of the figure that summarises the performance of a version."""
    return "mean absolute error" if version and version.task_type == TaskType.REGRESSION else "accuracy"


def error_ratio(counts: TrafficCounts) -> float | None:
    """Return the share of requests with a server error, or None without requests."""
    return counts.error / counts.requests if counts.requests else None


def traffic_figures(counts: TrafficCounts, now: datetime, *, counts_rows: bool) -> dict[str, Any]:
    """Return figures of the last `RECENT_MINUTES` minutes; the rate counts requests, or rows if there are no others."""
    p50, p95 = (histogram_quantile(q, LATENCY_EDGES, counts.latency_counts.tolist()) for q in (0.5, 0.95))
    return {
        "traffic_of": "rows" if counts_rows else "requests",
        "per_minute": rate_figure(counts.predictions if counts_rows else counts.requests, now),
        "p50": Figure.of(p50, seconds_text),
        "p95": Figure.of(p95, seconds_text),
        "errors": Figure.of(error_ratio(counts), share_text),
    }


def version_figures(version: ModelVersion | None, facts: VersionFacts, now: datetime) -> dict[str, Any]:
    """Return the drift of a version in its latest check, and its latest performance with and without ground truth."""
    return {
        "drift": drift_tag(facts.check),
        "drifted": names_text(facts.drifted),
        "checked_ago": ago_text(facts.check.created_at, now) if facts.check else "",
        "measure": measure_of(version),
        "realised": Figure.of(headline(facts.report, "realised"), number_text),
        "estimated": Figure.of(headline(facts.report, "estimated"), number_text),
    }


def histogram_quantile(q: float, edges: Sequence[float], counts: Sequence[int]) -> float | None:
    """Return a quantile of a histogram, or None if it is empty.

    As in PromQL's ``histogram_quantile``, it is linear within a bucket, starts from 0 in the first bucket and is the
    highest edge above the last one (https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile).

    Parameters
    ----------
    q
        Between 0 and 1.
    edges
        Upper edges, ascending and above 0, shape (n,).
    counts
        Counts of each bucket and above the last edge, not cumulative, shape (n + 1,).
    """
    rank = q * sum(counts)
    if not sum(counts):
        return None
    below = 0
    for place, count in enumerate(counts[:-1]):
        if below + count >= rank and count:
            lower = edges[place - 1] if place else 0.0
            return float(lower + (edges[place] - lower) * (rank - below) / count)
        below += count
    return float(edges[-1])


def drift_tag(check: DriftCheck | None) -> Tag:
    """Return the outcome of a check, in one or two words."""
    return NOT_CHECKED if check is None else outcome_of(check)


def names_text(names: Sequence[str]) -> str:
    """Return the first names and the number of the others."""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more
