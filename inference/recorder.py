"""Remembering what was answered: a bounded queue in the process, packed and appended by a thread of its own.

The request path only appends to the queue; it never waits for Redis. Redis away: the queue holds up to its bound, then
drops the oldest observations and counts them. Redis back: it goes on. An append whose answer was lost is repeated as it
was, under the same number: Redis takes it once. It waits beside the queue, and is not dropped.
"""

import itertools
import logging
import threading
import time
import uuid
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import redis
from numpy.typing import NDArray

from inference import metrics, stream
from mlmon.columns import FeatureColumns, observed_table
from mlmon.schema import Feature
from models_registry.class_scores import scores_column

logger = logging.getLogger(__name__)

LONGEST_RETRY_SECONDS = 2.0
MOST_ROWS_OF_AN_ENTRY = 10_000


@dataclass(frozen=True, slots=True)
class ObservationBatch:
    """Rows answered by one request.

    Attributes
    ----------
    version_id, model_name, features
        Who answered, and what the columns mean.
    prediction_ids
        One id of 16 bytes for each row.
    observed_at_us
        Unix time in microseconds, of all rows or of each, shape (n,).
    columns
        Feature values, one array of n rows for each feature.
    predictions
        Class labels (str) or numbers, shape (n,).
    confidence
        Probability of the predicted class, shape (n,), or None.
    scores
        Probabilities of the classes that are kept (`models_registry.class_scores`), shape (n, classes), or None.
    latency_ms
        Of the whole request, or of each row, shape (n,), NaN where it is not known.
    """

    version_id: int
    model_name: str
    features: Sequence[Feature]
    prediction_ids: Sequence[bytes]
    observed_at_us: int | NDArray[np.int64]
    columns: FeatureColumns
    predictions: NDArray[np.object_] | NDArray[np.float64]
    confidence: NDArray[np.float64] | None
    latency_ms: float | NDArray[np.float64]
    scores: NDArray[np.float32] | None = None

    @property
    def rows(self) -> int:
        return len(self.prediction_ids)


@dataclass(frozen=True, slots=True)
class _Part:
    """Batches that make one entry, and the attempt under which it is appended."""

    batches: Sequence[ObservationBatch]
    attempt: stream.Attempt

    @property
    def rows(self) -> int:
        return sum(batch.rows for batch in self.batches)


