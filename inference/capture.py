"""Capture: the process queues the observations of its predictions, and a thread appends them to the live window.

A request only appends to the queue; it never waits for Redis. While Redis is unavailable, the queue holds observations
up to its bound, then drops the oldest and counts them. An append whose reply was lost is repeated unchanged, under the
same number, so Redis performs it once. It waits outside the queue and is not dropped.
"""

import itertools
import logging
import threading
import uuid
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import pyarrow as pa
import redis

from inference import metrics
from inference.observations import Attempt, ObservationBatch, append_observations, packed_table
from inference.prediction_ids import sampled
from inference.stream import trim_to_rows
from mlmon.schema import Feature

logger = logging.getLogger(__name__)

LONGEST_RETRY_SECONDS = 2.0
MOST_ENTRY_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class CaptureRule:
    """The part of a model's capture policy that a request needs.

    Attributes
    ----------
    sampling_rate
        Share of the rows that are captured, above 0 and up to 1.
    never_stored
        Names of features whose values are left out.
    """

    sampling_rate: float = 1.0
    never_stored: frozenset[str] = frozenset()

    def apply(self, batch: ObservationBatch) -> ObservationBatch | None:
        """Return the rows and features of a batch that are captured; None if no row is."""
        if not self.never_stored.isdisjoint(batch.columns):
            features = tuple(feature for feature in batch.features if feature.name not in self.never_stored)
            columns = {feature.name: batch.columns[feature.name] for feature in features}
            batch = replace(batch, features=features, columns=columns)
        if self.sampling_rate >= 1:
            return batch
        rows = sampled(batch.prediction_ids, self.sampling_rate)
        return batch.select(rows) if rows.any() else None


@dataclass(frozen=True, slots=True)
class _Entry:
    """Batches that make one entry, and the attempt to append it."""

    batches: Sequence[ObservationBatch]
    attempt: Attempt


