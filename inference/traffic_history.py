"""Reading what versions answered, by minute and hour."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
from django.db.models import F, QuerySet
from numpy.typing import NDArray

from inference.models import RollupSpan, TrafficRollup
from inference.traffic import FIGURES, Counts, TrafficCounts

ONE_STEP = 2**40  # seconds: all of time in one


@dataclass(frozen=True, slots=True)
class Recently:
    """The minutes before a moment: whole ones, and that which the moment is in.

    Attributes
    ----------
    since
        Begin of the first minute.
    until
        The moment.
    """

    since: datetime
    until: datetime

    @classmethod
    def of(cls, now: datetime, *, minutes: int) -> "Recently":
        """Return the last `minutes` minutes, the one that has just begun among them."""
        return cls(now.replace(second=0, microsecond=0) - timedelta(minutes=minutes - 1), now)

    @property
    def minutes(self) -> float:
        """How long they are, in minutes."""
        return (self.until - self.since) / timedelta(minutes=1)


def recent_counts(recently: Recently, version_ids: Collection[int] | None = None) -> dict[int, TrafficCounts]:
    """Return what each version, or each of these, answered, by its id; those that answered nothing are left out."""
    found = traffic_series(version_ids, span=RollupSpan.MINUTE, since=recently.since, step_seconds=ONE_STEP)
    return {
        version_id: TrafficCounts(**{name: getattr(series, name)[0] for name in FIGURES})
        for version_id, series in found.items()
    }


class ByMinute(NamedTuple):
    """Requests, and rows that were answered, minute by minute."""

    requests: list[int]
    predictions: list[int]


def counts_by_minute(recently: Recently, version_ids: Collection[int] | None = None) -> dict[int, ByMinute]:
    """Return what each version, or each of these, answered in each minute up to the one that has just begun."""
    length = int((recently.until - recently.since) / timedelta(minutes=1)) + 1
    found: defaultdict[int, ByMinute] = defaultdict(lambda: ByMinute([0] * length, [0] * length))
    rows = _rollups(RollupSpan.MINUTE, recently.since, version_ids)
    rows = rows.annotate(requests=F("success") + F("error") + F("rejected")).exclude(requests=0, predictions=0)
    for version_id, begins_at, *counts in rows.values_list("version_id", "begins_at", "requests", "predictions"):
        place = int((begins_at - recently.since) / timedelta(minutes=1))
        if place < length:  # a server's clock may be ahead
            for by_minute, count in zip(found[version_id], counts, strict=True):
                by_minute[place] += count
    return dict(found)


@dataclass(frozen=True, slots=True)
class TrafficSeries:
    """What one version answered, step by step; n steps, in the order of time, without those in which nothing was.

    Attributes
    ----------
    steps
        Unix time of each step's begin, shape (n,).
    success, error, rejected, predictions
        Shape (n,).
    latency_seconds, output_sum
        Shape (n,).
    latency_counts, confidence_counts, class_counts
        As in `inference.traffic.TrafficCounts`, a row for each step.
    """

    steps: NDArray[np.int64]
    success: Counts
    error: Counts
    rejected: Counts
    predictions: Counts
    latency_seconds: NDArray[np.float64]
    output_sum: NDArray[np.float64]
    latency_counts: Counts
    confidence_counts: Counts
    class_counts: Counts

    @property
    def requests(self) -> Counts:
        return self.success + self.error + self.rejected


SERIES_FIELDS = tuple(one.name for one in fields(TrafficSeries) if one.name != "steps")


def traffic_series(
    version_ids: Collection[int] | None, *, span: RollupSpan, since: datetime, step_seconds: int
) -> dict[int, TrafficSeries]:
    """Return what versions answered, by their ids; those that answered nothing are left out.

    Parameters
    ----------
    version_ids
        None: all.
    span
        Which rows to read.
    step_seconds
        A multiple of `span`; steps begin at its multiples in Unix time.
    """
    rows = _rollups(span, since, version_ids).order_by("version_id", "begins_at")
    by_version = groupby(rows.values_list("version_id", "begins_at", *SERIES_FIELDS), key=itemgetter(0))
    return {version_id: _series(list(rows_of_version), step_seconds) for version_id, rows_of_version in by_version}


def _series(rows: list[Any], step_seconds: int) -> TrafficSeries:
    _, begins, *columns = zip(*rows, strict=True)
    of_rows = np.array([int(begin.timestamp()) for begin in begins], dtype=np.int64) // step_seconds * step_seconds
    steps, starts = np.unique(of_rows, return_index=True)
    sums = {name: np.add.reduceat(_array(values), starts) for name, values in zip(SERIES_FIELDS, columns, strict=True)}
    return TrafficSeries(steps=steps, **sums)


def _array(values: Sequence[Any]) -> NDArray[Any]:
    """Return numbers as a vector, and histograms as the rows of a matrix, the shorter ones filled with zeros."""
    if not isinstance(values[0], list):
        return np.array(values)
    width = max(map(len, values))
    return np.array([row + [0] * (width - len(row)) for row in values], dtype=np.int64).reshape(len(values), width)


def _rollups(span: RollupSpan, since: datetime, version_ids: Collection[int] | None) -> QuerySet[TrafficRollup]:
    rows = TrafficRollup.objects.filter(span_seconds=span, begins_at__gte=since).order_by()
    return rows if version_ids is None else rows.filter(version__in=version_ids)
