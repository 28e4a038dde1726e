"""``manage.py rollout``."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import redis
from django.core.management import CommandError, call_command

from accounts.models import ChangeRecord
from inference.services.prediction import predict_payload
from models_registry.engine import Engine
from models_registry.exceptions import PredictionFailedError
from models_registry.models import ModelVersion
from rollouts.models import Rollout, State
from rollouts.plan import Guardrail, Kind, Measure, Step
from tests.rollouts.rollout_cases import ROW, controlled, two_versions

pytestmark = pytest.mark.django_db


@pytest.fixture
def versions(redis_client: redis.Redis) -> tuple[ModelVersion, ModelVersion]:
    return two_versions()


def run(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """Return the document that the command prints."""
    call_command("rollout", *words, "--json")
    return json.loads(capsys.readouterr().out)


def test_a_rollout_is_planned_and_started_by_one_command(versions: Any, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--guardrail", "errors", "--guardrail", "latency:0.2", "--requests", "7", "--promote-automatically")
    shown = run(capsys, "start", "iris", "1.1.0", *words)
    assert (shown["state"], shown["promotes_automatically"]) == ("running", True)
    rollout = Rollout.objects.get()
    assert rollout.guardrails == (Guardrail(Measure.ERRORS), Guardrail(Measure.LATENCY, 0.2))
    assert rollout.steps == tuple(Step(share, minimum_requests=7) for share in (0.05, 0.1, 0.25, 0.5))
    assert "rollout, run by" in str(ChangeRecord.objects.filter(row_type="rollouts.rollout").values_list("actor")[0])


def test_a_plan_comes_from_a_file_and_is_started_later(
    versions: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "plan.json"
    file.write_text('{"steps": [{"share": 0.2}], "alpha": 0.05}')
    assert run(capsys, "plan", "iris", "1.1.0", "--plan", str(file))["state"] == "draft"
    assert run(capsys, "start", "iris")["state"] == "running"
    for action, state in (("pause", "paused"), ("resume", "running"), ("rollback", "rolled_back")):
        words = () if action == "resume" else ("--reason", "the weather")
        assert run(capsys, action, "iris", *words)["state"] == state
    rollout = Rollout.objects.get()
    assert (rollout.alpha, rollout.steps, rollout.reason) == (0.05, (Step(0.2),), "the weather")


def test_a_shadow_is_planned(versions: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "plan", "iris", "1.1.0", "--shadow", "--guardrail", "wrong_predictions", "--labels", "9")
    rollout = Rollout.objects.get()
    assert (rollout.kind, rollout.steps) == (Kind.SHADOW, (Step(1.0, minimum_labels=9),))
    assert run(capsys, "cancel", "iris")["state"] == "cancelled"


def test_show_exits_with_1_until_a_rollback_is_acknowledged(
    versions: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise PredictionFailedError("broken")

    run(capsys, "start", "iris", "1.1.0")
    rollout = controlled(Rollout.objects.get())
    monkeypatch.setattr(random, "random", lambda: 0.99)
    monkeypatch.setattr(Engine, "predict", fail)
    for _ in range(5):
        with pytest.raises(PredictionFailedError):
            predict_payload(model_name="iris", payload=ROW)
    assert controlled(rollout).state == State.ROLLED_BACK
    with pytest.raises(CommandError, match="nobody has acknowledged") as ended:
        call_command("rollout", "show", "iris")
    assert ended.value.returncode == 1
    shown = capsys.readouterr().out
    assert "rolled_back, step 1 of 4, share 5.0%" in shown
    assert "5 of 5" in shown
    assert run(capsys, "acknowledge", "iris")["incident"]["closed_at"]
    assert run(capsys, "show", "iris", "--id", str(rollout.pk))["id"] == rollout.pk


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("show", "iris"), 2, "has no rollout yet"),
        (("show", "nobody"), 2, "no model named"),
        (("plan", "iris", "9.9.9"), 2, "no version"),
        (("show", "iris", "--id", "0"), 2, "no rollout 0"),
        (("plan", "iris", "1.0.0"), 1, "challenger: iris 1.0.0 is the champion"),
        (("plan", "iris", "1.1.0", "--guardrail", "mood"), 1, r"guardrails\[0\].measure: Expected one of"),
        (("pause", "iris", "1.1.0"), 2, "pause takes no version"),
        (("plan", "iris", "1.1.0", "--plan", "nowhere.json"), 2, "no file"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(words: tuple[str, ...], status: int, message: str, versions: Any) -> None:
    with pytest.raises(CommandError, match=message) as ended:
        call_command("rollout", *words)
    assert ended.value.returncode == status
