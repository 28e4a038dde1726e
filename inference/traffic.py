"""What web processes counted, by minute and version, on its way to the database through Redis.

Each process writes, under its own name, its total of a minute; it never adds. So a write whose answer was lost may be
repeated, and a reader that sums over the processes gets the same figure each time it reads.
"""

import os
import threading
import time
import uuid
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Self

import numpy as np
import orjson
import redis
from numpy.typing import NDArray

MINUTE_SECONDS = 60
KEEP_SECONDS = 7200  # of a minute in Redis, and in a process while Redis is away
LATENCY_EDGES = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
CONFIDENCE_EDGES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.8, 0.9, 0.95, 0.99)
MOST_CLASSES = 50  # of a version whose predictions are counted by class
CHANGED_KEY = "mlmon:traffic:changed"  # minute -> number of writes that nobody has settled
_SETTLE = "if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then redis.call('HDEL', KEYS[1], ARGV[1]) end"

Counts = NDArray[np.int64]
Status = Literal["success", "error", "rejected"]


def _empty_histogram(edges: tuple[float, ...]) -> Callable[[], Counts]:
    return lambda: np.zeros(len(edges) + 1, dtype=np.int64)


@dataclass(slots=True)
class TrafficCounts:
    """What one version answered in one span of time.

    Attributes
    ----------
    success, error, rejected
        Requests by outcome.
    latency_seconds
        Sum over the measured requests.
    latency_counts
        Measured requests by `LATENCY_EDGES`, shape (edges + 1,): upper edges included, the last without one; not
        cumulative.
    predictions
        Rows that were answered.
    confidence_counts
        Those with a confidence by `CONFIDENCE_EDGES`, in the same way.
    class_counts
        Those of a classifier by class, in the order of the version's classes, without the classes at the end that did
        not occur; empty where it has more than `MOST_CLASSES`.
    output_sum
        Sum of a regression's predictions, in the target's unit.
    """

    success: int = 0
    error: int = 0
    rejected: int = 0
    latency_seconds: float = 0.0
    latency_counts: Counts = field(default_factory=_empty_histogram(LATENCY_EDGES))
    predictions: int = 0
    confidence_counts: Counts = field(default_factory=_empty_histogram(CONFIDENCE_EDGES))
    class_counts: Counts = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    output_sum: float = 0.0

    @property
    def requests(self) -> int:
        return self.success + self.error + self.rejected

    @classmethod
    def of(cls, figures: dict[str, Any]) -> Self:
        """Return the counts from `figures`, whose histograms are lists."""
        values: dict[str, Any] = {
            name: np.array(v, dtype=np.int64) if isinstance(v, list) else v for name, v in figures.items()
        }
        return cls(**values)

    def figures(self) -> dict[str, Any]:
        """Return the counts by name, histograms as lists: what `of` takes."""
        values = {name: getattr(self, name) for name in FIGURES}
        return {name: v.tolist() if isinstance(v, np.ndarray) else v for name, v in values.items()}

    def add(self, other: "TrafficCounts", *, times: int = 1) -> None:
        """Add the counts of `other` to these, or with ``times=-1`` take them away."""
        for name in FIGURES:
            mine, theirs = getattr(self, name), getattr(other, name) * times
            setattr(self, name, _sum(mine, theirs) if isinstance(mine, np.ndarray) else mine + theirs)


FIGURES = tuple(one.name for one in fields(TrafficCounts))


def _sum(a: Counts, b: Counts) -> Counts:
    """Return the sum of two histograms, the shorter one filled with zeros."""
    total = np.zeros(max(a.size, b.size), dtype=np.int64)
    total[: a.size] += a
    total[: b.size] += b
    return total


