"""The servers of the serving benchmark: mlmon as `manage.py run` starts it, FastAPI and MLServer."""

import contextlib
import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import requests

from benchmarks.http_clients import HOST
from benchmarks.load import Target
from benchmarks.rivals import RIVALS
from benchmarks.serving_rows import (
    IRIS_FEATURES,
    READERS,
    Kind,
    Workload,
    difference,
    encoded,
    with_routing_keys,
)
from benchmarks.worker import QUIET, python_with
from tests.services.embedded_run import EmbeddedRun, embedded_run
from tests.services.processes import PROJECT, await_condition, await_start, free_port, start_process, stop_group

START_SECONDS = 90
STEADY_RESPONSES = 20  # on new connections, so that each process of a server has been asked
JSON = {"Content-Type": "application/json"}
MLMON_PATHS: Mapping[Kind, str] = {
    "list": "/predict",
    "named": "/api/v1/models/classifier/predict",
    "strings": "/api/v1/models/flight-delay/predict",
    "batch": "/api/v1/models/batch/predict",
}
FASTAPI_PATHS: Mapping[Kind, str] = {
    "list": "/predict",
    "named": "/predict-named",
    "strings": "/predict-flight",
    "batch": "/predict-batch",
}
V2_MODELS: Mapping[Kind, str] = {
    "list": "classifier",
    "named": "classifier",
    "strings": "flight-delay",
    "batch": "batch",
}
DROPPED = ("ml_capture_dropped_total", "ml_shadow_dropped_total")


class WrongPredictionError(Exception):
    """A server does not predict what ONNX Runtime predicts, so its speed says nothing."""


@dataclass(frozen=True, slots=True)
class Side:
    """A running server.

    Attributes
    ----------
    protocol
        Key of the function that reads its predictions.
    pid
        The main process of the server, whose CPU time counts.
    run_pid
        The process that started everything: for mlmon also Valkey, worker and beat.
    paths
        By kind of request.
    run
        mlmon only.
    """

    protocol: str
    pid: int
    run_pid: int
    port: int
    paths: Mapping[Kind, str]
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)
    run: EmbeddedRun | None = None

    def target(self, kind: Kind, work: Workload, *, model_name: str = "") -> Target:
        """Return the requests of this kind, or those for `model_name` with routing keys."""
        documents = work.tensors if self.protocol == "mlserver" else work.payloads
        if model_name:
            path = f"/api/v1/models/{model_name}/predict"
            return Target(self.port, path, self.headers, encoded(with_routing_keys(documents)))
        return Target(self.port, self.paths[kind], self.headers, encoded(documents))

    def check(self, target: Target, work: Workload) -> None:
        """Raise WrongPredictionError unless the first responses have the predictions of ONNX Runtime."""
        for body, expected in zip(target.bodies, work.expected, strict=True):
            status, content = post(target, body)
            found = READERS[self.protocol](json.loads(content)) if status == http.client.OK else []
            wrong = difference(found, expected)
            if wrong:
                raise WrongPredictionError(f"{target.path} on {self.protocol}: status {status}, {wrong}.")

    def dropped(self) -> int | None:
        """Return how many observations and copies for shadows mlmon has dropped; None for other servers."""
        if self.run is None:
            return None
        return round(sum(value for name in DROPPED for _, value in self.run.samples(name)))


def post(target: Target, body: bytes) -> tuple[int, bytes]:
    """Send one request on a new connection; return the status and the body of the response."""
    connection = http.client.HTTPConnection(HOST, target.port, timeout=30)
    with contextlib.closing(connection):
        connection.request("POST", target.path, body, dict(target.headers))
        response = connection.getresponse()
        return response.status, response.read()


# --- mlmon ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def running_mlmon(folder: Path, models: Path, *, with_tokens: bool = False) -> Iterator[Side]:
    """Start all of mlmon in `folder`, with the demo and the benchmark's models."""
    variables = {"MLMON_API_ACCESS": "token"} if with_tokens else {}
    with embedded_run(folder, variables=variables) as run:
        registry = {"Authorization": f"Bearer {_new_token(run, 'registry')}"}
        caller = {"Authorization": f"Bearer {_new_token(run, 'predict')}"} if with_tokens else {}
        await_condition(partial(_is_known, run, registry), "The token is not accepted.", seconds=START_SECONDS)
        iris = (models / "classifier.onnx").read_bytes()
        _upload(run, registry, "batch", [("1.0.0", "production", 100)], (models / "batch.onnx").read_bytes())
        shadowed = [("1.0.0", "production", 100), ("2.0.0", "shadow", None)]
        _upload(run, registry, "iris-shadow", shadowed, iris, features=IRIS_FEATURES)
        split = [("1.0.0", "production", 90), ("2.0.0", "production", 10)]
        _upload(run, registry, "iris-canary", split, iris, features=IRIS_FEATURES)
        web = run.program("mlmon_site.server").pid
        side = Side("mlmon", web, run.process.pid, run.port, MLMON_PATHS, {**JSON, **caller}, run)
        _await_models(side, ("batch", "iris-shadow", "iris-canary"))
        yield side


