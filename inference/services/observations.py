"""Capture predictions that another server made, so that a model is monitored here and served elsewhere."""

import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
import redis
from django.conf import settings
from django.utils import timezone

from inference.capture import count_sampled_out
from inference.exceptions import NoVersionLoadedError, ObservationError, PayloadError
from inference.observation_items import EPOCH, MICROSECOND, ObservationItem, items_of_payload, parse_observation
from inference.observations import Attempt, ObservationBatch, append_new_observations, packed_table
from inference.prediction_ids import PredictionIds, new_prediction_ids
from inference.rejections import Rejection
from inference.serving import LoadedVersion, serving
from inference.stream import redis_client, trim_to_rows
from mlmon.exceptions import RowValueError
from mlmon.schema import TaskType
from models_registry.class_scores import kept_scores
from models_registry.engine import Predictions
from models_registry.models import Stage
from models_registry.schema import ScoreKind


class ObservationStatus(StrEnum):
    """The result for one observation."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class ObservationOutcome:
    """The result for one item: its id, which is the client's if it sent one, and the `error` of an invalid item."""

    prediction_id: object
    status: ObservationStatus
    error: ObservationError | None = None


@dataclass(frozen=True, slots=True)
class CaptureOutcome:
    """The results for the items of a request, in their order."""

    version: LoadedVersion
    outcomes: Sequence[ObservationOutcome]
    is_batch: bool


def capture_observations(*, model_name: str, payload: object) -> CaptureOutcome:
    """Capture the valid items of a request as observations of a version; they are in the live window on return.

    An item whose id was sent before, in this or an earlier request, is a duplicate and changes nothing. Items without
    ids are always new.

    Parameters
    ----------
    payload
        The decoded body: see `inference.observation_items`. If it names no version, the items belong to the model's
        primary version. It must name one if several are in production, one of which is served elsewhere: the items
        would become another version's predictions.

    Raises
    ------
    UnknownModelError, UnknownVersionError, ArchivedVersionError, NoVersionLoadedError
        There is no such version.
    PayloadError
        The body as a whole is invalid.
    redis.RedisError
        No item is captured; or all are, if only the reply of Redis was lost.
    """
    items, version_name, is_batch = items_of_payload(payload, most_items=settings.MLMON_MAX_ROWS_PER_REQUEST)
    version = version_of(model_name, version_name)
    return CaptureOutcome(version, capture_items(version, items), is_batch)


def version_of(model_name: str, version_name: str | None) -> LoadedVersion:
    """Return the version to which observations belong: the named one, or the model's primary version.

    Raises
    ------
    UnknownModelError, UnknownVersionError, ArchivedVersionError, NoVersionLoadedError
        There is no such version.
    PayloadError
        None is named, and it is not clear which one predicted.
    """
    snapshot = serving().snapshot()
    if version_name is not None:
        return snapshot.version(model_name, version_name)
    production = snapshot.model(model_name).production
    if not production:
        raise NoVersionLoadedError(f"Model {model_name!r} has no version in production; send a version.")
    if len(production) > 1 and not all(version.is_served_here for version in production):
        names = ", ".join(sorted(version.version for version in production))
        raise PayloadError(f'Several versions of {model_name} are in production ({names}). Send the "version" too.')
    return production[0]


def capture_items(
    version: LoadedVersion, items: Sequence[object], *, request_of_item: Sequence[int] | None = None
) -> list[ObservationOutcome]:
    """Capture the valid ones of a version's observations; return the result for each.

    Parameters
    ----------
    items
        See `inference.observation_items.parse_observation`.
    request_of_item
        Number of the request to which each item belongs: its latency counts once. None if each is a request.
    """
    parsed, outcomes = _parse(items, version)
    distinct: dict[int, ObservationItem] = {}
    ids: set[bytes] = set()
    for index, item in parsed.items():
        if item.prediction_id in ids:
            given = str(uuid.UUID(bytes=item.prediction_id))
            outcomes[index] = ObservationOutcome(given, ObservationStatus.DUPLICATE)
        else:
            distinct[index] = item
        if item.prediction_id is not None:
            ids.add(item.prediction_id)
    if distinct:
        outcomes |= _capture(version, distinct, request_of_item or range(len(items)))
    return [outcomes[index] for index in range(len(items))]


def _parse(
    items: Sequence[object], version: LoadedVersion
) -> tuple[dict[int, ObservationItem], dict[int, ObservationOutcome]]:
    """Return the valid items, with features that the schema accepts, and the results for the others, by index."""
    parsed: dict[int, ObservationItem] = {}
    errors: dict[int, ObservationError] = {}
    now = timezone.now()
    for index, given_item in enumerate(items):
        try:
            parsed[index] = parse_observation(given_item, version.schema, now=now)
        except ObservationError as error:
            errors[index] = error
            version.metrics.count_rejection(Rejection.of(error))
    try:
        if parsed:
            version.rows.columns([item.features for item in parsed.values()])  # all at once: most are valid
    except RowValueError:
        for index, item in list(parsed.items()):
            try:
                version.rows.columns([item.features])
            except RowValueError as error:
                place = f"{error.feature}: " if error.feature else ""
                errors[index] = ObservationError("features", f"{place}{error.reason}")
                version.metrics.count_rejection(Rejection.of(error))
                del parsed[index]
    outcomes: dict[int, ObservationOutcome] = {}
    for index, invalid in errors.items():
        sent = items[index]
        given = sent.get("prediction_id") if isinstance(sent, dict) else None
        outcomes[index] = ObservationOutcome(given, ObservationStatus.INVALID, invalid)
    return parsed, outcomes


