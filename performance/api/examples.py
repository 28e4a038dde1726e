"""Examples of the performance call's answers."""

from typing import Any

from drf_spectacular.utils import OpenApiExample

FIGURES: dict[str, Any] = {
    "rows": 150,
    "accuracy": 0.973,
    "balanced_accuracy": 0.973,
    "precision": 0.974,
    "recall": 0.973,
    "f1_score": 0.973,
    "roc_auc": 0.999,
    "log_loss": 0.13,
    "brier_score": 0.056,
    "expected_calibration_error": 0.08,
    "classes": {"setosa": {"precision": 1.0, "recall": 1.0, "f1_score": 1.0, "support": 50}},
    "confusion_matrix": [[50, 0, 0], [0, 47, 3], [0, 1, 49]],
    "unavailable": {},
}
PERFORMANCE: dict[str, Any] = {
    "model_name": "classifier",
    "model_version": "1.0.0",
    "detail": "",
    "reference": FIGURES,
    "latest": {
        "started_at": "2026-03-01T11:00:00Z",
        "ended_at": "2026-03-01T12:00:00Z",
        "computed_at": "2026-03-01T12:00:20Z",
        "predicted_rows": 1000,
        "labelled_rows": 150,
        "label_coverage": 0.15,
        "label_delay_seconds": 3600.0,
        "realised": FIGURES,
        "estimated": {"accuracy": 0.969, "rows": 1000},
        "estimated_of_labelled": {"accuracy": 0.971, "rows": 150},
        "estimate_note": "",
        "drop": 0.0,
    },
    "span": None,
    "days": [],
    "estimate_error": {"days": 12, "estimated_accuracy": 0.011, "no_change": 0.034},
}
MEASURED = OpenApiExample("With ground truth", PERFORMANCE, response_only=True)
NOT_MEASURED = OpenApiExample(
    "Before any ground truth has come",
    {
        **PERFORMANCE,
        "detail": "Nothing was measured yet. Send ground truth to /api/v1/feedback under the ids of predictions.",
        "latest": None,
        "estimate_error": None,
    },
    response_only=True,
)