def _new_token(run: EmbeddedRun, scope: str) -> str:
    command = [sys.executable, "manage.py", "create_token", f"benchmark-{scope}", "--scope", scope, "--json"]
    environment = {"PATH": os.environ["PATH"], "MLMON_VAR_DIR": str(run.folder)}
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=True)
    token: str = json.loads(done.stdout)["token"]
    return token


def _is_known(run: EmbeddedRun, headers: Mapping[str, str]) -> bool:
    """Return whether each web process has read the new token."""
    responses = (requests.get(f"{run.url}/api/v1/models", headers=headers, timeout=30) for _ in range(STEADY_RESPONSES))
    return all(response.ok for response in responses)


def _upload(
    run: EmbeddedRun,
    headers: Mapping[str, str],
    name: str,
    versions: Sequence[tuple[str, str, int | None]],
    content: bytes,
    *,
    features: Sequence[str] = (),
) -> None:
    """Register a model with versions of the same file, each in a stage and with a traffic weight."""
    models = f"{run.url}/api/v1/models"

    def send(url: str, **given: Any) -> None:
        response = requests.post(url, headers=headers, timeout=60, **given)
        if not response.ok:
            raise RuntimeError(f"{url} returned status {response.status_code}: {response.text}")

    send(models, json={"name": name})
    for version, stage, weight in versions:
        form = {"version": version} | ({"features": ",".join(features)} if features else {})
        send(f"{models}/{name}/versions", data=form, files={"artefact": (f"{name}.onnx", content)})
        moved = {"stage": stage} if weight is None else {"stage": stage, "traffic_weight": weight}
        send(f"{models}/{name}/versions/{version}/stage", json=moved)


def _await_models(side: Side, names: Sequence[str]) -> None:
    """Wait until each web process has read the registry: an empty body is then refused, not unknown."""
    for name in names:
        target = Target(side.port, f"/api/v1/models/{name}/predict", side.headers, ())
        await_condition(
            partial(_are_all, target, http.client.UNPROCESSABLE_ENTITY), f"{name} is not served.", seconds=START_SECONDS
        )


def _are_all(target: Target, status: int) -> bool:
    return all(post(target, b'{"features": []}')[0] == status for _ in range(STEADY_RESPONSES))


# --- the rivals -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def running_rival(name: str, folder: Path, models: Path, *, environments: Path) -> Iterator[Side]:
    """Start a rival with two processes; its environment is created by the first call.

    Raises
    ------
    CompetitorUnavailableError
        The environment cannot be created.
    """
    python = python_with(RIVALS[name].requirements, environments)
    folder.mkdir()
    port = free_port()
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT), "HOME": str(folder), **QUIET}
    if name == "mlserver":
        _write_mlserver_settings(folder, models, port)
        command = [str(python.with_name("mlserver")), "start", str(folder)]
        paths = {kind: f"/v2/models/{model}/infer" for kind, model in V2_MODELS.items()}
        health = "/v2/health/ready"
    else:
        (folder / "metrics").mkdir()
        environment |= {"RIVAL_MODELS": str(models), "PROMETHEUS_MULTIPROC_DIR": str(folder / "metrics")}
        environment |= {"RIVAL_IS_LEAN": "1"} if name == "fastapi_lean" else {}
        command = [str(python), "-m", "uvicorn", "benchmarks.rivals.fastapi_server:app"]
        command += ["--host", HOST, "--port", str(port), "--workers", "2", "--loop", "uvloop", "--http", "httptools"]
        command += ["--no-access-log"]
        paths, health = dict(FASTAPI_PATHS), "/metrics"
    log = folder / "server.log"
    process = start_process(command, log, folder=folder, environment=environment)
    try:
        await_start(process, name, partial(_is_healthy, port, health), seconds=START_SECONDS)
        protocol = "mlserver" if name == "mlserver" else "fastapi"
        yield Side(protocol, process.pid, process.pid, port, paths)
    except BaseException as error:
        error.add_note(f"The end of the log of {name}:\n" + log.read_text()[-3_000:])
        raise
    finally:
        stop_group(process)


def _write_mlserver_settings(folder: Path, models: Path, port: int) -> None:
    settings = {
        "host": HOST,
        "http_port": port,
        "grpc_port": free_port(),
        "metrics_port": free_port(),
        "metrics_dir": str(folder / "metrics"),
        "environments_dir": str(folder / "environments"),
        "parallel_workers": 2,
        "debug": False,  # which would also log each request
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    for name in set(V2_MODELS.values()):
        (folder / name).mkdir()
        model = {
            "name": name,
            "implementation": "benchmarks.rivals.mlserver_runtime.OnnxClassifier",
            "parameters": {"uri": str(models / f"{name}.onnx"), "version": "1.0.0"},
        }
        (folder / name / "model-settings.json").write_text(json.dumps(model))


def _is_healthy(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
