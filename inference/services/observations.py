"""Taking predictions that another server made: the model is watched here and served elsewhere."""

import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import numpy as np
import redis
from django.conf import settings
from django.utils import timezone

from inference import stream
from inference.capture import count_sampled_out, rows_of_batch
from inference.exceptions import NoVersionLoadedError, ObservationError, RowValueError
from inference.given_values import EPOCH
from inference.observation_items import ObservationItem, items_of_payload, parse_observation
from inference.prediction_ids import new_prediction_ids, prediction_id_text
from inference.recorder import ObservationBatch, packed_table
from inference.redis_client import redis_client
from inference.rows import columns_of_rows
from inference.serving import serving
from inference.snapshot import LoadedVersion, Snapshot
from mlmon.schema import TaskType
from models_registry.class_scores import kept_scores

MICROSECOND = timedelta(microseconds=1)


class ObservationStatus(StrEnum):
    """What became of an observation."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class ObservationOutcome:
    """What became of one item: its id, which is the client's where it gave one; `error` of an invalid one."""

    prediction_id: object
    status: ObservationStatus
    error: ObservationError | None = None


@dataclass(frozen=True, slots=True)
class ObservedElsewhere:
    """What became of a request's items, in their order."""

    version: LoadedVersion
    outcomes: Sequence[ObservationOutcome]
    is_batch: bool


def record_observations(*, model_name: str, payload: object) -> ObservedElsewhere:
    """Keep the valid items of a request as observations of a version; they are in the live window on return.

    An item with an id that was given before, here or in an earlier request, is a duplicate and changes nothing. Items
    without ids are new each time.

    Parameters
    ----------
    payload
        The decoded body: see `inference.observation_items`. Without a version in it the items are those of the model's
        primary version.

    Raises
    ------
    UnknownModelError, UnknownVersionError, ArchivedVersionError, NoVersionLoadedError
        There is no version that they could be of.
    PayloadError
        The body as a whole is refused.
    redis.RedisError
        Nothing is kept; or all of it, where the answer was lost on its way from Redis.
    """
    items, version_name, is_batch = items_of_payload(payload, most_items=settings.MLMON_MAX_ROWS_PER_REQUEST)
    version = _version(serving().snapshot(), model_name, version_name)
    parsed, outcomes = _parsed(items, version, timezone.now())
    parsed, refused = _with_valid_features(parsed, items, version)
    outcomes |= refused
    first, repeated = _first_of_each_id(parsed)
    outcomes |= repeated
    if first:
        outcomes |= _kept(version, first)
    return ObservedElsewhere(version, [outcomes[place] for place in range(len(items))], is_batch)


def _version(snapshot: Snapshot, model_name: str, version_name: str | None) -> LoadedVersion:
    if version_name is not None:
        return snapshot.version(model_name, version_name)
    production = snapshot.model(model_name).production
    if not production:
        raise NoVersionLoadedError(f"Model {model_name!r} has no version in production; name one as its version.")
    return production[0]


_Items = dict[int, ObservationItem]
_Outcomes = dict[int, ObservationOutcome]


def _parsed(items: Sequence[object], version: LoadedVersion, now: datetime) -> tuple[_Items, _Outcomes]:
    parsed: _Items = {}
    refused: _Outcomes = {}
    for place, item in enumerate(items):
        try:
            parsed[place] = parse_observation(item, version.schema, now=now)
        except ObservationError as error:
            refused[place] = _invalid(item, error)
    return parsed, refused


def _with_valid_features(
    parsed: Mapping[int, ObservationItem], items: Sequence[object], version: LoadedVersion
) -> tuple[_Items, _Outcomes]:
    """Return the items whose features the schema takes, and what is wrong with the others."""
    if not parsed:
        return {}, {}
    features = version.schema.features
    with suppress(RowValueError):  # all at once where all are right
        columns_of_rows(features, [item.features for item in parsed.values()])
        return dict(parsed), {}
    valid: _Items = {}
    refused: _Outcomes = {}
    for place, item in parsed.items():
        try:
            columns_of_rows(features, [item.features])
            valid[place] = item
        except RowValueError as error:
            reason = f"{error.feature}: {error.reason}" if error.feature else error.reason
            refused[place] = _invalid(items[place], ObservationError("features", reason))
    return valid, refused


def _first_of_each_id(parsed: Mapping[int, ObservationItem]) -> tuple[_Items, _Outcomes]:
    """Return the items without those that repeat an id of this request, and what became of these."""
    first: _Items = {}
    repeated: _Outcomes = {}
    met: set[bytes] = set()
    for place, item in parsed.items():
        if item.prediction_id is None or item.prediction_id not in met:
            first[place] = item
        else:
            repeated[place] = _outcome(item.prediction_id, ObservationStatus.DUPLICATE)
        if item.prediction_id is not None:
            met.add(item.prediction_id)
    return first, repeated