class Recorder:
    """The process's queue of observations and the thread that empties it.

    Parameters
    ----------
    client
        Returns the connection to Redis.
    queue_rows
        Observations that wait at most.
    flush_seconds
        Pause between two flushes.
    stream_rows
        Observations that a version's stream holds at most, archived or not.
    """

    def __init__(
        self, client: Callable[[], redis.Redis], *, queue_rows: int, flush_seconds: float, stream_rows: int
    ) -> None:
        self._client = client
        self._queue_rows = queue_rows
        self._flush_seconds = flush_seconds
        self._stream_rows = stream_rows
        self._rows_since_trim: Counter[int] = Counter()
        self._producer = uuid.uuid4().hex
        self._attempts = itertools.count(1)
        self._lock = threading.Lock()  # guards the queue
        self._flush_lock = threading.Lock()  # one flush at a time, so that entries keep their order
        self._queue: deque[ObservationBatch] = deque()
        self._unsettled: _Part | None = None  # appended without an answer: comes before the queue, and as it is
        self._rows = 0  # of both
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def record(self, batch: ObservationBatch) -> None:
        """Queue `batch`; the oldest observations go where the queue is full."""
        with self._lock:
            self._queue.append(batch)
            self._rows += batch.rows
            dropped = self._drop_oldest()
            if self._thread is None and not self._stopping:
                self._thread = threading.Thread(target=self._run, name="mlmon-recorder", daemon=True)
                self._thread.start()
        metrics.CAPTURE_PENDING.labels(batch.model_name).inc(batch.rows)
        _count_dropped(dropped)
        self._wake.set()

    def flush(self) -> None:
        """Append everything that is queued.

        Raises
        ------
        redis.RedisError
            Redis did not take it; what was not taken is queued again.
        """
        with self._flush_lock:
            parts = self._taken()
            for done, part in enumerate(parts):
                try:
                    self._append(part)
                except redis.RedisError:
                    self._put_back(part, parts[done + 1 :])
                    raise
                except Exception:
                    # One batch that cannot be packed must not end the capture of all others.
                    logger.exception("Observations of %s could not be packed.", part.batches[0].model_name)
                    _count_dropped(part.batches)

    def flush_and_stop(self, timeout_seconds: float = 5.0) -> None:
        """Append what is queued, for at most `timeout_seconds`, and end the thread: for the process's end."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout_seconds)
        try:
            self.flush()
        except redis.RedisError as error:
            logger.error("%d observations were lost at the process's end: %s", self._rows, error)

    def _run(self) -> None:
        pause = self._flush_seconds
        while not self._stopping:
            self._wake.wait()
            self._wake.clear()
            try:
                self.flush()
                pause = self._flush_seconds
            except redis.RedisError as error:
                logger.warning("Redis does not take observations (%d wait): %s", self._rows, error)
                pause = min(LONGEST_RETRY_SECONDS, pause * 2)
                self._wake.set()
            if not self._stopping:
                time.sleep(pause)

    def _taken(self) -> list[_Part]:
        """Empty the queue, in parts of one entry each."""
        with self._lock:
            unsettled, self._unsettled = self._unsettled, None
            queued = list(self._queue)
            self._queue.clear()
            self._rows = 0
        parts = [] if unsettled is None else [unsettled]
        return parts + [
            _Part(batches, stream.Attempt(self._producer, next(self._attempts))) for batches in _by_version(queued)
        ]

    def _append(self, part: _Part) -> None:
        first = part.batches[0]
        packed = packed_table(part.batches)
        client = self._client()
        stream.append(client, first.version_id, packed, max_entries=self._stream_rows, attempt=part.attempt)
        metrics.CAPTURE_PENDING.labels(first.model_name).dec(packed.num_rows)
        self._bound_stream(client, first.version_id, packed.num_rows)

    def _bound_stream(self, client: redis.Redis, version_id: int, rows: int) -> None:
        """Keep the stream at its bound while no worker does: memory is finite, also where nothing is archived."""
        self._rows_since_trim[version_id] += rows
        if self._rows_since_trim[version_id] >= self._stream_rows // 10:
            self._rows_since_trim[version_id] = 0
            with suppress(redis.RedisError):  # the rows are written: the next time will do
                stream.trim_to_rows(client, version_id, self._stream_rows)

    def _put_back(self, unsettled: _Part, untried: Iterable[_Part]) -> None:
        with self._lock:
            self._unsettled = unsettled
            self._queue.extendleft(reversed([batch for part in untried for batch in part.batches]))
            self._rows = unsettled.rows + sum(batch.rows for batch in self._queue)
            dropped = self._drop_oldest()
        _count_dropped(dropped)

    def _drop_oldest(self) -> list[ObservationBatch]:
        """Drop from the queue's front until the bound holds, but never all that there is.

        What is unsettled stays: a part of it could only be appended under another number, and may be there already.
        """
        dropped: list[ObservationBatch] = []
        at_least = 1 if self._unsettled is None else 0
        while self._rows > self._queue_rows and len(self._queue) > at_least:
            dropped.append(self._queue.popleft())
            self._rows -= dropped[-1].rows
        return dropped


def packed_table(batches: Sequence[ObservationBatch]) -> pa.Table:
    """Return the batches of one version and schema as one table, as `stream.Window` describes it."""
    first = batches[0]
    columns = {
        feature.name: np.concatenate([batch.columns[feature.name] for batch in batches]) for feature in first.features
    }
    features = observed_table(first.features, columns)
    observed_at = np.concatenate([np.broadcast_to(batch.observed_at_us, batch.rows) for batch in batches])
    latency = np.concatenate([np.broadcast_to(batch.latency_ms, batch.rows) for batch in batches])
    confidence = np.concatenate(
        [np.full(batch.rows, np.nan) if batch.confidence is None else batch.confidence for batch in batches]
    )
    predictions = np.concatenate([batch.predictions for batch in batches])
    arrays: list[pa.Array[Any]] = [
        pa.array([one for batch in batches for one in batch.prediction_ids], pa.binary(16)),
        pa.array(observed_at, pa.timestamp("us", tz="UTC")),
        pa.array(confidence, pa.float64(), from_pandas=True),
        pa.array(latency, pa.float64(), from_pandas=True),
        pa.array(predictions, pa.string() if predictions.dtype == object else pa.float64()),
        *(column.combine_chunks() for column in features.columns),
    ]
    answers = [pa.field("prediction", arrays[4].type)]
    if (scores := _joined_scores(batches)) is not None:
        arrays.insert(5, scores_column(scores))
        answers.append(pa.field("scores", arrays[5].type))
    named = [pa.field(stream.FEATURE_PREFIX + field.name, field.type) for field in features.schema]
    fields: list[Any] = [*stream.OBSERVATION_FIELDS, *answers, *named]
    return pa.table(arrays, schema=pa.schema(fields))


def _joined_scores(batches: Sequence[ObservationBatch]) -> NDArray[np.float32] | None:
    """Return the scores of all rows, NaN where a batch has none; None where none has."""
    width = next((batch.scores.shape[1] for batch in batches if batch.scores is not None), None)
    if width is None:
        return None
    missing = np.float32(np.nan)
    return np.concatenate(
        [np.full((batch.rows, width), missing) if batch.scores is None else batch.scores for batch in batches]
    )


def _by_version(batches: Iterable[ObservationBatch]) -> list[list[ObservationBatch]]:
    """Group batches that fit one entry: of one version and schema, and not too many rows."""
    groups: dict[tuple[int, Sequence[Feature]], list[ObservationBatch]] = defaultdict(list)
    for batch in batches:
        groups[batch.version_id, batch.features].append(batch)
    return [part for group in groups.values() for part in _parts(group)]


def _parts(group: Sequence[ObservationBatch]) -> list[list[ObservationBatch]]:
    parts: list[list[ObservationBatch]] = [[]]
    rows = 0
    for batch in group:
        if parts[-1] and rows + batch.rows > MOST_ROWS_OF_AN_ENTRY:
            parts.append([])
            rows = 0
        parts[-1].append(batch)
        rows += batch.rows
    return parts


def _count_dropped(batches: Iterable[ObservationBatch]) -> None:
    for batch in batches:
        metrics.CAPTURE_PENDING.labels(batch.model_name).dec(batch.rows)
        metrics.CAPTURE_DROPPED.labels(batch.model_name).inc(batch.rows)
