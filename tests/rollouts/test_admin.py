"""The pages of rollouts: what they show, and the buttons that are possible."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
import redis
from django.test import Client
from django.urls import reverse

from accounts.models import ChangeRecord
from mlmon.rollout_evidence import log10_evidence
from models_registry.models import ModelVersion
from rollouts.evidence_chart import evidence_chart
from rollouts.models import Rollout, RolloutInterval, State
from rollouts.plan import Guardrail, Kind, Measure, Step
from tests.rollouts.rollout_cases import NOW, planned, running, two_versions

pytestmark = pytest.mark.django_db

BUTTONS = ("start", "pause", "resume", "promote", "roll_back", "cancel", "acknowledge")


@pytest.fixture
def versions(redis_client: redis.Redis) -> tuple[ModelVersion, ModelVersion]:
    return two_versions()


def page_of(client: Client, rollout: Rollout) -> str:
    response = client.get(reverse("admin:rollouts_rollout_change", args=[rollout.pk]))
    assert response.status_code == 200
    return str(response.content.decode())


def buttons_of(client: Client, rollout: Rollout) -> set[str]:
    page = page_of(client, rollout)
    return {one for one in BUTTONS if reverse(f"admin:rollouts_rollout_{one}", args=[rollout.pk]) in page}


@pytest.fixture
def press(admin_client: Client) -> Callable[[Rollout, str], str]:
    """Press a button and confirm; return the page that follows."""

    def press(rollout: Rollout, button: str) -> str:
        url = reverse(f"admin:rollouts_rollout_{button}", args=[rollout.pk])
        assert admin_client.get(url).status_code == 200  # asks
        followed = admin_client.post(url, follow=True)
        rollout.refresh_from_db()
        return str(followed.content.decode())

    return press


def test_the_buttons_follow_the_state(
    admin_client: Client, versions: Any, press: Callable[[Rollout, str], str]
) -> None:
    rollout = planned(*versions)
    assert buttons_of(admin_client, rollout) == {"start", "cancel"}
    press(rollout, "start")
    assert buttons_of(admin_client, rollout) == {"pause", "promote", "roll_back", "cancel"}
    press(rollout, "pause")
    assert buttons_of(admin_client, rollout) == {"resume", "promote", "roll_back", "cancel"}
    press(rollout, "resume")
    press(rollout, "roll_back")
    assert (rollout.state, buttons_of(admin_client, rollout)) == (State.ROLLED_BACK, set())
    actors = ChangeRecord.objects.filter(row_type="rollouts.rollout").values_list("actor", flat=True)
    assert set(actors) == {"tester", "admin"}


def test_an_impossible_action_shows_the_reason(
    admin_client: Client, versions: Any, press: Callable[[Rollout, str], str]
) -> None:
    rollout = planned(*versions)
    assert f"Rollout {rollout.pk} is draft. Only one that is running can be paused." in press(rollout, "pause")
    assert "was not rolled back by a guardrail" in press(rollout, "acknowledge")
    assert rollout.state == State.DRAFT


def test_the_page_shows_the_evidence(admin_client: Client, versions: Any) -> None:
    guardrails = [Guardrail(Measure.ERRORS), Guardrail(Measure.LATENCY, 0.25)]
    rollout = running(*versions, guardrails=guardrails, steps=[Step(0.05, minimum_requests=1000)])
    start, end = rollout.interval_of(rollout.started_at or NOW)
    counts = {"champion_units": 19000, "challenger_units": 1000, "champion_events": 190, "challenger_events": 11}
    row = {"measure": "errors", "champion_weight": 950, "challenger_weight": 50, "started_at": start, "ended_at": end}
    RolloutInterval.objects.create(rollout=rollout, **row, **counts)
    page = page_of(admin_client, rollout)
    for text in ("190 of 19,000", "11 of 1,000", "latency over 0.25", "5.0% of the requests", "data-live"):
        assert text in page, text
    assert "+0.10% (" in page  # 1.1 % minus 1 %
    assert page.count('<path d="M0.0 ') == 1  # there is no interval of the latency


def test_the_page_says_that_a_succeeded_challenger_is_unguarded(admin_client: Client, versions: Any) -> None:
    rollout = running(*versions)
    text = "No guardrail watches it any more."
    assert text not in page_of(admin_client, rollout)
    ended = {"state": State.SUCCEEDED, "ended_at": NOW, "reason": "All steps are passed."}
    Rollout.objects.filter(pk=rollout.pk).update(**ended)
    assert text in page_of(admin_client, rollout)


def test_the_page_says_when_the_challenger_is_better(admin_client: Client, versions: Any) -> None:
    rollout = running(*versions, steps=[Step(0.5, minimum_requests=1000)])
    start, end = rollout.interval_of(rollout.started_at or NOW)
    row = {"measure": "errors", "champion_weight": 500, "challenger_weight": 500, "started_at": start, "ended_at": end}
    counts = {"champion_units": 1000, "challenger_units": 1000, "champion_events": 8, "challenger_events": 0}
    RolloutInterval.objects.create(rollout=rollout, **row, **counts)
    assert "The challenger is better by" not in page_of(admin_client, rollout)
    RolloutInterval.objects.update(champion_events=9)
    # All k events are the champion's with w = .5: E = mean over theta of (2 theta / (theta + 1))^k, by hand 101 for
    # k = 9 and 56 for k = 8; the limit is 100.
    page = page_of(admin_client, rollout)
    assert "The challenger is better by errors." in page
    assert f'<td class="number">{np.log10(101):.2f}</td>' in page


def test_the_page_draws_the_evidence_over_time(admin_client: Client, versions: Any) -> None:
    rollout = running(*versions, steps=[Step(0.05, minimum_requests=1000)])
    start, end = rollout.interval_of(rollout.started_at or NOW)
    row = {"measure": "errors", "champion_weight": 950, "challenger_weight": 50}
    counts = {"champion_units": 1900, "challenger_units": 90, "champion_events": 19}
    for minute, events in enumerate((0, 1, 3)):
        times = {"started_at": start + timedelta(minutes=minute), "ended_at": end + timedelta(minutes=minute)}
        RolloutInterval.objects.create(rollout=rollout, **row, **times, **counts, challenger_events=events)
    page = page_of(admin_client, rollout)
    after = [log10_evidence([0.05] * n, [19] * n, [0, 1, 3][:n]) for n in (1, 2, 3)]
    assert f"now {after[-1]:.2f}, highest {max(0.0, *after):.2f}, limit 2.00" in page
    assert page.count('<path d="M0.0 ') == 1


def test_the_chart_has_the_evidence_below_its_limit() -> None:
    times = [datetime(2026, 3, 1, 12, minute, tzinfo=UTC) for minute in (0, 10, 40)]
    chart = evidence_chart(times, np.array([-0.5, 0.5, 1.5]), limit=2.0)
    assert chart is not None
    points = [tuple(map(float, point.split())) for point in chart.path[1:].split("L")]
    # From -0.5 - 0.375 (bottom) to 2 + 0.375 (top): 3.25 in all.
    assert [across for across, _ in points] == [0.0, 250.0, 1000.0]
    assert [down for _, down in points] == pytest.approx([160 * (2.375 - y) / 3.25 for y in (-0.5, 0.5, 1.5)], abs=0.1)
    assert chart.limit_y == pytest.approx(160 * 0.375 / 3.25)
    assert evidence_chart(times[:1], np.array([1.0]), limit=2.0) is None


def test_the_difference_waits_for_enough_requests(admin_client: Client, versions: Any) -> None:
    rollout = running(*versions, steps=[Step(0.5, minimum_requests=1000)])
    start, end = rollout.interval_of(rollout.started_at or NOW)
    row = {"measure": "errors", "champion_weight": 500, "challenger_weight": 500, "started_at": start, "ended_at": end}
    counts = {"champion_units": 100, "challenger_units": 99, "champion_events": 0, "challenger_events": 1}
    RolloutInterval.objects.create(rollout=rollout, **row, **counts)
    assert "+1.01% (no interval before 100 of each version)" in page_of(admin_client, rollout)


def test_the_page_of_a_shadow_shows_its_copies(admin_client: Client, versions: Any) -> None:
    step = Step(1.0, minimum_labels=1)
    rollout = running(*versions, kind=Kind.SHADOW, guardrails=[Guardrail(Measure.WRONG_PREDICTIONS)], steps=[step])
    figures = {"compared_rows": 1000, "different_rows": 125, "dropped_copies": 3, "failed_copies": 4}
    Rollout.objects.filter(pk=rollout.pk).update(**figures)
    page = page_of(admin_client, rollout)
    assert "Copies: 3 dropped, 4 failed." in page
    assert "differ in 12.5% of 1,000 rows" in page


def test_the_list_needs_few_queries(admin_client: Client, versions: Any, django_assert_max_num_queries: Any) -> None:
    for _ in range(5):
        planned(*versions)
    admin_client.get(reverse("admin:rollouts_rollout_changelist"))
    with django_assert_max_num_queries(15):
        page = admin_client.get(reverse("admin:rollouts_rollout_changelist"))
    assert page.status_code == 200
    assert page.content.decode().count("iris 1.1.0") >= 5
