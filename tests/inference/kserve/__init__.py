"""Events of KServe's payload logger, made with the `cloudevents` package in an environment of its own."""

import base64
import functools
import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.worker import default_environments, python_with

FOLDER = Path(__file__).parent
REQUEST, RESPONSE = (f"org.kubeflow.serving.inference.{half}" for half in ("request", "response"))
EVENTS_PATH = "/api/v1/kserve/events"


class Message(NamedTuple):
    """An event as an HTTP request."""

    headers: dict[str, str]
    body: bytes


@functools.cache
def _python() -> Path:
    return python_with(FOLDER / "cloudevents.txt", default_environments())


def made_events(specifications: Sequence[Mapping[str, Any]]) -> list[Message]:
    """Return events that the package has encoded.

    Each has `mode` (binary, the default, or structured), `data` (JSON, or bytes), and the attributes.
    """
    sent = [
        {
            **one,
            "data": {"base64": base64.b64encode(one["data"]).decode()}
            if isinstance(one["data"], bytes)
            else one["data"],
        }
        for one in specifications
    ]
    command = [str(_python()), str(FOLDER / "encode.py")]
    done = subprocess.run(command, input=json.dumps(sent), capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return [Message(one["headers"], base64.b64decode(one["body"])) for one in json.loads(done.stdout)]


def half(kind: str, data: Any, *, event_id: str, service: str = "iris", **attributes: Any) -> dict[str, Any]:
    """Return the specification of a request or response of an InferenceService, as KServe's logger sets it."""
    return {
        "type": kind,
        "id": event_id,
        "source": f"{service}-predictor-00001-deployment-7d9c",
        "time": "2026-03-01T12:00:00.123456+00:00",
        "datacontenttype": "application/json",
        "inferenceservicename": service,
        "namespace": "team-a",
        "component": "predictor",
        "endpoint": "default",
        "metadata": "{}",
        "data": data,
        **attributes,
    }


def pair(request: Any, response: Any, *, event_id: str, **attributes: Any) -> list[dict[str, Any]]:
    """Return the specifications of a request and its response, 40 ms later."""
    later = {"time": "2026-03-01T12:00:00.163456+00:00", **attributes}
    return [
        half(REQUEST, request, event_id=event_id, **attributes),
        half(RESPONSE, response, event_id=event_id, **later),
    ]
