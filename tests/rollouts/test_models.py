"""What the database refuses, and how rows of a rollout stay few."""

from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from models_registry.models import ModelVersion
from rollouts.models import CountedUnit, Rollout, RolloutIncident, RolloutInterval, State
from rollouts.services.retention import delete_old_rows
from tests.inference.observed import registered_version
from tests.rollouts.rollout_cases import NOW, rollout_row

pytestmark = pytest.mark.django_db


@pytest.fixture
def champion() -> ModelVersion:
    return registered_version("m")


@pytest.fixture
def challenger(champion: ModelVersion) -> ModelVersion:
    return registered_version("m", "1.1.0")


@pytest.mark.parametrize(
    ("fields", "constraint"),
    [
        ({"state": "lost"}, "rollout_state_is_known"),
        ({"kind": "blue"}, "rollout_kind_is_known"),
        ({"alpha": 0.5}, "rollout_alpha_is_a_small_probability"),
        ({"alpha": 0.0}, "rollout_alpha_is_a_small_probability"),
        ({"started_at": None}, "only_a_draft_has_not_started"),
        ({"state": State.DRAFT, "started_at": NOW}, "only_a_draft_has_not_started"),
        ({"ended_at": NOW}, "only_an_ended_rollout_has_an_end"),
        ({"state": State.ROLLED_BACK, "ended_at": None}, "only_an_ended_rollout_has_an_end"),
        ({"state": State.PAUSED, "reason": ""}, "a_paused_or_ended_rollout_has_a_reason"),
        ({"challenger_weight": 1000}, "rollout_share_and_step_are_in_range"),
        ({"state": State.ROLLED_BACK, "is_live": True}, "a_rolled_back_challenger_gets_no_requests"),
    ],
)
def test_an_impossible_rollout_is_refused(
    fields: dict[str, Any], constraint: str, champion: ModelVersion, challenger: ModelVersion
) -> None:
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        rollout_row(champion, challenger, **fields)


def test_a_version_cannot_challenge_itself(champion: ModelVersion) -> None:
    with pytest.raises(IntegrityError, match="rollout_has_two_versions"), transaction.atomic():
        rollout_row(champion, champion)


@pytest.mark.parametrize("second", [State.RUNNING, State.PAUSED])
def test_a_model_has_one_active_rollout(second: State, champion: ModelVersion, challenger: ModelVersion) -> None:
    rollout_row(champion, challenger, state=State.PAUSED)
    rollout_row(champion, challenger, state=State.DRAFT)
    rollout_row(champion, challenger, state=State.SUCCEEDED)
    with pytest.raises(IntegrityError, match="one_active_rollout_for_each_model"), transaction.atomic():
        rollout_row(champion, challenger, state=second)


def interval_row(rollout: Rollout, **fields: Any) -> RolloutInterval:
    defaults: dict[str, Any] = {
        "measure": "errors",
        "champion_weight": 900,
        "challenger_weight": 100,
        "started_at": NOW,
        "ended_at": NOW + timedelta(minutes=1),
        "champion_units": 9,
        "challenger_units": 1,
    }
    return RolloutInterval.objects.create(rollout=rollout, **(defaults | fields))


@pytest.mark.parametrize(
    ("fields", "constraint"),
    [
        ({"measure": "mood"}, "rollout_measure_is_known"),
        ({"challenger_weight": 0}, "rollout_weights_are_positive"),
        ({"challenger_events": 2}, "rollout_events_are_at_most_the_units"),
        ({"ended_at": NOW}, "rollout_interval_has_an_order"),
    ],
)
def test_an_impossible_interval_is_refused(
    fields: dict[str, Any], constraint: str, champion: ModelVersion, challenger: ModelVersion
) -> None:
    rollout = rollout_row(champion, challenger)
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        interval_row(rollout, **fields)


def test_an_interval_is_stored_once(champion: ModelVersion, challenger: ModelVersion) -> None:
    rollout = rollout_row(champion, challenger)
    interval_row(rollout)
    interval_row(rollout, measure="latency")
    with pytest.raises(IntegrityError, match="rollout_interval_is_unique"), transaction.atomic():
        interval_row(rollout)


def test_a_unit_counts_once(champion: ModelVersion, challenger: ModelVersion) -> None:
    rollout = rollout_row(champion, challenger)
    CountedUnit.objects.create(rollout=rollout, what="errors", digest=-1)
    with pytest.raises(IntegrityError, match="a_unit_counts_once"), transaction.atomic():
        CountedUnit.objects.create(rollout=rollout, what="errors", digest=-1)


@pytest.mark.parametrize(
    ("fields", "constraint"),
    [
        ({"log10_evidence": 1.9}, "rollout_incident_has_enough_evidence"),
        ({"measure": "mood"}, "rollout_incident_measure_is_known"),
    ],
)
def test_an_impossible_incident_is_refused(
    fields: dict[str, Any], constraint: str, champion: ModelVersion, challenger: ModelVersion
) -> None:
    rollout = rollout_row(champion, challenger, state=State.ROLLED_BACK)
    counts = dict.fromkeys(("champion_units", "challenger_units", "champion_events", "challenger_events"), 1)
    stored: dict[str, Any] = {
        "measure": "errors",
        "log10_evidence": 2.5,
        "log10_limit": 2.0,
        "opened_at": NOW,
        **counts,
    }
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        RolloutIncident.objects.create(rollout=rollout, **(stored | fields))


def test_thirty_days_have_fewer_than_a_thousand_intervals(champion: ModelVersion, challenger: ModelVersion) -> None:
    rollout = rollout_row(champion, challenger)
    minutes = [NOW + timedelta(minutes=one) for one in range(30 * 24 * 60)]
    intervals = {rollout.interval_of(one) for one in minutes}
    # 2 h of minutes, 22 h of ten minutes, 29 days of hours.
    assert len(intervals) == 120 + 22 * 6 + 29 * 24
    ordered = sorted(intervals)
    assert all(start < end for start, end in ordered)
    assert all(one[1] == other[0] for one, other in pairwise(ordered))
    assert all(start <= one < end for one in minutes[:200] for start, end in [rollout.interval_of(one)])


def test_rows_of_ended_rollouts_are_deleted(champion: ModelVersion, challenger: ModelVersion) -> None:
    long_ago = timezone.now() - timedelta(days=401)
    active = rollout_row(champion, challenger, started_at=long_ago)
    ended = rollout_row(champion, challenger, state=State.CANCELLED, ended_at=timezone.now() - timedelta(days=399))
    expired = rollout_row(champion, challenger, state=State.CANCELLED, ended_at=long_ago)
    for rollout in (active, ended, expired):
        interval_row(rollout, started_at=long_ago)
        CountedUnit.objects.create(rollout=rollout, what="errors", digest=7)
    delete_old_rows(seconds=10)
    assert set(RolloutInterval.objects.values_list("rollout", flat=True)) == {active.pk, ended.pk}
    assert set(CountedUnit.objects.values_list("rollout", flat=True)) == {active.pk}


def test_a_version_of_a_rollout_is_deleted_only_with_its_model(
    champion: ModelVersion, challenger: ModelVersion
) -> None:
    from django.db.models import RestrictedError

    rollout_row(champion, challenger, state=State.CANCELLED)
    with pytest.raises(RestrictedError):
        challenger.delete()
    champion.model.delete()
    assert not Rollout.objects.exists()