def _capture(
    version: LoadedVersion, items: Mapping[int, ObservationItem], request_of_item: Sequence[int]
) -> dict[int, ObservationOutcome]:
    """Append the items that are new to the live window and count them; return the result for each item."""
    batch = _batch(version, list(items.values()))
    given = {item.prediction_id for item in items.values() if item.prediction_id is not None}
    known = _append_new(version, batch, given)
    is_new = np.array([one not in known for one in batch.prediction_ids], dtype=np.bool_)
    new = batch.select(is_new)
    class_index = None
    if version.schema.task_type is not TaskType.REGRESSION:
        indices = {name: index for index, name in enumerate(version.schema.classes)}
        class_index = np.array([indices[label] for label in new.predictions.tolist()], dtype=np.int64)
    requests = np.array([request_of_item[index] for index in items])[is_new]
    latency_ms = np.broadcast_to(new.latency_ms, new.rows)[np.unique(requests, return_index=True)[1]]
    version.metrics.count_predictions(
        Predictions(labels=new.predictions, class_index=class_index, confidence=new.confidence, scores=None),
        latency_ms[np.isfinite(latency_ms)] / 1000,
        is_shadow=version.stage is Stage.SHADOW,
    )
    statuses = [
        ObservationStatus.DUPLICATE if one in known else ObservationStatus.ACCEPTED for one in batch.prediction_ids
    ]
    return {
        index: ObservationOutcome(str(uuid.UUID(bytes=one)), status)
        for index, one, status in zip(items, batch.prediction_ids, statuses, strict=True)
    }


def _append_new(version: LoadedVersion, batch: ObservationBatch, given: set[bytes]) -> set[bytes]:
    """Append the new rows of a batch; return the given ids that are known already.

    Redis appends all rows or none, and returns the ids that it knows; the others are then tried again. Another request
    may append some of them meanwhile, so this can repeat, with fewer ids each time.
    """
    client = redis_client()
    producer = uuid.uuid4().hex
    known: set[bytes] = set()
    while batch.rows:
        captured = version.capture.apply(batch)
        appended = append_new_observations(
            client,
            version.id,
            packed_table([captured]) if captured else None,
            sorted(given - known),
            attempt=Attempt(producer, len(known) + 1),
            max_entries=settings.MLMON_STREAM_ROWS,
            most_ids=settings.MLMON_LIVE_WINDOW_ROWS,
        )
        if not appended.known_ids:
            count_sampled_out(batch, captured)
            rows_before = appended.rows_seen - (captured.rows if captured else 0)
            interval = max(1, settings.MLMON_STREAM_ROWS // 10)
            if appended.rows_seen // interval != rows_before // interval:  # keeps the bound even without a worker
                with suppress(redis.RedisError):  # the rows are written, and a later append trims
                    trim_to_rows(client, version.id, settings.MLMON_STREAM_ROWS)
            break
        known |= appended.known_ids
        batch = batch.select(np.array([one not in known for one in batch.prediction_ids], dtype=np.bool_))
    return known


def _batch(version: LoadedVersion, items: Sequence[ObservationItem]) -> ObservationBatch:
    schema = version.schema
    own_ids = new_prediction_ids(len(items), version.id)
    predictions: Any = np.array([item.prediction for item in items], dtype=object)
    if schema.task_type is TaskType.REGRESSION:
        predictions = predictions.astype(np.float64)
    scores = None
    if schema.score_kind is not None:  # then the rows that are served here have scores, and both are one window
        unknown = np.full(len(schema.classes), np.nan)
        given = np.array([unknown if item.probabilities is None else item.probabilities for item in items])
        scores = kept_scores(given, replace(schema, score_kind=ScoreKind.PROBABILITIES))
    return ObservationBatch(
        version_id=version.id,
        model_name=version.model_name,
        features=schema.features,
        prediction_ids=PredictionIds.of(item.prediction_id or own for item, own in zip(items, own_ids, strict=True)),
        observed_at_us=np.array([(item.observed_at - EPOCH) // MICROSECOND for item in items], dtype=np.int64),
        columns=version.rows.columns([item.features for item in items]),
        predictions=predictions,
        confidence=np.array([item.confidence for item in items], dtype=np.float64),
        scores=scores,
        latency_ms=np.array([item.latency_ms for item in items], dtype=np.float64),
    )
