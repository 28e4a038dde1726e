"""Counts of traffic by minute and version, on their way from the web processes through Redis to the database.

Each process writes its total of a minute under its own name and never adds to a stored value. A write whose reply was
lost can therefore be repeated, and a reader that sums over the processes always gets the same number.
"""

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Self

import numpy as np
import orjson
import redis
from numpy.typing import NDArray

from inference.rejections import Rejection, RejectionCounts

MINUTE_SECONDS = 60
KEEP_SECONDS = 7200  # how long a minute is kept in Redis, and in a process while Redis is unavailable
LATENCY_EDGES = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
CONFIDENCE_EDGES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.8, 0.9, 0.95, 0.99)
MOST_CLASSES = 50  # a version with more classes has no counts by class
MINUTE_PREFIX = "mlmon:traffic:"  # of the key of a minute's counts; the rest is Unix time
REJECTIONS_PREFIX = "mlmon:rejections:"  # of the key of a minute's rejections, in the same way
CHANGED_KEY = "mlmon:traffic:changed"  # minute -> number of writes since it was last stored in the database
# Confirms that a minute is in the database, unless it changed since `changed_minutes`.
CONFIRM_SCRIPT = "if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then redis.call('HDEL', KEYS[1], ARGV[1]) end"

Counts = NDArray[np.int64]
Status = Literal["success", "error", "rejected"]


@dataclass(slots=True)
class TrafficCounts:
    """Traffic of one version in one span of time.

    Attributes
    ----------
    success, error, rejected
        Number of requests by outcome.
    latency_seconds
        Sum over the measured requests.
    latency_counts
        Measured requests by `LATENCY_EDGES`, shape (edges + 1,): an edge belongs to the bin below it, and the last bin
        is open; not cumulative.
    predictions
        Number of predicted rows.
    confidence_counts
        Predictions that have a confidence by `CONFIDENCE_EDGES`, in the same way.
    class_counts
        Predictions of a classifier by class, in the order of the version's classes, without the classes at the end that
        did not occur; empty for more than `MOST_CLASSES`.
    output_sum
        Sum of a regression's predictions, in the target's unit.
    """

    success: int = 0
    error: int = 0
    rejected: int = 0
    latency_seconds: float = 0.0
    latency_counts: Counts = field(default_factory=lambda: np.zeros(len(LATENCY_EDGES) + 1, dtype=np.int64))
    predictions: int = 0
    confidence_counts: Counts = field(default_factory=lambda: np.zeros(len(CONFIDENCE_EDGES) + 1, dtype=np.int64))
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
        """Return the counts by name, with histograms as lists, as `of` expects them."""
        values = {name: getattr(self, name) for name in FIGURES}
        return {name: v.tolist() if isinstance(v, np.ndarray) else v for name, v in values.items()}

    def add(self, other: "TrafficCounts", *, times: int = 1) -> None:
        """Add the counts of `other` to these, or subtract them with ``times=-1``."""
        for name in FIGURES:
            mine, theirs = getattr(self, name), getattr(other, name) * times
            setattr(self, name, _sum(mine, theirs) if isinstance(mine, np.ndarray) else mine + theirs)


FIGURES = tuple(one.name for one in fields(TrafficCounts))


def _sum(a: Counts, b: Counts) -> Counts:
    """Return the sum of two histograms; the shorter one is extended with zeros."""
    total = np.zeros(max(a.size, b.size), dtype=np.int64)
    total[: a.size] += a
    total[: b.size] += b
    return total


