"""``demo_rollout`` on all of mlmon as a new user starts it: two real rollouts through the HTTP API."""

import json
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
import requests
from django.core.management import CommandError, call_command

from accounts.management.terminal import ExitStatus
from accounts.models import ApiToken
from demo.rollouts import CANCELLED_BECAUSE, progress_line
from models_registry.models import ModelVersion
from rollouts.models import Rollout
from tests.factories import uploaded_version
from tests.rollouts.rollout_cases import running
from tests.services.embedded_run import embedded_run
from tests.services.processes import PROJECT, free_port
from tests.services.web_server import WebServer


@pytest.mark.timeout(300)
def test_the_broken_version_is_rolled_back_and_the_better_one_promoted(tmp_path: Path) -> None:
    with embedded_run(tmp_path / "var") as run:
        command = [sys.executable, "manage.py", "demo_rollout", "--url", run.url, "--json"]
        environment = {"PATH": os.environ["PATH"], "MLMON_VAR_DIR": str(run.folder)}
        done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
        versions = requests.get(f"{run.url}/api/v1/models/flight-delay", timeout=30).json()["versions"]
        listed = requests.get(f"{run.url}/api/v1/models/flight-delay/rollouts", timeout=30)
        incidents = [value for _, value in run.samples("ml_rollout_incident_open")]
    assert done.returncode == 0, done.stderr
    broken, better = json.loads(done.stdout)["rollouts"]

    assert (broken["challenger"], broken["state"]) == ("1.2.0-broken", "rolled_back")
    found = {one["measure"]: one for one in broken["guardrails"]}["wrong_predictions"]
    assert found["log10_evidence"] >= found["log10_limit"]
    assert broken["reason"].startswith("Wrong predictions:")
    assert broken["incident"]["measure"] == "wrong_predictions"

    assert (better["challenger"], better["state"]) == ("1.1.0", "succeeded")
    assert better["step"] == 2
    assert {one["version"]: (one["stage"], one["traffic_weight"]) for one in versions} == {
        "1.0.0": ("production", 100),
        "1.1.0": ("staging", 0),
        "1.2.0-broken": ("staging", 0),
    }
    assert [one["id"] for one in listed.json()["results"]] == [better["id"], broken["id"]]
    assert incidents in ([], [0.0])  # the second rollout has closed it


def test_without_a_server_it_says_how_to_start_one() -> None:
    with pytest.raises(CommandError, match=r"No server responds .* Start one with `make run`"):
        call_command("demo_rollout", url=f"http://127.0.0.1:{free_port()}", stdout=StringIO())


def test_progress_is_one_line() -> None:
    guardrail = {"measure": "wrong_predictions", "log10_evidence": 0.52, "log10_limit": 2.301}
    rollout = {"state": "running", "is_live": True, "step": 1, "steps": [{"share": 0.1}, {"share": 0.25}]}
    expected = "running with 25% of the requests; log10 of the evidence: wrong predictions 0.5 of 2.3"
    assert progress_line({**rollout, "guardrails": [guardrail]}) == expected


class Interrupted(StringIO):
    """An output at which a person presses Ctrl-C when the first rollout has started."""

    def write(self, text: str) -> int:
        if "replaces 1.0.0" in text:
            raise KeyboardInterrupt
        return super().write(text)


def test_an_interrupted_demo_leaves_no_rollout_and_can_be_repeated(web_server: WebServer) -> None:
    with pytest.raises(CommandError, match="load_demo"):
        call_command("demo_rollout", url=web_server.url, stdout=StringIO())
    call_command("load_demo", stdout=StringIO())
    for number in (1, 2):
        with pytest.raises(CommandError) as caught:
            call_command("demo_rollout", url=web_server.url, stdout=Interrupted())
        assert caught.value.returncode == ExitStatus.INTERRUPTED
        rollouts = Rollout.objects.all()
        assert [(one.state, one.reason) for one in rollouts] == [("cancelled", CANCELLED_BECAUSE)] * number
    versions = ModelVersion.objects.filter(model__name="flight-delay").values_list("version", "stage")
    assert dict(versions) == {"1.0.0": "production", "1.1.0": "staging", "1.2.0-broken": "staging"}
    assert all(token.revoked_at for token in ApiToken.objects.all())


def test_an_active_rollout_of_somebody_else_is_left_alone(web_server: WebServer) -> None:
    call_command("load_demo", stdout=StringIO())
    champion = ModelVersion.objects.get(model__name="flight-delay")
    onnx = (PROJECT / "demo" / "flight-delay-1.1.0.onnx").read_bytes()
    optional = ("seats", "plane_age", "wind_speed", "precip", "visib")
    challenger = uploaded_version(
        "flight-delay", "3.0.0", onnx=onnx, features=None, optional=optional, production=False
    )
    rollout = running(champion, challenger)
    with pytest.raises(CommandError, match=f"Rollout {rollout.pk} of 3.0.0 is running. End it first"):
        call_command("demo_rollout", url=web_server.url, stdout=StringIO())
    rollout.refresh_from_db()
    assert (rollout.state, rollout.is_live) == ("running", True)
