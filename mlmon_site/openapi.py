"""The parts of the OpenAPI description that no API view provides: path parameters and the plain Django views."""

from typing import Any

# With these values, each call runs as it is on a server with the demo's models.
PATH_EXAMPLES = {
    "model_name": "classifier",
    "name": "classifier",
    "version": "1.0.0",
    "incident_id": 1,
    "job_id": 1,
    "rollout_id": 1,
}
PATH_DESCRIPTIONS = {
    "model_name": "Name of a registered model.",
    "name": "Name of a registered model.",
    "version": "Version of the model.",
    "incident_id": "Id of an incident, from `GET …/incidents`. A new server has none.",
    "job_id": "Id of a job, from the response to the upload.",
    "rollout_id": "Id of a rollout, from `GET …/rollouts`. A new server has none.",
}
TAGS = [
    {"name": "Predict", "description": "Predictions of the models."},
    {
        "name": "Open Inference Protocol",
        "description": "Predictions for clients of version 2 of that protocol, such as those of Triton and KServe. Its "
        'errors are `{"error": "…"}`.',
    },
    {"name": "Observe", "description": "Ground truth, and predictions made by other servers."},
    {"name": "Drift", "description": "How far the latest predictions are from the reference data."},
    {"name": "Performance", "description": "Accuracy and other measures, with and without ground truth."},
    {"name": "Registry", "description": "Models, versions and reference data, for CI pipelines."},
    {"name": "Rollouts", "description": "A new version takes over in steps, unless guardrails find it worse."},
    {"name": "Health", "description": "For Prometheus, load balancers and Kubernetes."},
]
DESCRIPTION = """
Predictions, drift, performance, the registry and rollouts of mlmon.

Every example runs as it is on a server with the demo's models (`make run`, or `manage.py load_demo`), except that a
rollout needs a second version, such as `1.1.0` of the classifier: open a call and
click **Execute**. If the server requires tokens, create one in the admin or with `manage.py create_token` and enter it
under **Authorize**. People who are logged in to the admin can read without a token. Calls that write to the registry
or change a rollout always require a token, with the scope `registry`, `rollouts` or `all`.

Errors are RFC 9457 problem details. Every response has the headers `X-Request-ID` and `X-Process-Time` (seconds).
"""
HEALTHY: dict[str, Any] = {"status": "ok", "problems": {}}
JSON, TEXT = "application/json", "text/plain"


def complete_description(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Add examples of path parameters, and the plain Django views. A postprocessing hook of drf-spectacular."""
    for operations in result["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", []):
                if parameter["in"] == "path":
                    parameter["example"] = PATH_EXAMPLES[parameter["name"]]
                    parameter["description"] = PATH_DESCRIPTIONS[parameter["name"]]
    result["paths"] |= _plain_paths()
    return result


def _plain_paths() -> dict[str, Any]:
    status = {"type": "object", "properties": {"status": {"type": "string"}}, "required": ["status"]}
    ready = {
        "type": "object",
        "properties": {
            "status": {"type": "string", "enum": ["ok", "unavailable"]},
            "problems": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        "required": ["status", "problems"],
    }
    string = {"type": "string"}
    unavailable = {"status": "unavailable", "problems": {"redis": "unavailable: ConnectionError"}}
    return {
        "/healthz": _operation(
            "healthz",
            "Is this process alive?",
            "Checks nothing else. For a liveness probe.",
            {"200": ("The process is alive.", JSON, status, {"status": "ok"})},
        ),
        "/readyz": _operation(
            "readyz",
            "Can this process serve predictions?",
            "Checks the database, Redis and the production models. For a readiness probe.",
            {
                "200": ("All of them are available.", JSON, ready, HEALTHY),
                "503": ("At least one is unavailable.", JSON, ready, unavailable),
            },
        ),
        "/metrics": _operation(
            "metrics",
            "Metrics for Prometheus",
            "For all worker processes, in the Prometheus text format, or in OpenMetrics if the client asks for it.",
            {
                "200": (
                    "The metrics.",
                    TEXT,
                    string,
                    'ml_model_info{model_name="classifier",model_version="1.0.0"} 1.0\n',
                ),
                "401": ("MLMON_METRICS_ACCESS is `token`.", TEXT, string, "A token with the scope read is needed.\n"),
            },
        ),
    }


def _operation(
    name: str, summary: str, description: str, responses: dict[str, tuple[str, str, dict[str, Any], Any]]
) -> dict[str, Any]:
    """Return a GET operation; `responses` are by status: description, media type, schema and example."""
    operation = {
        "operationId": name,
        "summary": summary,
        "description": description,
        "tags": ["Health"],
        "responses": {
            status: {"description": meaning, "content": {media_type: {"schema": schema, "example": example}}}
            for status, (meaning, media_type, schema, example) in responses.items()
        },
    }
    return {"get": operation}