class TrafficTally:
    """The counts of this process that are not in Redis yet or may still grow.

    Parameters
    ----------
    clock
        Returns Unix time in seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._process = uuid.uuid4().hex
        self._lock = threading.Lock()
        self._counts: dict[tuple[int, int], TrafficCounts] = {}  # by minute and version
        self._rejections: dict[tuple[int, str], RejectionCounts] = {}  # by minute and model
        self._tables: dict[str, dict[Any, TrafficCounts] | dict[Any, RejectionCounts]] = {
            MINUTE_PREFIX: self._counts,
            REJECTIONS_PREFIX: self._rejections,
        }

    def count_request(self, version_id: int, status: Status) -> None:
        """Count a request by its outcome."""
        with self._lock:
            counts = self._current(version_id)
            setattr(counts, status, getattr(counts, status) + 1)

    def count_rejection(self, model_name: str, rejection: Rejection) -> None:
        """Count why a request or an observation was rejected; the model need not have loaded a version."""
        with self._lock:
            self._rejections.setdefault((self._minute(), model_name), RejectionCounts()).count(rejection, self._clock())

    def count_predictions(
        self,
        version_id: int,
        *,
        latency_seconds: Sequence[float] | NDArray[np.float64] = (),
        class_counts: Counts | None = None,
        confidence: NDArray[np.float64] | None = None,
        outputs: NDArray[np.float64] | None = None,
    ) -> None:
        """Count the predictions of a classifier or of a regression.

        Parameters
        ----------
        latency_seconds
            Latencies of the measured requests.
        class_counts
            A classifier's number of predictions of each class, shape (classes,).
        confidence
            Probabilities of the predicted classes, shape (n,), NaN if unknown; None if all are unknown.
        outputs
            A regression's predictions, shape (n,).
        """
        with self._lock:
            counts = self._current(version_id)
            if len(latency_seconds):
                counts.latency_seconds += float(np.sum(latency_seconds))
                bins = np.searchsorted(LATENCY_EDGES, latency_seconds)
                counts.latency_counts += np.bincount(bins, minlength=len(LATENCY_EDGES) + 1)
            if outputs is not None:
                counts.predictions += outputs.size
                counts.output_sum += float(outputs.sum())
            if class_counts is not None:
                counts.predictions += int(class_counts.sum())
                if class_counts.size <= MOST_CLASSES:
                    counts.class_counts = _sum(counts.class_counts, class_counts)
            if confidence is not None:
                bins = np.searchsorted(CONFIDENCE_EDGES, confidence[np.isfinite(confidence)])
                counts.confidence_counts += np.bincount(bins, minlength=len(CONFIDENCE_EDGES) + 1)

    def flush(self, client: redis.Redis) -> None:
        """Write the totals to Redis.

        Raises
        ------
        redis.RedisError
            Redis is unavailable; the counts are kept for the next call, for up to `KEEP_SECONDS`.
        """
        with self._lock:
            written = {
                (prefix, key): orjson.dumps(counts.figures())
                for prefix, table in self._tables.items()
                for key, counts in table.items()
            }
        if not written:
            return
        pipeline = client.pipeline(transaction=True)
        for (prefix, (minute, owner)), packed in written.items():
            pipeline.hset(f"{prefix}{minute}", f"{owner}:{self._process}", packed)
            pipeline.expire(f"{prefix}{minute}", KEEP_SECONDS)
        for minute in {minute for _, (minute, _) in written}:
            pipeline.hincrby(CHANGED_KEY, str(minute), 1)
        try:
            pipeline.execute()
        except redis.RedisError:
            with self._lock:
                oldest = self._clock() - KEEP_SECONDS
                for table in self._tables.values():
                    for key in [key for key in table if key[0] < oldest]:
                        del table[key]
            raise
        with self._lock:  # forget the past minutes that did not grow meanwhile
            for (prefix, key), packed in written.items():
                counts, is_past = self._tables[prefix].get(key), key[0] + MINUTE_SECONDS <= self._clock()
                if counts and is_past and orjson.dumps(counts.figures()) == packed:
                    del self._tables[prefix][key]

    def _current(self, version_id: int) -> TrafficCounts:
        """Return the counts of the current minute."""
        key = (self._minute(), version_id)
        if key not in self._counts:
            self._counts[key] = TrafficCounts()
        return self._counts[key]

    def _minute(self) -> int:
        return int(self._clock()) // MINUTE_SECONDS * MINUTE_SECONDS


def changed_minutes(client: redis.Redis) -> dict[int, bytes]:
    """Return the minutes with unconfirmed writes, as Unix time, and the number of writes to confirm for each."""
    changed: Any = client.hgetall(CHANGED_KEY)  # bytes, as the connection returns them
    return {int(minute): writes for minute, writes in changed.items()}


def counts_of_minute(client: redis.Redis, minute: int) -> dict[int, TrafficCounts]:
    """Return the counts of a minute by version id, summed over the processes."""
    totals: dict[int, TrafficCounts] = {}
    packed_counts: Any = client.hgetall(f"{MINUTE_PREFIX}{minute}")
    for name, packed in packed_counts.items():
        version_id = int(name.split(b":")[0])
        totals.setdefault(version_id, TrafficCounts()).add(TrafficCounts.of(orjson.loads(packed)))
    return totals


def rejections_of_minute(client: redis.Redis, minute: int) -> dict[str, RejectionCounts]:
    """Return the rejections of a minute by model name, summed over the processes."""
    totals: dict[str, RejectionCounts] = {}
    packed_counts: Any = client.hgetall(f"{REJECTIONS_PREFIX}{minute}")
    for name, packed in packed_counts.items():
        model_name = name.rpartition(b":")[0].decode()
        totals.setdefault(model_name, RejectionCounts()).add(RejectionCounts.of(orjson.loads(packed)))
    return totals
