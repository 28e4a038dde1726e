"""What web processes counted, by minute and version, on its way to the database through Redis.

Each process writes, under its own name, its total of a minute; it never adds. So a write whose answer was lost may be
repeated, and a reader that sums over the processes gets the same figure each time it reads.
"""

import threading
import time
import uuid
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
import redis

MINUTE_SECONDS = 60
KEEP_SECONDS = 7200  # of a minute in Redis, and in a process while Redis is away
LATENCY_EDGES = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
CHANGED_KEY = "mlmon:traffic:changed"  # minute -> number of writes that nobody has settled
_SETTLE = "if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then redis.call('HDEL', KEYS[1], ARGV[1]) end"


@dataclass(slots=True)
class TrafficCounts:
    """Requests of one version: by outcome, and by latency.

    Attributes
    ----------
    success, error, rejected
        Requests by outcome.
    latency_seconds
        Sum over the measured ones.
    latency_counts
        Measured ones by `LATENCY_EDGES`, upper edges included, the last without an upper edge; not cumulative.
    """

    success: int = 0
    error: int = 0
    rejected: int = 0
    latency_seconds: float = 0.0
    latency_counts: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_EDGES) + 1))

    def add(self, other: "TrafficCounts") -> None:
        """Add the counts of `other` to these."""
        self.success += other.success
        self.error += other.error
        self.rejected += other.rejected
        self.latency_seconds += other.latency_seconds
        self.latency_counts = [a + b for a, b in zip(self.latency_counts, other.latency_counts, strict=True)]


class TrafficTally:
    """The counts of this process, and the thread that writes them.

    Parameters
    ----------
    client
        Returns the connection to Redis.
    clock
        Unix time in seconds.
    """

    def __init__(self, client: Callable[[], redis.Redis], *, clock: Callable[[], float] = time.time) -> None:
        self._client = client
        self._clock = clock
        self._process = uuid.uuid4().hex
        self._lock = threading.Lock()
        self._counts: dict[tuple[int, int], TrafficCounts] = {}  # by minute and version

    def count_outcome(self, version_id: int, status: str) -> None:
        """Count a request: `status` is success, error or rejected."""
        with self._lock:
            counts = self._now(version_id)
            setattr(counts, status, getattr(counts, status) + 1)

    def count_latency(self, version_id: int, seconds: float) -> None:
        """Count a measured request."""
        with self._lock:
            counts = self._now(version_id)
            counts.latency_seconds += seconds
            counts.latency_counts[bisect_left(LATENCY_EDGES, seconds)] += 1

    def flush(self) -> None:
        """Write the totals; raises redis.RedisError where Redis does not take them, and then keeps them."""
        with self._lock:
            written = {key: orjson.dumps(counts) for key, counts in self._counts.items()}
        if not written:
            return
        pipeline = self._client().pipeline(transaction=True)
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
                if key[0] < now and orjson.dumps(self._counts.get(key)) == packed:
                    del self._counts[key]


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
        totals.setdefault(version_id, TrafficCounts()).add(TrafficCounts(**orjson.loads(packed)))
    return totals


def settle(client: redis.Redis, minute: int, writes: bytes) -> None:
    """Say that a minute is in the database, unless it was written again since `changed_minutes` returned `writes`."""
    client.eval(_SETTLE, 1, CHANGED_KEY, str(minute), writes)
