"""Incidents in the database: opened and closed by checks, acknowledged, snoozed and closed by people."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import redis
from django.contrib.auth.models import User
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts.selectors import changes_of
from drift.exceptions import IncidentClosedError, SnoozeInThePastError
from drift.models import DriftCheck, DriftIncident, DriftPolicy, PolicyMode
from drift.selectors import due_versions, latest_check, policy_for
from drift.services import checks
from drift.services.checks import run_drift_check
from drift.services.incidents import acknowledge_incident, close_incident, snooze_incident
from drift.tasks import check_due_versions
from inference.stream import read_window
from models_registry.models import ModelVersion, Stage
from models_registry.selectors import active_reference
from models_registry.services.versions import set_stage
from monitoring.selectors import latest_checks_of_primary_versions, versions_with_alerting_incidents
from tests.factories import IRIS_FEATURES, uploaded_version
from tests.mlmon.observed import iris_rows, observe, profiled_reference

pytestmark = pytest.mark.django_db

WINDOW_ROWS = 1000


@pytest.fixture
def version(redis_client: redis.Redis, settings: Settings, tmp_path: Path) -> ModelVersion:
    settings.MEDIA_ROOT = tmp_path
    version = uploaded_version("classifier")
    profiled_reference(version, iris_rows(5000, seed=1))
    return version


@pytest.fixture
def anna() -> User:
    return User.objects.create_user("anna")


def _checked(version: ModelVersion, *, shift: float = 0.0, seed: int, rows: int = WINDOW_ROWS) -> DriftCheck:
    """Return the check after `rows` more flowers, whose first feature is longer by `shift` cm."""
    observe(version, iris_rows(rows, seed=seed) + np.array([shift, 0, 0, 0]))
    check = run_drift_check(version_id=version.pk)
    assert check is not None
    assert check.status == "succeeded", check.error_message
    return check


@pytest.fixture
def incident(version: ModelVersion) -> DriftIncident:
    _checked(version, shift=0.5, seed=2)
    return DriftIncident.objects.get()


def test_an_alarm_opens_an_incident_with_what_drifted(version: ModelVersion) -> None:
    check = _checked(version, shift=0.5, seed=2)
    incident = DriftIncident.objects.get()
    assert (check.verdict_status, incident.version, incident.opened_by, incident.last_check) == (
        "alarm",
        version,
        check,
        check,
    )
    assert (incident.opened_at, incident.closed_at) == (check.window_ended_at, None)
    strongest = incident.hypotheses[0]
    assert (strongest.channel, strongest.name, strongest.is_alarm) == ("distribution", IRIS_FEATURES[0], True)
    assert list(check.features.filter(is_confirmed=True).values_list("feature_name", flat=True)) == [IRIS_FEATURES[0]]


def test_rows_like_the_reference_open_no_incident(version: ModelVersion) -> None:
    assert _checked(version, seed=3).verdict_status == "quiet"
    assert not DriftIncident.objects.exists()


def test_further_alarms_belong_to_the_same_incident(version: ModelVersion, incident: DriftIncident) -> None:
    second = _checked(version, shift=0.5, seed=4, rows=100)
    incident.refresh_from_db()
    assert (incident.alarms, incident.last_check, incident.quiet_windows) == (2, second, 0)


def test_it_closes_after_three_quiet_windows_of_other_rows(version: ModelVersion, incident: DriftIncident) -> None:
    quiet_windows = []
    for seed in (11, 12, 13):
        assert _checked(version, seed=seed).verdict_status == "quiet"
        incident.refresh_from_db()
        quiet_windows.append(incident.quiet_windows)
    assert quiet_windows == [1, 2, 2]
    assert incident.closing_reason == "quiet"
    assert incident.closed_at is not None
    assert incident.last_check == latest_check(version)
    assert DriftIncident.objects.count() == 1


def test_another_reference_closes_it(version: ModelVersion, incident: DriftIncident) -> None:
    profiled_reference(version, iris_rows(5000, seed=5) + np.array([0.5, 0, 0, 0]))
    assert _checked(version, shift=0.5, seed=6).verdict_status == "quiet"
    incident.refresh_from_db()
    assert (incident.closing_reason, DriftIncident.objects.filter(closed_at=None).count()) == ("new_reference", 0)


def test_the_tick_closes_the_incident_of_an_archived_version(version: ModelVersion, incident: DriftIncident) -> None:
    set_stage(version=version, stage=Stage.STAGING)
    check_due_versions()
    incident.refresh_from_db()
    assert incident.closed_at is None  # the version can return to production
    set_stage(version=version, stage=Stage.ARCHIVED)
    check_due_versions()
    incident.refresh_from_db()
    assert (incident.closing_reason, incident.closed_at is None) == ("archived", False)


def test_thresholds_alone_open_no_incident(version: ModelVersion) -> None:
    DriftPolicy.objects.create(model=version.model, mode=PolicyMode.THRESHOLDS)
    check = _checked(version, shift=0.5, seed=2)
    assert (check.verdict_status, check.n_drifted_features > 0) == ("not_asked", True)
    assert not DriftIncident.objects.exists()


def test_a_failed_check_changes_nothing(
    version: ModelVersion, incident: DriftIncident, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = DriftIncident.objects.values().get()

    def broken(*_: object, **__: object) -> None:
        raise ValueError("no such thing")

    monkeypatch.setattr(checks, "compare_window", broken)
    observe(version, iris_rows(100, seed=7))
    check = run_drift_check(version_id=version.pk)
    assert check is not None
    assert (check.status, check.error_message) == ("failed", "ValueError: no such thing")
    assert DriftIncident.objects.values().get() == before


def test_a_check_is_not_stored_without_its_incident(version: ModelVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: object) -> None:
        raise RuntimeError("killed here")

    monkeypatch.setattr(checks, "follow_incident", broken)
    observe(version, iris_rows(WINDOW_ROWS, seed=2) + 0.5)
    with pytest.raises(RuntimeError, match="killed here"):
        run_drift_check(version_id=version.pk)
    assert not DriftCheck.objects.exists()
    monkeypatch.undo()
    assert run_drift_check(version_id=version.pk) is not None  # the next tick repeats it
    assert DriftIncident.objects.count() == 1


def test_a_backfilled_check_is_history_only(version: ModelVersion, redis_client: redis.Redis) -> None:
    newest = _checked(version, seed=3)
    observe(version, iris_rows(WINDOW_ROWS, seed=2) + 0.5)
    reference = active_reference(version.pk)
    assert reference is not None
    window = read_window(redis_client, version.pk, WINDOW_ROWS)
    check = checks.store_check(version, reference, window, policy_for(version.model), is_backfilled=True)
    assert check is not None
    assert (check.verdict_status, check.is_backfilled) == ("alarm", True)
    assert not DriftIncident.objects.exists()
    assert latest_check(version) == newest
    assert [check.pk for check in latest_checks_of_primary_versions()] == [newest.pk]
    assert due_versions() == [version]  # counted from the latest check that is not backfilled


def test_acknowledging_records_who_and_when(incident: DriftIncident, anna: User) -> None:
    acknowledge_incident(incident=incident, user=anna)
    incident.refresh_from_db()
    assert (incident.acknowledged_by, incident.closed_at) == (anna, None)
    first = incident.acknowledged_at
    assert first is not None
    acknowledge_incident(incident=incident, user=User.objects.create_user("bert"))
    incident.refresh_from_db()
    assert (incident.acknowledged_by, incident.acknowledged_at) == (anna, first)
    assert [(entry.user, entry.message) for entry in changes_of(incident)] == [(anna, "Acknowledged.")]


def test_a_snoozed_incident_alerts_again_after_the_snooze(incident: DriftIncident, anna: User) -> None:
    assert versions_with_alerting_incidents() == {incident.version_id}
    until = timezone.now() + timedelta(hours=2)
    snooze_incident(incident=incident, until=until, user=anna)
    assert versions_with_alerting_incidents() == set()
    assert changes_of(incident).get().message == f"Snoozed until {until:%Y-%m-%d %H:%M} UTC."
    DriftIncident.objects.update(snoozed_until=timezone.now() - timedelta(seconds=1))
    assert versions_with_alerting_incidents() == {incident.version_id}


def test_a_snooze_cannot_end_in_the_past(incident: DriftIncident, anna: User) -> None:
    with pytest.raises(SnoozeInThePastError, match="is in the past"):
        snooze_incident(incident=incident, until=timezone.now() - timedelta(seconds=1), user=anna)
    assert DriftIncident.objects.get().snoozed_until is None


def test_after_closing_by_hand_the_next_alarm_opens_another(
    version: ModelVersion, incident: DriftIncident, anna: User
) -> None:
    close_incident(incident=incident, user=anna)
    incident.refresh_from_db()
    assert (incident.closing_reason, changes_of(incident).get().message) == ("by_hand", "Closed by hand.")
    _checked(version, shift=0.5, seed=4, rows=100)
    assert DriftIncident.objects.filter(closed_at=None).count() == 1
    assert DriftIncident.objects.count() == 2


@pytest.mark.parametrize(
    "act",
    [
        lambda incident, user: acknowledge_incident(incident=incident, user=user),
        lambda incident, user: snooze_incident(incident=incident, until=timezone.now() + timedelta(hours=1), user=user),
        lambda incident, user: close_incident(incident=incident, user=user),
    ],
)
def test_a_closed_incident_cannot_be_changed(
    incident: DriftIncident, anna: User, act: Callable[[DriftIncident, User], None]
) -> None:
    close_incident(incident=incident, user=anna)
    before = DriftIncident.objects.values().get()
    with pytest.raises(IncidentClosedError, match="was closed"):
        act(incident, anna)
    assert DriftIncident.objects.values().get() == before
