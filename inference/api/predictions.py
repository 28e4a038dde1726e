"""The response of a predict call."""

from typing import Any

from inference.services.prediction import PredictionOutcome


def prediction_body(outcome: PredictionOutcome, *, is_batch: bool) -> dict[str, Any]:
    """Return the body of the response: one prediction, or a list of them if the request had `rows`."""
    predictions, confidence, score = outcome.predictions, outcome.predictions.confidence, outcome.predictions.score
    labels = predictions.labels.tolist()
    confidences = [None] * len(labels) if confidence is None else confidence.tolist()
    rows = [
        {"prediction": label, "confidence": one, "prediction_id": prediction_id}
        for label, one, prediction_id in zip(labels, confidences, outcome.prediction_ids, strict=True)
    ]
    if score is not None:
        for row, one in zip(rows, score.tolist(), strict=True):
            row["score"] = one
    about = {
        "latency_ms": round(outcome.latency_ms, 3),
        "model_name": outcome.version.model_name,
        "model_version": outcome.version.version,
    }
    return {"predictions": rows, **about} if is_batch else {**rows[0], **about}
