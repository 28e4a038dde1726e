"""What the views cannot say of themselves in the OpenAPI description: paths with the demo's names, and plain calls."""

from typing import Any

# With these a call runs as it stands where `manage.py load_demo` has loaded the demo's models.
PATH_EXAMPLES = {"model_name": "classifier", "name": "classifier", "version": "1.0.0", "incident_id": 1}
PATH_DESCRIPTIONS = {
    "model_name": "Name of a registered model.",
    "name": "Name of a registered model.",
    "version": "One of its versions.",
    "incident_id": "As `GET …/incidents` lists them; a new server has had none.",
}
TAGS = [
    {"name": "Predict", "description": "Answers of the models."},
    {"name": "Observe", "description": "Ground truth, and predictions that other servers made."},
    {"name": "Drift", "description": "How far the newest predictions are from what a model learned from."},
    {"name": "Performance", "description": "How right a model is."},
    {"name": "Registry", "description": "Models and versions, read only; people change them in the admin."},
    {"name": "Health", "description": "For Prometheus, load balancers and Kubernetes."},
]
DESCRIPTION = """
Predictions, drift, performance and the registry of mlmon.

Every example runs as it stands on a server with the demo's models (`manage.py load_demo`; `make run` does it): open
a call and press **Execute**. Where the server asks for tokens, make one in the admin or with
`manage.py create_token`, and give it under **Authorize**; a person who is logged in to the admin may read without one.

Errors are RFC 9457 problem details. Every answer carries `X-Request-ID` and `X-Process-Time` (seconds).
"""
HEALTHY: dict[str, Any] = {"status": "ok", "problems": {}}


def complete_description(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Give path parameters their examples, and add the plain Django views: a hook of drf-spectacular."""
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
    away = {"status": "unavailable", "problems": {"redis": "does not answer: ConnectionError"}}
    return {
        "/healthz": _operation(
            "healthz",
            "Does this process live?",
            "Asks nothing else: for a liveness probe.",
            {"200": _answer("It lives.", status, {"status": "ok"})},
        ),
        "/readyz": _operation(
            "readyz",
            "Can this process answer?",
            "Asks the database, Redis and the models in production: for a readiness probe.",
            {"200": _answer("All of them answer.", ready, HEALTHY), "503": _answer("One does not.", ready, away)},
        ),
        "/metrics": _operation(
            "metrics",
            "Metrics for Prometheus",
            "Of all worker processes, in Prometheus's text format, or in OpenMetrics where the client asks for it.",
            {
                "200": _text("The metrics.", 'ml_model_info{model_name="classifier",model_version="1.0.0"} 1.0\n'),
                "401": _text("MLMON_METRICS_ACCESS is token.", "A token with the scope read is needed.\n"),
            },
        ),
    }


def _operation(name: str, summary: str, description: str, responses: dict[str, Any]) -> dict[str, Any]:
    operation = {
        "operationId": name,
        "summary": summary,
        "description": description,
        "tags": ["Health"],
        "responses": responses,
    }
    return {"get": operation}


def _answer(description: str, schema: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema, "example": example}}}


def _text(description: str, example: str) -> dict[str, Any]:
    content = {"schema": {"type": "string"}, "example": example}
    return {"description": description, "content": {"text/plain": content}}