def _kept(version: LoadedVersion, items: Mapping[int, ObservationItem]) -> _Outcomes:
    batch = _batch(version, list(items.values()))
    given = {item.prediction_id for item in items.values() if item.prediction_id is not None}
    known = _append_new(version, batch, given)
    is_new = np.array([one not in known for one in batch.prediction_ids], dtype=np.bool_)
    _measure(version, rows_of_batch(batch, is_new))
    return {
        place: _outcome(one, ObservationStatus.ACCEPTED if one not in known else ObservationStatus.DUPLICATE)
        for place, one in zip(items, batch.prediction_ids, strict=True)
    }


def _append_new(version: LoadedVersion, batch: ObservationBatch, given: set[bytes]) -> set[bytes]:
    """Append what is new in a batch; return the given ids that are known already.

    Redis takes all of it or nothing and says which ids it knows; without them it is tried again. Another request may
    bring some of the others meanwhile, so this can repeat itself, with fewer ids each time.
    """
    client = redis_client()
    producer = uuid.uuid4().hex
    known: set[bytes] = set()
    while batch.rows:
        captured = version.capture.captured(batch)
        appended = stream.append_new(
            client,
            version.id,
            packed_table([captured]) if captured else None,
            sorted(given - known),
            attempt=stream.Attempt(producer, len(known) + 1),
            max_entries=settings.MLMON_STREAM_ROWS,
            most_ids=settings.MLMON_LIVE_WINDOW_ROWS,
        )
        if not appended.known_ids:
            count_sampled_out(batch, captured)
            _bound_stream(client, version.id, appended.rows_seen, captured.rows if captured else 0)
            break
        known |= appended.known_ids
        batch = rows_of_batch(batch, np.array([one not in known for one in batch.prediction_ids], dtype=np.bool_))
    return known


def _bound_stream(client: redis.Redis, version_id: int, rows_seen: int, rows: int) -> None:
    """Keep the stream at its bound now and then, as the recorder does, also where no worker runs."""
    every = max(1, settings.MLMON_STREAM_ROWS // 10)
    if rows_seen // every != (rows_seen - rows) // every:
        with suppress(redis.RedisError):  # the rows are written: the next time will do
            stream.trim_to_rows(client, version_id, settings.MLMON_STREAM_ROWS)


def _batch(version: LoadedVersion, items: Sequence[ObservationItem]) -> ObservationBatch:
    schema = version.schema
    own_ids = new_prediction_ids(len(items), version.id)
    predictions: Any = np.array([item.prediction for item in items], dtype=object)
    if schema.task_type is TaskType.REGRESSION:
        predictions = predictions.astype(np.float64)
    return ObservationBatch(
        version_id=version.id,
        model_name=version.model_name,
        features=schema.features,
        prediction_ids=[item.prediction_id or own for item, own in zip(items, own_ids, strict=True)],
        observed_at_us=np.array([(item.observed_at - EPOCH) // MICROSECOND for item in items], dtype=np.int64),
        columns=columns_of_rows(schema.features, [item.features for item in items]),
        predictions=predictions,
        confidence=np.array([item.confidence for item in items], dtype=np.float64),
        scores=_scores(version, items),
        latency_ms=np.array([item.latency_ms for item in items], dtype=np.float64),
    )


def _scores(version: LoadedVersion, items: Sequence[ObservationItem]) -> Any:
    """Return the scores that are kept, NaN where they are not known; None where the version's own rows have none.

    So the rows have the columns of those that are served here, and both are one window.
    """
    if not version.schema.score_output:
        return None
    unknown = np.full(len(version.schema.classes), np.nan)
    scores = np.array([unknown if item.probabilities is None else item.probabilities for item in items])
    return kept_scores(scores, replace(version.schema, scores_are_probabilities=True))


def _measure(version: LoadedVersion, batch: ObservationBatch) -> None:
    """Count observations as traffic of the model."""
    latency_ms = np.broadcast_to(batch.latency_ms, batch.rows)
    for latency in latency_ms[np.isfinite(latency_ms)].tolist():
        version.metrics.observe_latency(latency / 1000)
    if version.schema.task_type is TaskType.REGRESSION:
        version.metrics.observe_outputs(batch.predictions.astype(np.float64))
        return
    places = {name: place for place, name in enumerate(version.schema.classes)}
    class_index = np.array([places[label] for label in batch.predictions.tolist()], dtype=np.int64)
    version.metrics.observe_classes(class_index, batch.confidence)


def _outcome(prediction_id: bytes, status: ObservationStatus) -> ObservationOutcome:
    return ObservationOutcome(prediction_id_text(prediction_id), status)


def _invalid(item: object, error: ObservationError) -> ObservationOutcome:
    given = item.get("prediction_id") if isinstance(item, dict) else None
    return ObservationOutcome(given, ObservationStatus.INVALID, error)