class TrafficTally:
    """The counts of this process that are not in Redis yet, or may still grow.

    Parameters
    ----------
    clock
        Unix time in seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._process = uuid.uuid4().hex
        self._lock = threading.Lock()
        self._counts: dict[tuple[int, int], TrafficCounts] = {}  # by minute and version

    def count_request(self, version_id: int, status: Status) -> None:
        """Count a request by its outcome."""
        with self._lock:
            counts = self._now(version_id)
            setattr(counts, status, getattr(counts, status) + 1)

    def count_latency(self, version_id: int, seconds: float) -> None:
        """Count a measured request."""
        with self._lock:
            counts = self._now(version_id)
            counts.latency_seconds += seconds
            counts.latency_counts[bisect_left(LATENCY_EDGES, seconds)] += 1

    def count_outputs(self, version_id: int, values: NDArray[np.float64]) -> None:
        """Count a regression's predictions, shape (n,)."""
        with self._lock:
            counts = self._now(version_id)
            counts.predictions += values.size
            counts.output_sum += float(values.sum())

    def count_classes(self, version_id: int, by_class: Counts, confidence: NDArray[np.float64] | None = None) -> None:
        """Count a classifier's predictions.

        Parameters
        ----------
        by_class
            Predictions of each class, shape (classes,).
        confidence
            Shape (n,); NaN where it is not known. None where none is.
        """
        known = None if confidence is None else confidence[np.isfinite(confidence)]
        with self._lock:
            counts = self._now(version_id)
            counts.predictions += int(by_class.sum())
            if by_class.size <= MOST_CLASSES:
                counts.class_counts = _sum(counts.class_counts, by_class)
            if known is not None:
                places = np.searchsorted(CONFIDENCE_EDGES, known)
                counts.confidence_counts += np.bincount(places, minlength=len(CONFIDENCE_EDGES) + 1)

    def flush(self, client: redis.Redis) -> None:
        """Write the totals; raises redis.RedisError where Redis does not take them, and then keeps them."""
        with self._lock:
            written = {key: orjson.dumps(counts.figures()) for key, counts in self._counts.items()}
        if not written:
            return
        pipeline = client.pipeline(transaction=True)
        for (minute, version_id), packed in written.items():
            pipeline.hset(minute_key(minute), f"{version_id}:{self._process}", packed)
            pipeline.expire(minute_key(minute), KEEP_SECONDS)
        for minute in {minute for minute, _ in written}:
            pipeline.hincrby(CHANGED_KEY, str(minute), 1)
        try:
            pipeline.execute()
        except redis.RedisError:
            self._forget(self._minute() - KEEP_SECONDS)
            raise
        self._forget_written(written)

    def _minute(self) -> int:
        return int(self._clock()) // MINUTE_SECONDS * MINUTE_SECONDS

    def _now(self, version_id: int) -> TrafficCounts:
        return self._counts.setdefault((self._minute(), version_id), TrafficCounts())

    def _forget(self, before: int) -> None:
        with self._lock:
            self._counts = {key: counts for key, counts in self._counts.items() if key[0] >= before}

    def _forget_written(self, written: dict[tuple[int, int], bytes]) -> None:
        """Forget the minutes that are over and were written as they are."""
        with self._lock:
            now = self._minute()
            for key, packed in written.items():
                if key[0] < now and orjson.dumps(self._counts[key].figures()) == packed:
                    del self._counts[key]


class _OfProcess:
    """The counts of this process; a forked child begins its own."""

    def __init__(self) -> None:
        self.tally = TrafficTally()
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        self.tally = TrafficTally()


_of_process = _OfProcess()


def process_tally() -> TrafficTally:
    """Return this process's counts."""
    return _of_process.tally


def minute_key(minute: int) -> str:
    """Return the key of the minute that begins at Unix time `minute`."""
    return f"mlmon:traffic:{minute}"


def changed_minutes(client: redis.Redis) -> dict[int, bytes]:
    """Return the minutes with unsettled writes, as Unix time, and what `settle` needs of each."""
    changed: Any = client.hgetall(CHANGED_KEY)  # bytes, as the connection gives them
    return {int(minute): writes for minute, writes in changed.items()}


def counts_of_minute(client: redis.Redis, minute: int) -> dict[int, TrafficCounts]:
    """Return the counts of a minute by version id, summed over the processes."""
    totals: dict[int, TrafficCounts] = {}
    packed_counts: Any = client.hgetall(minute_key(minute))
    for name, packed in packed_counts.items():
        version_id = int(name.split(b":")[0])
        totals.setdefault(version_id, TrafficCounts()).add(TrafficCounts.of(orjson.loads(packed)))
    return totals


def settle(client: redis.Redis, minute: int, writes: bytes) -> None:
    """Say that a minute is in the database, unless it was written again since `changed_minutes` returned `writes`."""
    client.eval(_SETTLE, 1, CHANGED_KEY, str(minute), writes)
