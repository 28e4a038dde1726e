"""Predict: choose a version, check the rows, run the model, count and capture."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from inference.exceptions import (
    ArchivedVersionError,
    NoVersionLoadedError,
    PayloadError,
    RegistryUnreadError,
    ServedElsewhereError,
)
from inference.metrics import UNKNOWN, count_rejected_without_version, count_without_version
from inference.plain_batches import PlainBatch
from inference.prediction_ids import new_prediction_ids
from inference.rejections import Rejection, RequestErrorCode
from inference.rollout_counts import RoutedRequest
from inference.rows import routing_key_of, rows_of_payload
from inference.served import ServedRequest
from inference.serving import LoadedVersion, Snapshot, serving
from inference.traffic import Status
from mlmon.exceptions import RowErrorCode, RowValueError
from mlmon.feature_columns import FeatureColumns
from models_registry.engine import Predictions
from models_registry.exceptions import NonFinitePredictionError, UnknownModelError, UnknownVersionError


@dataclass(frozen=True, slots=True)
class PredictionOutcome:
    """The predictions of one request, in the order of its rows."""

    version: LoadedVersion
    predictions: Predictions
    prediction_ids: list[str]
    latency_ms: float

    def body(self, *, is_batch: bool) -> dict[str, Any]:
        """Return the response as plain data: one prediction, or a list of them if the request had `rows`."""
        confidence, score = self.predictions.confidence, self.predictions.score
        labels = self.predictions.labels.tolist()
        confidences = [None] * len(labels) if confidence is None else confidence.tolist()
        rows = [
            {"prediction": label, "confidence": one, "prediction_id": prediction_id}
            for label, one, prediction_id in zip(labels, confidences, self.prediction_ids, strict=True)
        ]
        if score is not None:
            for row, one in zip(rows, score.tolist(), strict=True):
                row["score"] = one
        about = {
            "latency_ms": round(self.latency_ms, 3),
            "model_name": self.version.model_name,
            "model_version": self.version.version,
        }
        return {"predictions": rows, **about} if is_batch else {**rows[0], **about}


def predict_payload(*, model_name: str, payload: Any, version: str | None = None) -> PredictionOutcome:
    """Predict the rows of a decoded body: ``{"features": row}`` or ``{"rows": [row, ...]}``; see `predict`."""
    return predict(
        model_name=model_name,
        version=version,
        routing_key=lambda: routing_key_of(payload),
        columns=lambda chosen: chosen.rows.columns(
            rows_of_payload(payload, most_rows=settings.MLMON_MAX_ROWS_PER_REQUEST)
        ),
    )


def predict_batch(
    *, model_name: str, batch: PlainBatch, payload: Callable[[], Any], version: str | None = None
) -> PredictionOutcome:
    """Predict the rows of a batch of numbers; `payload` returns the decoded body if the version needs other values."""

    def columns(chosen: LoadedVersion) -> FeatureColumns:
        is_small = len(batch.matrix) <= settings.MLMON_MAX_ROWS_PER_REQUEST
        plain = chosen.rows.columns_of_matrix(batch.matrix) if is_small else None
        if plain is not None:
            return plain
        return chosen.rows.columns(rows_of_payload(payload(), most_rows=settings.MLMON_MAX_ROWS_PER_REQUEST))

    key = {"routing_key": batch.routing_key}
    return predict(model_name=model_name, version=version, routing_key=lambda: routing_key_of(key), columns=columns)


def predict(
    *,
    model_name: str,
    version: str | None = None,
    routing_key: Callable[[], str | None],
    columns: Callable[[LoadedVersion], FeatureColumns],
) -> PredictionOutcome:
    """Predict the rows of one request.

    Parameters
    ----------
    model_name
        A registered model.
    version
        The version to use; None to let the traffic policy choose one.
    routing_key
        Returns the request's key for the traffic policy, if it has one. It may raise a PayloadError.
    columns
        Returns the rows as columns of the chosen version's features. It may raise a PayloadError or a RowValueError.

    Raises
    ------
    UnknownModelError, UnknownVersionError, ArchivedVersionError
        The model or the version does not exist, or the version is archived.
    ServedElsewhereError
        The version, or each version in production, is served elsewhere.
    PayloadError, RowValueError
        The body or a value in it is invalid: the model did not run, or has no finite prediction for a row.
    NoVersionLoadedError, PredictionFailedError
        A server error: no version is loaded, or the model failed or took too long.
    """
    started = time.perf_counter()
    state = serving()
    snapshot = state.snapshot()
    chosen, routed = _choose_version(snapshot, model_name, version, routing_key)
    status: Status = "error"
    is_event = True  # unless the request succeeds, or its rows are refused
    try:
        values = columns(chosen)
        predictions = chosen.engine().predict(values)
        status, is_event = "success", False
    except (PayloadError, RowValueError) as error:
        status, is_event = "rejected", False
        chosen.metrics.count_rejection(Rejection.of(error))
        raise
    except NonFinitePredictionError as error:
        # The trial at the upload had finite predictions, so the cause is the values of this row.
        status = "rejected"
        reason = "the model has no finite prediction for these values; check for missing or very large ones"
        refused = RowValueError(error.row, "", reason, code=RowErrorCode.NO_FINITE_PREDICTION)
        chosen.metrics.count_rejection(Rejection.of(refused))
        raise refused from error
    finally:
        latency_seconds = time.perf_counter() - started
        chosen.metrics.count_request(status)
        is_counted = routed is not None and not routed.rollout.rule.is_shadow  # pairs are counted by the shadow
        if routed is not None and is_counted and (is_event or status == "success"):
            state.rollouts.count(routed, is_error=is_event, latency_seconds=latency_seconds)
    prediction_ids = new_prediction_ids(len(predictions.labels), chosen.id)
    state.record(
        ServedRequest(
            version=chosen,
            columns=values,
            predictions=predictions,
            prediction_ids=prediction_ids,
            predicted_at_us=time.time_ns() // 1000,
            latency_seconds=latency_seconds,
            shadows=snapshot.models[model_name].shadows if version is None else (),
            routing=None if routed is None else routed.routing(),
        )
    )
    return PredictionOutcome(
        version=chosen,
        predictions=predictions,
        prediction_ids=prediction_ids.texts(),
        latency_ms=latency_seconds * 1000,
    )


def count_refused_request(*, model_name: str, code: RequestErrorCode, reason: str) -> None:
    """Count a request that was refused before its rows were read.

    Parameters
    ----------
    model_name
        As the client sent it.
    code, reason
        Why it was refused; people who see the model see the reason.
    """
    state = serving()
    if model_name in state.snapshot().models:
        count_rejected_without_version(model_name, Rejection.of_request(code, reason), state.tally)
    else:
        count_without_version(UNKNOWN, "rejected")


def count_busy_request(*, model_name: str) -> None:
    """Count a request of a registered model that was refused because too many others wait for the model."""
    count_without_version(model_name, "error")


def _choose_version(
    snapshot: Snapshot, model_name: str, version: str | None, routing_key: Callable[[], str | None]
) -> tuple[LoadedVersion, RoutedRequest | None]:
    """Return the requested version, or one that the traffic policy chooses; count the request if there is none.

    The second value is None unless the policy chose a version for an active rollout.
    """
    try:
        if version is not None:
            chosen = snapshot.version(model_name, version)
            if not chosen.is_served_here:
                raise ServedElsewhereError(model_name, version)
            return chosen, None
        model, key = snapshot.model(model_name), routing_key()
        chosen = model.route(key)
        return chosen, None if model.rollout is None else model.rollout.routed(chosen.id, key)
    except UnknownModelError:
        count_without_version(UNKNOWN, "rejected")
        raise
    except RegistryUnreadError:  # the registry is unknown, so the name may be any string of a client
        count_without_version(UNKNOWN, "error")
        raise
    except (UnknownVersionError, ArchivedVersionError):
        example = "there is no such version, or it is archived"
        rejection = Rejection.of_request(RequestErrorCode.UNKNOWN_VERSION, example)
        count_rejected_without_version(model_name, rejection, serving().tally)
        raise
    except ServedElsewhereError:
        rejection = Rejection.of_request(RequestErrorCode.SERVED_ELSEWHERE, "the version is served elsewhere")
        count_rejected_without_version(model_name, rejection, serving().tally)
        raise
    except PayloadError as error:
        count_rejected_without_version(model_name, Rejection.of(error), serving().tally)
        raise
    except NoVersionLoadedError:
        count_without_version(model_name, "error")
        raise
