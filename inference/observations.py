"""Observations: the columns of captured predictions, and how they are appended to the live window."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import redis
from numpy.typing import NDArray

from inference.prediction_ids import ID_BYTES, PredictionIds
from inference.rollout_counts import ROUTING_FORMAT
from inference.stream import FEATURE_PREFIX, OBSERVATION_FIELDS, OBSERVED_AT_TYPE, stream_key, to_bytes
from mlmon.feature_columns import FeatureColumns, merged_columns
from mlmon.schema import Feature
from mlmon.values import observed_table
from models_registry.class_scores import scores_column

ROUTING_TYPE = pa.binary(ROUTING_FORMAT.size)
ATTEMPT_SECONDS = 86_400  # Redis keeps an attempt this long; it is repeated within seconds of Redis' return
# Number 0 means that the append is never repeated.
APPEND_SCRIPT = """
if ARGV[1] ~= '0' then
    if redis.call('GET', KEYS[3]) == ARGV[1] then return 0 end
    redis.call('SET', KEYS[3], ARGV[1], 'EX', ARGV[5])
end
local seen = redis.call('INCRBY', KEYS[1], ARGV[3])
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', 'b', ARGV[2], 'n', ARGV[3], 'r', seen)
return 1
"""

GIVEN_IDS_ATTEMPT_SECONDS = 60  # an append with given ids is repeated only by redis-py's own retries
APPEND_NEW_SCRIPT = """
if redis.call('GET', KEYS[3]) == ARGV[1] then return {0, {}} end
local known = {}
for i = 7, #ARGV do
    if redis.call('ZSCORE', KEYS[4], ARGV[i]) then known[#known + 1] = ARGV[i] end
end
if #known > 0 then return {0, known} end
redis.call('SET', KEYS[3], ARGV[1], 'EX', ARGV[5])
local seen = redis.call('INCRBY', KEYS[1], ARGV[3])
if ARGV[3] ~= '0' then
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', 'b', ARGV[2], 'n', ARGV[3], 'r', seen)
end
for i = 7, #ARGV do redis.call('ZADD', KEYS[4], seen, ARGV[i]) end
redis.call('ZREMRANGEBYRANK', KEYS[4], 0, -(ARGV[6] + 1))
return {seen, {}}
"""


@dataclass(frozen=True, slots=True)
class ObservationBatch:
    """Observations of one model version from one request.

    Attributes
    ----------
    version_id, model_name, features
        The version that made the predictions, and the features of its schema.
    prediction_ids
        An id for each row.
    observed_at_us
        Unix time in microseconds, for all rows or for each row, shape (n,).
    columns
        Feature values, one array of n rows for each feature.
    predictions
        Classes (str) or numbers, shape (n,).
    confidence
        Probability of the predicted class, shape (n,), or None.
    scores
        Probabilities of the classes (`models_registry.class_scores`), shape (n, classes), or None.
    latency_ms
        Latency of the whole request, or of each row, shape (n,); NaN if unknown.
    routing
        How the traffic policy chose the version for each row (`inference.rollout_counts.Routing`), or None for a row
        without a rollout; None if no row has one.
    """

    version_id: int
    model_name: str
    features: Sequence[Feature]
    prediction_ids: PredictionIds
    observed_at_us: int | NDArray[np.int64]
    columns: FeatureColumns
    predictions: NDArray[np.object_] | NDArray[np.float64]
    confidence: NDArray[np.float64] | None
    latency_ms: float | NDArray[np.float64]
    scores: NDArray[np.float32] | None = None
    routing: Sequence[bytes | None] | None = None

    @property
    def rows(self) -> int:
        return len(self.prediction_ids)

    def select(self, rows: NDArray[np.bool_]) -> "ObservationBatch":
        """Return the rows at which the mask `rows`, shape (n,), is true."""
        latency_ms, observed_at_us = self.latency_ms, self.observed_at_us
        return replace(
            self,
            prediction_ids=self.prediction_ids.selected(rows),
            columns={name: values[rows] for name, values in self.columns.items()},
            predictions=self.predictions[rows],
            confidence=None if self.confidence is None else self.confidence[rows],
            scores=None if self.scores is None else self.scores[rows],
            observed_at_us=observed_at_us[rows] if isinstance(observed_at_us, np.ndarray) else observed_at_us,
            latency_ms=latency_ms[rows] if isinstance(latency_ms, np.ndarray) else latency_ms,
            routing=None
            if self.routing is None
            else [one for one, is_kept in zip(self.routing, rows.tolist(), strict=True) if is_kept],
        )


@dataclass(frozen=True, slots=True)
class Attempt:
    """Identifies an append, so that it can be repeated if its reply was lost: Redis performs it at most once.

    Attributes
    ----------
    producer
        The writer, which makes one append at a time for each version.
    number
        Different for each append. A repeated append keeps its number, and precedes any other append of that version.
    """

    producer: str
    number: int


@dataclass(frozen=True, slots=True)
class Appended:
    """The result of an append with given ids.

    Attributes
    ----------
    rows_seen
        Number of rows ever captured for the version, including this entry; 0 if nothing was appended, or if an earlier
        attempt appended it.
    known_ids
        Ids that were appended before; if there are any, nothing was appended.
    """

    rows_seen: int
    known_ids: frozenset[bytes]


def packed_table(batches: Sequence[ObservationBatch]) -> pa.Table:
    """Return batches of one version and schema as one table with the columns of `inference.stream.Window`."""
    first = batches[0]
    features = observed_table(first.features, merged_columns([batch.columns for batch in batches]))
    ids = PredictionIds.joined([batch.prediction_ids for batch in batches])
    observed_at = np.concatenate([np.broadcast_to(batch.observed_at_us, batch.rows) for batch in batches])
    latency = np.concatenate([np.broadcast_to(batch.latency_ms, batch.rows) for batch in batches])
    confidence = np.concatenate(
        [np.full(batch.rows, np.nan) if batch.confidence is None else batch.confidence for batch in batches]
    )
    predictions = np.concatenate([batch.predictions for batch in batches])
    arrays: list[Any] = [
        pa.Array.from_buffers(pa.binary(ID_BYTES), len(ids), [None, pa.py_buffer(ids.buffer)]),
        pa.array(observed_at, OBSERVED_AT_TYPE),
        pa.array(confidence, pa.float64(), from_pandas=True),
        pa.array(latency, pa.float64(), from_pandas=True),
        pa.array(predictions, pa.string() if predictions.dtype == object else pa.float64()),
    ]
    fields: list[Any] = [*OBSERVATION_FIELDS, pa.field("prediction", arrays[4].type)]
    classes = next((batch.scores.shape[1] for batch in batches if batch.scores is not None), None)
    if classes is not None:  # a batch without scores gets NaN, which becomes null
        unknown = np.float32(np.nan)
        scores = [np.full((one.rows, classes), unknown) if one.scores is None else one.scores for one in batches]
        arrays.append(scores_column(np.concatenate(scores)))
        fields.append(pa.field("scores", arrays[5].type))
    if any(batch.routing is not None for batch in batches):
        routing = [one for batch in batches for one in batch.routing or [None] * batch.rows]
        arrays.append(pa.array(routing, ROUTING_TYPE))
        fields.append(pa.field("routing", ROUTING_TYPE))
    arrays.extend(column.chunk(0) for column in features.columns)  # each is one array
    fields.extend(pa.field(FEATURE_PREFIX + field.name, field.type) for field in features.schema)
    return pa.table(arrays, schema=pa.schema(fields))


def append_observations(
    client: redis.Redis, version_id: int, observations: pa.Table, *, max_entries: int, attempt: Attempt | None = None
) -> None:
    """Append `observations` as one entry.

    An entry holds at least one row, so the last `max_entries` entries hold at least as many rows. This function keeps
    that bound, approximately; `inference.stream.trim_to_rows` keeps the bound in rows.

    Redis counts and writes in one step, so entries are in the order of their rows, and only written rows are counted.
    A repeated append with the same `attempt` changes nothing.
    """
    attempt = attempt or Attempt(producer="", number=0)
    client.register_script(APPEND_SCRIPT)(
        keys=[stream_key(version_id, name) for name in ("rows", "observations", f"producer:{attempt.producer}")],
        args=[attempt.number, to_bytes(observations), observations.num_rows, max_entries, ATTEMPT_SECONDS],
    )


def append_new_observations(
    client: redis.Redis,
    version_id: int,
    observations: pa.Table | None,
    given_ids: Sequence[bytes],
    *,
    attempt: Attempt,
    max_entries: int,
    most_ids: int,
) -> Appended:
    """Append `observations` as one entry, unless one of the ids that clients gave was appended before.

    Redis checks the ids, writes the entry and stores the ids in one step: if two requests have the same id, at the same
    time or not, it is known to one of them. A repeated attempt changes nothing.

    Parameters
    ----------
    observations
        None if no row is captured: then only the ids are stored.
    given_ids
        Distinct ids of 16 bytes.
    max_entries
        See `append_observations`.
    most_ids
        Number of the latest ids that Redis keeps.
    """
    rows = 0 if observations is None else observations.num_rows
    payload = b"" if observations is None else to_bytes(observations)
    names = ("rows", "observations", f"producer:{attempt.producer}", "given-ids")
    limits = (max_entries, GIVEN_IDS_ATTEMPT_SECONDS, most_ids)
    args: list[bytes | int] = [attempt.number, payload, rows, *limits, *given_ids]
    keys = [stream_key(version_id, name) for name in names]
    reply: Any = client.register_script(APPEND_NEW_SCRIPT)(keys=keys, args=args)
    return Appended(rows_seen=int(reply[0]), known_ids=frozenset(reply[1]))
