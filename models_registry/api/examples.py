"""Examples of the registry's calls, from the demo.

On a server with the demo, the requests change nothing, except that the version that is served elsewhere is registered.
"""

from typing import Any

from drf_spectacular.utils import OpenApiExample

FEATURES = ("sepal_length", "sepal_width", "petal_length", "petal_width")
VERSION_BODY: dict[str, Any] = {
    "version": "1.0.0",
    "stage": "production",
    "traffic_weight": 100,
    "is_served_here": True,
    "framework": "skl2onnx 1.20.0",
    "task_type": "classification",
    "classes": ["setosa", "versicolor", "virginica"],
    "score_kind": "probabilities",
    "remarks": [],
    "features": [{"name": name, "kind": "numeric", "is_required": True, "tensor_type": "float32"} for name in FEATURES],
    "artefact_sha256": "ee45de72e0b771a1c4cfe54c2d65c8c0045ced9cdb51129745e8faa2d4f7f2c2",
    "artefact_bytes": 665,
    "created_at": "2026-03-01T11:00:01Z",
}
SCHEMA_BODY: dict[str, Any] = {
    "task": "classification",
    "classes": ["setosa", "versicolor", "virginica"],
    "features": [{"name": name, "type": "number", "required": True} for name in FEATURES],
}
ELSEWHERE_BODY: dict[str, Any] = {
    **VERSION_BODY,
    "version": "2.0.0",
    "stage": "staging",
    "traffic_weight": 0,
    "is_served_here": False,
    "framework": "",
    "features": [{"name": name, "kind": "numeric", "is_required": True, "tensor_type": "float64"} for name in FEATURES],
    "artefact_sha256": None,
    "artefact_bytes": None,
}
JOB_BODY: dict[str, Any] = {
    "id": 1,
    "url": "/api/v1/models/classifier/jobs/1",
    "model_name": "classifier",
    "model_version": "1.0.0",
    "original_filename": "classifier-reference.csv",
    "state": "ready",
    "progress_percent": 100,
    "progress_step": "",
    "error_message": "",
    "is_active": True,
    "rows": 150,
    "label_column": "species",
    "labelled_rows": 150,
    "labels_note": "",
    "prediction_column": "",
    "predictions_note": "",
    "time_column": "",
    "timed_rows": None,
    "times_note": "",
    "ignored_columns": [],
    "notes": [],
    "created_at": "2026-03-01T11:00:02Z",
    "profiled_at": "2026-03-01T11:00:03Z",
}
NOT_YET = {"is_active": False, "rows": None, "label_column": "", "labelled_rows": None, "profiled_at": None}
WRONG_FILE = 'Column "sepal_width", row 4: expected a number, got "n/a".'

MODEL = OpenApiExample(
    "The demo classifier",
    {
        "name": "classifier",
        "description": "Species of an iris flower from four lengths in cm.",
        "time_zone": "UTC",
        "created_at": "2026-03-01T11:00:00Z",
        "versions": [VERSION_BODY],
    },
    response_only=True,
)
REGISTRATION = OpenApiExample("A model", {"name": "classifier", "time_zone": "UTC"}, request_only=True)
VERSION_UPLOAD = OpenApiExample(
    "An ONNX file",
    {"version": "1.0.0", "artefact": ["classifier-1.0.0.onnx"], "features": ",".join(FEATURES)},
    request_only=True,
    media_type="multipart/form-data",
)
EXTERNAL_VERSION = OpenApiExample(
    "A version that is served elsewhere",
    {"version": "2.0.0", "schema": SCHEMA_BODY},
    request_only=True,
    media_type="application/json",
)
VERSION = OpenApiExample("The version", VERSION_BODY, response_only=True)
VERSION_SERVED_ELSEWHERE = OpenApiExample("The version that is served elsewhere", ELSEWHERE_BODY, response_only=True)
SCHEMA_UPLOAD = OpenApiExample(
    "A reference file",
    {"file": "classifier-reference.csv", "label_column": "species"},
    request_only=True,
    media_type="multipart/form-data",
)
INFERRED_SCHEMA = OpenApiExample(
    "A schema to check",
    {
        "schema": SCHEMA_BODY,
        "left_out": [{"column": "species", "reason": "It has the ground truth."}],
        "notes": [],
    },
    response_only=True,
)
REFERENCE_UPLOAD = OpenApiExample(
    "A CSV file", {"file": "classifier-reference.csv"}, request_only=True, media_type="multipart/form-data"
)
NEW_JOB = OpenApiExample(
    "A new job",
    {**JOB_BODY, **NOT_YET, "state": "pending", "progress_percent": 0},
    response_only=True,
    status_codes=["202"],
)
READY_JOB = OpenApiExample("A job that is done", JOB_BODY, response_only=True, status_codes=["200"])
FAILED_JOB = OpenApiExample(
    "A job that failed",
    {**JOB_BODY, **NOT_YET, "state": "failed", "progress_percent": 12, "error_message": WRONG_FILE},
    response_only=True,
    status_codes=["200"],
)
STAGE_REQUEST = OpenApiExample("All traffic", {"stage": "production"}, request_only=True)
STAGE_RESULT = OpenApiExample(
    "A promotion",
    {
        "model_name": "classifier",
        "model_version": "1.1.0",
        "stage": "production",
        "traffic_weight": 100,
        "changes": [
            {
                "version": "1.0.0",
                "stage_before": "production",
                "traffic_weight_before": 100,
                "stage": "staging",
                "traffic_weight": 0,
            },
            {
                "version": "1.1.0",
                "stage_before": "staging",
                "traffic_weight_before": 0,
                "stage": "production",
                "traffic_weight": 100,
            },
        ],
    },
    response_only=True,
)
