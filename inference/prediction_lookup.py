"""Find predictions by their ids, in the archive and in the part of the stream that is not archived yet.

An id of this server contains its version and its time (`inference.observations`), so only a few chunks are read. An id
that a client gave contains neither; then all chunks with such ids are candidates.
"""

import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from cachetools import LRUCache, cached

from inference import selectors, stream
from inference.archive_format import from_bytes, readable_table
from inference.models import NO_ENTRY, ObservationChunk
from inference.prediction_ids import VERSION_BITS, version_bits
from inference.rollout_counts import SHADOW_ROUTING
from mlmon.values import category_name

SCORE_TYPE = "<f4"
PREDICTION_COLUMNS = ("prediction_id", "observed_at", "confidence", "prediction", "scores", "routing")
CACHED_BYTES = 64 * 2**20  # of chunks without features; ground truth arrives in the order of time, often singly
MOST_ROUNDS = 3  # of reading again after chunks were compacted meanwhile
LATEST_FLUSH = timedelta(minutes=1)  # normally, an observation is in the stream this long after its prediction


@dataclass(frozen=True, slots=True)
class FoundPrediction:
    """A captured prediction.

    Attributes
    ----------
    version_id, predicted_at
        The version that predicted, and the time.
    prediction
        The class, or the number as a string.
    confidence
        Probability of the predicted class, or None.
    scores
        Probabilities of the version's classes as `SCORE_TYPE`, or None if they were not captured.
    routing
        How the traffic policy chose the version (`inference.rollout_counts.Routing`), packed; None without a rollout.
    """

    version_id: int
    predicted_at: datetime
    prediction: str
    confidence: float | None
    scores: bytes | None
    routing: bytes | None


def find_predictions(prediction_ids: Set[bytes]) -> dict[bytes, FoundPrediction]:
    """Return the predictions with these ids (16 bytes each) that were captured and are still stored.

    Raises
    ------
    redis.RedisError, django.db.DatabaseError
        Redis or the database is unavailable.
    """
    by_bits: dict[int, set[bytes]] = defaultdict(set)
    for prediction_id in prediction_ids:
        by_bits[version_bits(prediction_id)].add(prediction_id)
    found: dict[bytes, FoundPrediction] = {}
    for version_id in selectors.version_ids():
        if ids := by_bits.get(version_id % (1 << VERSION_BITS)):
            position = selectors.archive_position(version_id)  # before the chunks: rows may be archived meanwhile
            found |= _in_chunks(ids, version_id=version_id)
            last_entry_id = position.last_entry_id if position else NO_ENTRY
            found |= _in_stream(ids - found.keys(), version_id, last_entry_id)
    if others := prediction_ids - found.keys():
        found |= _in_chunks(others, version_id=None)
    return found


def find_copies(version_id: int, prediction_ids: Set[bytes]) -> dict[bytes, FoundPrediction]:
    """Return what a shadow version predicted for copies of requests, by the prediction ids of the requests.

    Raises
    ------
    redis.RedisError, django.db.DatabaseError
        Redis or the database is unavailable.
    """
    if not prediction_ids:
        return {}
    position = selectors.archive_position(version_id)
    found = _in_chunks(prediction_ids, version_id=version_id, of_copies=True)
    last_entry_id = position.last_entry_id if position else NO_ENTRY
    return found | _in_stream(prediction_ids - found.keys(), version_id, last_entry_id, of_copies=True)


def matches(
    table: pa.Table, version_id: int, prediction_ids: Set[bytes], *, of_copies: bool = False
) -> dict[bytes, FoundPrediction]:
    """Return the predictions of one version's observations with these ids.

    A copy that a shadow version predicted has the id of its request, and is another version's prediction. Only
    `of_copies` returns them, and nothing else.
    """
    wanted = pa.array(prediction_ids, pa.binary(16))
    rows = table.filter(pc.is_in(table.column("prediction_id"), value_set=wanted))
    columns: dict[str, list[Any]] = {
        name: rows.column(name).to_pylist() for name in PREDICTION_COLUMNS if name in rows.column_names
    }
    found: dict[bytes, FoundPrediction] = {}
    for row, prediction_id in enumerate(columns["prediction_id"]):
        prediction = columns["prediction"][row]
        scores = columns["scores"][row] if "scores" in columns else None
        routing = columns["routing"][row] if "routing" in columns else None
        if (routing == SHADOW_ROUTING) != of_copies:
            continue
        found[prediction_id] = FoundPrediction(
            version_id=version_id,
            predicted_at=columns["observed_at"][row],
            prediction=prediction if isinstance(prediction, str) else category_name(prediction),
            confidence=columns["confidence"][row],
            scores=None if scores is None else np.array(scores, dtype=SCORE_TYPE).tobytes(),
            routing=routing,
        )
    return found


def _in_stream(
    prediction_ids: Set[bytes], version_id: int, last_entry_id: str, *, of_copies: bool = False
) -> dict[bytes, FoundPrediction]:
    """Search the entries after `last_entry_id`, the last archived one, for ids that are recent enough."""
    oldest = stream.id_order(last_entry_id)[0] - LATEST_FLUSH.total_seconds() * 1000
    recent = {one for one in prediction_ids if int.from_bytes(one[:6], "big") >= oldest}  # ids begin with milliseconds
    found: dict[bytes, FoundPrediction] = {}
    if recent:
        for entry in stream.latest_first(stream.redis_client(), version_id, after=last_entry_id):
            table = readable_table(entry)
            if table is not None:
                found |= matches(table, version_id, recent, of_copies=of_copies)
            if len(found) == len(recent):
                break
    return found


def _in_chunks(
    prediction_ids: Iterable[bytes], *, version_id: int | None, of_copies: bool = False
) -> dict[bytes, FoundPrediction]:
    """Search the chunks of one version, or the chunks of all versions with ids that clients gave."""
    found: dict[bytes, FoundPrediction] = {}
    missing = set(prediction_ids)
    for _ in range(MOST_ROUNDS):
        ordered = sorted(missing)
        has_vanished = False
        for chunk_id, owner, first, last in selectors.chunk_ranges(ordered[0], ordered[-1], version_id=version_id):
            start = bisect_left(ordered, first.bytes)
            wanted = set(ordered[start : bisect_left(ordered, last.bytes, lo=start) + 1]) & missing
            predictions = predictions_of_chunk(chunk_id) if wanted else None
            if predictions is not None:
                found |= matches(predictions, owner, wanted, of_copies=of_copies)
                missing -= found.keys()
            has_vanished = has_vanished or (bool(wanted) and predictions is None)
        if not missing or not has_vanished:
            break
    return found


@cached(LRUCache[Any, Any](CACHED_BYTES, getsizeof=lambda table: table.nbytes if table else 0), lock=threading.Lock())
def predictions_of_chunk(chunk_id: int) -> pa.Table | None:
    """Return a chunk's rows without features; None if it no longer exists. A chunk never changes."""
    payload = ObservationChunk.objects.filter(pk=chunk_id).values_list("payload", flat=True).first()
    return None if payload is None else from_bytes(payload, PREDICTION_COLUMNS)
