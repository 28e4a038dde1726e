"""Finding predictions by their ids, in the archive and in what is not archived yet.

An id of ours tells its version and its time (`inference.prediction_ids`), so a few chunks are looked into. An id that a
client gave tells neither: then all chunks with such ids are.
"""

import threading
import uuid
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from cachetools import LRUCache, cached

from inference import selectors, stream
from inference.archive_format import from_bytes, readable_table
from inference.models import NO_ENTRY
from inference.prediction_ids import VERSION_BITS, milliseconds_of, version_bits
from inference.redis_client import redis_client
from mlmon.columns import category_name

SCORE_TYPE = "<f4"
ANSWER_COLUMNS = ("prediction_id", "observed_at", "confidence", "prediction", "scores")
CACHED_BYTES = 64 * 2**20  # of answers without their features; labels come in the order of time, and often one by one
MOST_ROUNDS = 3  # of looking again where chunks were compacted meanwhile
LATEST_FLUSH = timedelta(minutes=1)  # after its prediction an observation is in the stream, as a rule


@dataclass(frozen=True, slots=True)
class FoundPrediction:
    """What was answered under one id.

    Attributes
    ----------
    version_id, predicted_at
        Which version answered, and when.
    prediction
        The class, or the number as text.
    confidence
        Probability of the predicted class, or None.
    scores
        Probabilities of the version's classes as `SCORE_TYPE`, or None where they were not recorded.
    """

    version_id: int
    predicted_at: datetime
    prediction: str
    confidence: float | None
    scores: bytes | None


def find_predictions(prediction_ids: Set[bytes]) -> dict[bytes, FoundPrediction]:
    """Return those of the ids (16 bytes each) whose predictions were captured and are kept.

    Raises
    ------
    redis.RedisError, django.db.DatabaseError
        One of the two places did not answer.
    """
    found: dict[bytes, FoundPrediction] = {}
    for version_id, ids in _by_version(prediction_ids):
        position = selectors.archive_position(version_id)
        found |= _in_chunks(ids, version_id=version_id)
        last_entry_id = position.last_entry_id if position else NO_ENTRY
        if recent := {one for one in ids - found.keys() if _may_be_unarchived(one, last_entry_id)}:
            found |= _in_stream(recent, version_id, last_entry_id)
    if others := prediction_ids - found.keys():
        found |= _in_chunks(others, version_id=None)
    return found


def matches(table: pa.Table, version_id: int, prediction_ids: Set[bytes]) -> dict[bytes, FoundPrediction]:
    """Return the rows of one version's observations whose ids are wanted."""
    wanted = pa.array(prediction_ids, pa.binary(16))
    rows = table.filter(pc.is_in(table.column("prediction_id"), value_set=wanted))
    columns: dict[str, list[Any]] = {
        name: rows.column(name).to_pylist() for name in ANSWER_COLUMNS if name in rows.column_names
    }
    return {
        prediction_id: FoundPrediction(
            version_id=version_id,
            predicted_at=columns["observed_at"][row],
            prediction=_text(columns["prediction"][row]),
            confidence=columns["confidence"][row],
            scores=_packed_scores(columns["scores"][row]) if "scores" in columns else None,
        )
        for row, prediction_id in enumerate(columns["prediction_id"])
    }


def _by_version(prediction_ids: Set[bytes]) -> Iterator[tuple[int, set[bytes]]]:
    """Yield the versions that may have made ids of ours, with these ids."""
    by_bits: dict[int, set[bytes]] = defaultdict(set)
    for prediction_id in prediction_ids:
        by_bits[version_bits(prediction_id)].add(prediction_id)
    for version_id in selectors.version_ids():
        if ids := by_bits.get(version_id % (1 << VERSION_BITS)):
            yield version_id, ids


def _may_be_unarchived(prediction_id: bytes, last_entry_id: str) -> bool:
    archived_until = stream.id_order(last_entry_id)[0]
    return milliseconds_of(prediction_id) >= archived_until - LATEST_FLUSH.total_seconds() * 1000


def _in_stream(prediction_ids: Set[bytes], version_id: int, last_entry_id: str) -> dict[bytes, FoundPrediction]:
    found: dict[bytes, FoundPrediction] = {}
    for entry in stream.newest_first(redis_client(), version_id, after=last_entry_id):
        table = readable_table(entry)
        if table is not None:
            found |= matches(table, version_id, prediction_ids)
        if len(found) == len(prediction_ids):
            break
    return found


def _in_chunks(prediction_ids: Iterable[bytes], *, version_id: int | None) -> dict[bytes, FoundPrediction]:
    """Look into the chunks of one version, or of all versions those with ids that clients gave."""
    found: dict[bytes, FoundPrediction] = {}
    missing = set(prediction_ids)
    for _ in range(MOST_ROUNDS):
        ordered = sorted(missing)
        has_vanished = False
        for chunk_id, owner, first, last in selectors.chunk_ranges(ordered[0], ordered[-1], version_id=version_id):
            wanted = set(_between(ordered, first, last)) & missing
            answers = answers_of_chunk(chunk_id) if wanted else None
            if answers is not None:
                found |= matches(answers, owner, wanted)
                missing -= found.keys()
            has_vanished = has_vanished or (bool(wanted) and answers is None)
        if not missing or not has_vanished:
            break
    return found


def _between(ordered: list[bytes], first: uuid.UUID, last: uuid.UUID) -> list[bytes]:
    start = bisect_left(ordered, first.bytes)
    return ordered[start : bisect_left(ordered, last.bytes, lo=start) + 1]


@cached(LRUCache[Any, Any](CACHED_BYTES, getsizeof=lambda table: table.nbytes if table else 0), lock=threading.Lock())
def answers_of_chunk(chunk_id: int) -> pa.Table | None:
    """Return a chunk's rows without features; None where it is gone. A chunk never changes."""
    payload = selectors.chunk_payload(chunk_id)
    return None if payload is None else from_bytes(payload, ANSWER_COLUMNS)


def _text(prediction: str | float) -> str:
    return prediction if isinstance(prediction, str) else category_name(prediction)


def _packed_scores(scores: list[float] | None) -> bytes | None:
    return None if scores is None else np.array(scores, dtype=SCORE_TYPE).tobytes()
