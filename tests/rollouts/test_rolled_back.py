"""Worse challengers on real web processes and a real worker, up to the messages in Slack and in the mailbox."""

import contextlib
import random
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from scipy.stats import binomtest
from sklearn.datasets import load_iris

from accounts.models import ChangeRecord
from rollouts.models import Rollout, RolloutIncident, State
from rollouts.plan import Guardrail, Measure, Step
from rollouts.services.lifecycle import start_rollout
from rollouts.tasks import control_rollouts
from tests.factories import uploaded_version
from tests.rollouts.callers import Callers, Row
from tests.rollouts.rollout_cases import TESTER, planned
from tests.rollouts.worse_challengers import LARGEST_LENGTH, failing_iris, permuted_iris, slow_iris
from tests.services.alerting import Alerting, running_alerting
from tests.services.processes import await_condition
from tests.services.scraped_server import ScrapedServer, scraped_server

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

FACTOR = 60
LATENCY_SECONDS = 0.002
SHARE = 0.2
ERRORS, LABELS, LATENCY = "iris-errors", "iris-labels", "iris-latency"
# By model: the challenger, and the guardrail that has to find it worse.
CASES = {
    ERRORS: (failing_iris, Guardrail(Measure.ERRORS)),
    LABELS: (permuted_iris, Guardrail(Measure.WRONG_PREDICTIONS)),
    LATENCY: (slow_iris, Guardrail(Measure.LATENCY, LATENCY_SECONDS)),
}
FLOWERS = load_iris()
CHANCE = random.Random()  # noqa: S311 -- different rows in each run


def flower() -> Row:
    place = CHANCE.randrange(len(FLOWERS.data))
    return Row(FLOWERS.data[place].tolist(), str(FLOWERS.target_names[FLOWERS.target[place]]))


def sometimes_large() -> Row:
    """Return a flower; one of 20 is so large that the failing challenger fails."""
    return Row([2.0 * LARGEST_LENGTH, 3.5, 1.4, 0.2]) if CHANCE.random() < 0.05 else Row(flower().features)


def started_rollouts() -> dict[str, Rollout]:
    """Return a running rollout for each case by model, which can only end by a rollback."""
    rollouts = {}
    for name, (challenger_onnx, guardrail) in CASES.items():
        champion = uploaded_version(name)
        challenger = uploaded_version(name, "1.1.0", onnx=challenger_onnx(), production=False)
        step = Step(SHARE, minimum_requests=10**6, minimum_labels=int(guardrail.measure.needs_labels))
        draft = planned(champion, challenger, steps=[step], guardrails=[guardrail])
        rollouts[name] = start_rollout(rollout=draft, user=TESTER)
    return rollouts


@pytest.fixture
def server(
    transactional_db: None, celery_worker_process: subprocess.Popen[bytes], tmp_path: Path
) -> Iterator[ScrapedServer]:
    (tmp_path / "web").mkdir()
    with scraped_server(tmp_path / "web") as running:
        yield running


@pytest.fixture
def alerting(server: ScrapedServer, tmp_path: Path) -> Iterator[Alerting]:
    (tmp_path / "alerting").mkdir()
    with running_alerting(
        tmp_path / "alerting", factor=FACTOR, scraped_port=server.port, mlmon_url=server.web.url
    ) as running:
        yield running


def await_rollbacks(rollouts: dict[str, Rollout]) -> None:
    """Start the controller every half second until no rollout is active."""

    def have_ended() -> bool:
        control_rollouts.apply_async(expires=5)
        ids = [rollout.pk for rollout in rollouts.values()]
        return not Rollout.objects.filter(pk__in=ids, state=State.RUNNING).exists()

    await_condition(have_ended, "a rollout has not ended", seconds=120, pause=0.5)
    for rollout in rollouts.values():
        rollout.refresh_from_db()


def later_responses(callers: Callers, rolled_back: float) -> list[str]:
    """Return the responses to requests that were sent when each process had read the registry again."""
    return [answer for sent, answer in callers.responses if sent > rolled_back + 2.5]


def has_later_responses(callers: Callers, rolled_back: float) -> bool:
    return len(later_responses(callers, rolled_back)) > 10


def titles(alerting: Alerting) -> set[str]:
    return {message["title"] for message in alerting.sinks.slack}


def audit(rollout: Rollout) -> list[tuple[str, str]]:
    rows = ChangeRecord.objects.filter(row_type="rollouts.rollout", row_id=str(rollout.pk)).order_by("id")
    return list(rows.values_list("actor", "message"))


def test_each_worse_challenger_is_rolled_back_and_reported(server: ScrapedServer, alerting: Alerting) -> None:
    rollouts = started_rollouts()
    rows = {ERRORS: sometimes_large, LABELS: flower, LATENCY: lambda: Row(flower().features)}
    callers = {name: Callers(server.web, rows[name], model=name, threads=1) for name in CASES}
    with contextlib.ExitStack() as calls:
        for one in callers.values():
            calls.enter_context(one.calling())
        await_rollbacks(rollouts)
        rolled_back = time.monotonic()
        expected = {f"[CRITICAL] RolloutRolledBack of {name}" for name in CASES}
        await_condition(lambda: expected <= titles(alerting), "not all rollbacks reached Slack", seconds=60)
        mails = alerting.sinks.mails
        await_condition(lambda: expected <= {mail["Subject"] for mail in mails}, "nor all mails came", seconds=60)
        for one in callers.values():
            await_condition(partial(has_later_responses, one, rolled_back), "too few requests of the champion alone")

    for name, (_, guardrail) in CASES.items():
        rollout = rollouts[name]
        assert rollout.state == State.ROLLED_BACK, (name, rollout.state, rollout.reason)
        incident = RolloutIncident.objects.get(rollout=rollout)
        assert (incident.measure, incident.closed_at) == (guardrail.measure, None)
        # SciPy's exact binomial test: by Markov's inequality, evidence of 100 implies a p-value of at most .01.
        events = incident.challenger_events + incident.champion_events
        assert binomtest(incident.challenger_events, events, SHARE, alternative="greater").pvalue <= 0.01
        assert audit(rollout) == [
            ("tester", f"Planned: {name} 1.1.0 against {name} 1.0.0."),
            ("tester", "Started."),
            ("mlmon", "The challenger gets 20.0% of the traffic."),
            ("mlmon", incident.text),
        ]
        message = next(one for one in alerting.sinks.slack if one["title"].endswith(f"RolloutRolledBack of {name}"))
        assert message["title_link"] == f"{server.web.url}/go/models/{name}"
        assert f"{server.web.url}/runbooks/RolloutRolledBack.md" in message["text"]
        mail = next(one for one in alerting.sinks.mails if one["Subject"].endswith(f"RolloutRolledBack of {name}"))
        assert mail["To"] == "on-call@example.org"
        assert {answer for sent, answer in callers[name].responses if sent < rolled_back} >= {"1.0.0", "1.1.0"}
        assert set(later_responses(callers[name], rolled_back)) == {"1.0.0"}
    assert "500" in {answer for _, answer in callers[ERRORS].responses}