class CaptureQueue:
    """The process's queue of observations, and the thread that empties it.

    Parameters
    ----------
    client
        Returns the Redis client.
    queue_rows
        Most observations in the queue.
    flush_seconds
        Pause between two flushes.
    stream_rows
        Most observations in a version's stream, archived or not.
    before_flush
        Called before each flush; it may capture what it has collected.
    """

    def __init__(
        self,
        client: Callable[[], redis.Redis],
        *,
        queue_rows: int,
        flush_seconds: float,
        stream_rows: int,
        before_flush: Callable[[], None] = lambda: None,
    ) -> None:
        self._client = client
        self._before_flush = before_flush
        self._queue_rows = queue_rows
        self._flush_seconds = flush_seconds
        self._stream_rows = stream_rows
        self._rows_since_trim: Counter[int] = Counter()
        self._producer = uuid.uuid4().hex
        self._attempts = itertools.count(1)
        self._lock = threading.Lock()  # guards the queue
        self._flush_lock = threading.Lock()  # one flush at a time, so that entries keep their order
        self._queue: deque[ObservationBatch] = deque()
        self._unconfirmed: _Entry | None = None  # appended without a reply: precedes the queue and is not changed
        self._rows = 0  # in the queue and in the unconfirmed entry
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def capture(self, batch: ObservationBatch, rule: CaptureRule) -> None:
        """Queue what `rule` captures of a batch; drop the oldest observations if the queue is full."""
        captured = rule.apply(batch)
        if rule.sampling_rate < 1:
            count_sampled_out(batch, captured)
        if captured is None:
            return
        rows = len(captured.prediction_ids)
        metrics.CAPTURE_PENDING.labels(captured.model_name).inc(rows)
        with self._lock:
            self._queue.append(captured)
            self._rows += rows
            if self._rows > self._queue_rows:
                self._drop_oldest()
        self.wake()

    def wake(self) -> None:
        """Let the thread flush after its pause, and start it with the first call."""
        if self._wake.is_set():
            return
        self._wake.set()
        with self._lock:
            if self._thread is None and not self._stopped.is_set():
                self._thread = threading.Thread(target=self._run, name="mlmon-capture", daemon=True)
                self._thread.start()

    def flush(self) -> None:
        """Append all queued observations to the live window.

        Raises
        ------
        redis.RedisError
            Redis is unavailable; the observations that it did not store are queued again.
        """
        with self._flush_lock:
            self._before_flush()
            entries = self._take()
            for done, entry in enumerate(entries):
                try:
                    packed = packed_table(entry.batches)
                except (ValueError, TypeError, LookupError, pa.ArrowException):
                    # This must not end the capture of all other batches.
                    logger.exception("Observations of %s could not be packed.", entry.batches[0].model_name)
                    _count_dropped(entry.batches)
                    continue
                try:
                    self._append(entry, packed)
                except redis.RedisError:
                    untried = [batch for later in entries[done + 1 :] for batch in later.batches]
                    with self._lock:
                        self._unconfirmed = entry
                        self._queue.extendleft(reversed(untried))
                        self._rows = sum(batch.rows for batch in (*entry.batches, *self._queue))
                        self._drop_oldest()
                    raise

    def flush_and_stop(self, timeout_seconds: float = 5.0) -> None:
        """End the thread, waiting at most `timeout_seconds`, and append what is queued; for the end of the process."""
        self._stopped.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout_seconds)
        try:
            self.flush()
        except redis.RedisError as error:
            logger.error("%d observations were lost when the process ended: %s", self._rows, error)

    def _run(self) -> None:
        pause = self._flush_seconds
        while not self._stopped.is_set():
            self._wake.wait()
            self._wake.clear()
            try:
                self.flush()
                pause = self._flush_seconds
            except redis.RedisError as error:
                logger.warning("Redis did not store observations; %d are queued: %s", self._rows, error)
                pause = min(LONGEST_RETRY_SECONDS, pause * 2)
                self._wake.set()
            except Exception:
                logger.exception("Queued observations could not be written; the next flush tries the rest.")
            self._stopped.wait(pause)

    def _take(self) -> list[_Entry]:
        """Empty the queue into entries: the unconfirmed one first, then batches grouped by version and schema."""
        with self._lock:
            unconfirmed, self._unconfirmed = self._unconfirmed, None
            queued = list(self._queue)
            self._queue.clear()
            self._rows = 0
        entries = [] if unconfirmed is None else [unconfirmed]
        groups: dict[tuple[int, Sequence[Feature]], list[ObservationBatch]] = defaultdict(list)
        for batch in queued:
            groups[batch.version_id, batch.features].append(batch)
        for group in groups.values():
            parts: list[list[ObservationBatch]] = [[]]
            rows = 0
            for batch in group:
                if parts[-1] and rows + batch.rows > MOST_ENTRY_ROWS:
                    parts.append([])
                    rows = 0
                parts[-1].append(batch)
                rows += batch.rows
            entries += [_Entry(part, Attempt(self._producer, next(self._attempts))) for part in parts]
        return entries

    def _append(self, entry: _Entry, packed: pa.Table) -> None:
        version_id, client = entry.batches[0].version_id, self._client()
        append_observations(client, version_id, packed, max_entries=self._stream_rows, attempt=entry.attempt)
        metrics.CAPTURE_PENDING.labels(entry.batches[0].model_name).dec(packed.num_rows)
        # Memory is finite, even if no worker archives and trims.
        self._rows_since_trim[version_id] += packed.num_rows
        if self._rows_since_trim[version_id] >= self._stream_rows // 10:
            self._rows_since_trim[version_id] = 0
            with suppress(redis.RedisError):  # the rows are written, and a later append trims
                trim_to_rows(client, version_id, self._stream_rows)

    def _drop_oldest(self) -> None:
        """Drop batches from the front of the queue until its bound holds, but never the only one.

        The unconfirmed entry stays: a part of it would need another number, and may be stored already.
        """
        at_least = 1 if self._unconfirmed is None else 0
        while self._rows > self._queue_rows and len(self._queue) > at_least:
            dropped = self._queue.popleft()
            self._rows -= dropped.rows
            _count_dropped([dropped])


def count_sampled_out(batch: ObservationBatch, captured: ObservationBatch | None) -> None:
    """Count the rows of a batch that the capture policy's sample leaves out."""
    left_out = batch.rows - (captured.rows if captured else 0)
    if left_out:
        metrics.CAPTURE_SAMPLED_OUT.labels(batch.model_name).inc(left_out)


def _count_dropped(batches: Iterable[ObservationBatch]) -> None:
    for batch in batches:
        metrics.CAPTURE_PENDING.labels(batch.model_name).dec(batch.rows)
        metrics.CAPTURE_DROPPED.labels(batch.model_name).inc(batch.rows)
