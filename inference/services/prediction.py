"""Answering: check, choose, predict, measure, remember."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.conf import settings

from inference.capture import remember
from inference.exceptions import (
    ArchivedVersionError,
    NoVersionLoadedError,
    PayloadError,
    RegistryUnreadError,
    RowValueError,
)
from inference.metrics import UNKNOWN, VersionMetrics, count_without_version
from inference.prediction_ids import new_prediction_ids, prediction_id_text
from inference.recorder import ObservationBatch
from inference.router import choose_version
from inference.rows import columns_of_rows, routing_key, rows_of_payload
from inference.serving import serving
from inference.snapshot import LoadedVersion, Snapshot
from mlmon.columns import FeatureColumns
from models_registry.class_scores import kept_scores
from models_registry.engine import Predictions
from models_registry.exceptions import NonFinitePredictionError, UnknownModelError, UnknownVersionError

CLIENT_ERRORS = (PayloadError, RowValueError)


@dataclass(frozen=True, slots=True)
class Answer:
    """The predictions of one request, in the order of its rows."""

    version: LoadedVersion
    predictions: Predictions
    prediction_ids: list[str]
    latency_ms: float
    is_batch: bool


def predict(*, model_name: str, payload: Any, version: str | None = None) -> Answer:
    """Answer one request.

    Parameters
    ----------
    model_name
        A registered model.
    payload
        The decoded body: ``{"features": row}`` or ``{"rows": [row, ...]}``.
    version
        The version that has to answer; without one the traffic policy chooses.

    Raises
    ------
    UnknownModelError, UnknownVersionError, ArchivedVersionError
        What was asked for does not exist or is archived.
    PayloadError, RowValueError
        The body, or a value in it, is refused: the model did not run, or has no finite answer to a row.
    NoVersionLoadedError, PredictionFailedError
        Ours: nothing can answer, or the model failed or took too long.
    """
    started = time.perf_counter()
    state = serving()
    snapshot = state.snapshot()
    chosen = _chosen_version(snapshot, model_name, version, payload)
    with _counted(chosen.metrics):
        rows, is_batch = rows_of_payload(payload, most_rows=settings.MLMON_MAX_ROWS_PER_REQUEST)
        columns = columns_of_rows(chosen.schema.features, rows)
        predictions = _answered(chosen, columns)
    latency_seconds = time.perf_counter() - started
    _measure(chosen.metrics, predictions, len(rows), latency_seconds)
    prediction_ids = new_prediction_ids(len(rows), chosen.id)
    observed = _observations(chosen, columns, predictions, prediction_ids, latency_seconds * 1000)
    remember(observed, chosen.capture, state.recorder)
    if version is None:
        state.shadows.submit(snapshot.model(model_name).shadows, chosen, columns)
    return Answer(
        version=chosen,
        predictions=predictions,
        prediction_ids=[prediction_id_text(prediction_id) for prediction_id in prediction_ids],
        latency_ms=latency_seconds * 1000,
        is_batch=is_batch,
    )


def count_unreadable_request(*, model_name: str) -> None:
    """Count a request that was refused before its rows were looked at, for the model that it was sent to."""
    known = serving().snapshot().models
    count_without_version(model_name if model_name in known else UNKNOWN, "rejected")


def _chosen_version(snapshot: Snapshot, model_name: str, version: str | None, payload: Any) -> LoadedVersion:
    try:
        if version is not None:
            return snapshot.version(model_name, version)
        key = routing_key(payload) if isinstance(payload, dict) else None
        return choose_version(snapshot.model(model_name), key)
    except UnknownModelError:
        count_without_version(UNKNOWN, "rejected")
        raise
    except RegistryUnreadError:  # the model's name is still a client's free text
        count_without_version(UNKNOWN, "error")
        raise
    except (UnknownVersionError, ArchivedVersionError, PayloadError):
        count_without_version(model_name, "rejected")
        raise
    except NoVersionLoadedError:
        count_without_version(model_name, "error")
        raise


@contextmanager
def _counted(version_metrics: VersionMetrics) -> Iterator[None]:
    """Count a request by its outcome."""
    try:
        yield
    except CLIENT_ERRORS:
        version_metrics.count_request("rejected")
        raise
    except Exception:
        version_metrics.count_request("error")
        raise
    version_metrics.count_request("success")


def _answered(version: LoadedVersion, columns: FeatureColumns) -> Predictions:
    try:
        return version.engine().predict(columns)
    except NonFinitePredictionError as error:
        # The upload's trial has seen finite answers of this model: it is these values that it cannot take.
        reason = "the model has no finite answer to these values; look for values far too large, or missing ones"
        raise RowValueError(error.row, "", reason) from error


def _measure(version_metrics: VersionMetrics, predictions: Predictions, rows: int, latency_seconds: float) -> None:
    version_metrics.observe_latency(latency_seconds)
    version_metrics.observe_batch_size(rows)
    if predictions.class_index is None:
        version_metrics.observe_outputs(predictions.labels.astype(np.float64))
    else:
        version_metrics.observe_classes(predictions.class_index, predictions.confidence)


def _observations(
    version: LoadedVersion,
    columns: FeatureColumns,
    predictions: Predictions,
    prediction_ids: list[bytes],
    latency_ms: float,
) -> ObservationBatch:
    return ObservationBatch(
        version_id=version.id,
        model_name=version.model_name,
        features=version.schema.features,
        prediction_ids=prediction_ids,
        observed_at_us=time.time_ns() // 1000,
        columns=columns,
        predictions=predictions.labels,
        confidence=predictions.confidence,
        scores=kept_scores(predictions.scores, version.schema),
        latency_ms=latency_ms,
    )
