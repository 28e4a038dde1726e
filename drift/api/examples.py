"""Examples of the drift calls' answers."""

from drf_spectacular.utils import OpenApiExample

HYPOTHESIS = {
    "channel": "distribution",
    "name": "petal_length",
    "sentence": "mean went from 3.76 to 4.41",
    "p_value": 4.0e-77,
    "effect": 0.62,
    "passes_gate": True,
    "window_rows": 1000,
    "dispersion": 1.0,
    "chi2_statistic": 358.2,
    "degrees_of_freedom": 9,
    "smallest_detectable": 0.19,
    "is_alarm": True,
    "is_listed": True,
}
REPORT = {
    "model_name": "classifier",
    "model_version": "1.0.0",
    "status": "ok",
    "detail": "",
    "checked_at": "2026-03-01T12:00:20Z",
    "source": "stored",
    "check_id": 17,
    "window": {
        "rows": 1000,
        "rows_seen": 4200,
        "end_id": "1772366410123-0",
        "started_at": "2026-03-01T11:31:07Z",
        "ended_at": "2026-03-01T12:00:10Z",
        "reference_rows": 10000,
    },
    "is_drifted": True,
    "verdict": {
        "status": "alarm",
        "sentence": "petal_length changed: mean went from 3.76 to 4.41",
        "detail": "",
        "false_alarm_budget": 10000,
        "alpha": 1.1e-05,
        "hypotheses": 9,
        "smallest_p_value": 4.0e-77,
        "window_rows": [1000],
        "badges": [],
        "listed": [HYPOTHESIS],
    },
    "drifted_features": ["petal_length"],
    "feature_drift": {
        "petal_length": {
            "score": 0.31,
            "is_drifted": True,
            "p_value": 2.1e-77,
            "threshold": 0.15,
            "method": "kolmogorov_smirnov",
            "kind": "numeric",
            "statistic": 0.31,
            "reference_mean": 3.76,
            "current_mean": 4.41,
            "n_reference": 10000,
            "n_current": 1000,
            "n_missing_reference": 0,
            "n_missing_current": 0,
            "status": "ok",
            "status_detail": "",
            "is_confirmed": True,
            "verdict": HYPOTHESIS,
            "missing_verdict": None,
            "measures": {
                "hellinger": {"value": 0.29, "parameters": {"bins": 15}, "definition": "sqrt(1/2 sum (...)^2)"}
            },
            "quality": [],
        }
    },
    "prediction_drift": {
        "chi2_statistic": 3.1,
        "p_value": 0.21,
        "js_divergence": 0.0004,
        "threshold": 0.1,
        "is_drifted": False,
        "reference_dist": {"setosa": 0.33, "versicolor": 0.33, "virginica": 0.34},
        "current_dist": {"setosa": 0.31, "versicolor": 0.34, "virginica": 0.35},
        "status": "ok",
        "verdict": None,
    },
    "correlation_changes": None,
    "joint_change": None,
    "last_failure": None,
}
DRIFT = OpenApiExample("One feature has drifted", REPORT, response_only=True)
TOO_FEW_ROWS = OpenApiExample(
    "Too few rows for a comparison",
    {
        **REPORT,
        "status": "insufficient_data",
        "detail": "3 of the 100 rows that a comparison needs have been seen; send more predictions, or lower the "
        "minimum in the model's drift policy.",
        "checked_at": None,
        "source": None,
        "check_id": None,
        "window": {
            "rows": 3,
            "rows_seen": 3,
            "end_id": "1772366410123-0",
            "started_at": None,
            "ended_at": None,
            "reference_rows": None,
        },
        "is_drifted": False,
        "verdict": None,
        "drifted_features": [],
        "feature_drift": {},
        "prediction_drift": None,
    },
    response_only=True,
)
HISTORY = OpenApiExample(
    "Stored checks with history",
    {"model_name": "classifier", "model_version": "1.0.0", "checks": [REPORT], "next_before": 17},
    response_only=True,
)
INCIDENT_BODY = {
    "id": 1,
    "model_version": "1.0.0",
    "is_open": True,
    "opened_at": "2026-03-01T12:00:10Z",
    "closed_at": None,
    "closing_reason": "",
    "opened_by_check": 17,
    "last_check": 19,
    "alarms": 3,
    "features": ["petal_length"],
    "hypotheses": [HYPOTHESIS],
    "acknowledged_at": "2026-03-01T12:05:00Z",
    "acknowledged_by": "anna",
    "snoozed_until": None,
}
INCIDENT = OpenApiExample("An open incident", INCIDENT_BODY, response_only=True)
INCIDENTS = OpenApiExample(
    "One so far",
    {"model_name": "classifier", "incidents": [INCIDENT_BODY], "next_before": None},
    response_only=True,
)
