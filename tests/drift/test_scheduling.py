"""Many due checks: spread over the tick, those waiting longest first, none earlier than the policy says."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import redis
from celery.exceptions import SoftTimeLimitExceeded
from pytest_django.fixtures import Settings

from drift.models import DriftCheck, DriftPolicy
from drift.selectors import due_versions
from drift.services import checks
from drift.services.checks import run_drift_check
from drift.tasks import LONGEST_GAP_SECONDS, check_due_versions, check_version, start_delays
from models_registry.models import ModelVersion
from tests.factories import uploaded_version
from tests.mlmon.observed import iris_rows, observe, profiled_reference


@pytest.mark.parametrize(("due", "last"), [(0, None), (1, 0.0), (3, 0.2), (160, 15.9), (1000, 15.984)])
def test_checks_are_spread_over_the_tick_without_needless_waiting(due: int, last: float | None) -> None:
    """160 checks are a tenth of a second apart; more share 80 % of 20 seconds: 16 * 999 / 1000 is 15.984."""
    delays = start_delays(due, tick_seconds=20)
    assert len(delays) == due
    assert (delays[-1] if delays else None) == (None if last is None else pytest.approx(last))
    gaps = [later - earlier for earlier, later in pairwise(delays)]
    assert all(0 < gap <= LONGEST_GAP_SECONDS + 1e-12 for gap in gaps)


@pytest.fixture
def version(redis_client: redis.Redis, settings: Settings, tmp_path: Path) -> ModelVersion:
    settings.MEDIA_ROOT = tmp_path
    version = uploaded_version("classifier")
    profiled_reference(version, iris_rows(500, seed=1))
    return version


@pytest.mark.django_db
def test_the_tick_sets_start_and_expiry_of_each_check(
    version: ModelVersion, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.MLMON_DRIFT_TICK_SECONDS = 20
    second = uploaded_version("second")
    profiled_reference(second, iris_rows(500, seed=1))
    for due in (version, second):
        observe(due, iris_rows(100))
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(check_version, "apply_async", lambda args, **options: sent.append({"args": args, **options}))
    check_due_versions()
    assert sent == [
        {"args": (version.pk,), "countdown": 0.0, "expires": 20},
        {"args": (second.pk,), "countdown": LONGEST_GAP_SECONDS, "expires": 20},
    ]


@pytest.mark.django_db
def test_versions_that_waited_longest_come_first(version: ModelVersion) -> None:
    checked_later, never_checked = uploaded_version("later"), uploaded_version("never")
    for other in (checked_later, never_checked):
        profiled_reference(other, iris_rows(500, seed=1))
    for due in (version, checked_later):
        observe(due, iris_rows(100))
        run_drift_check(version_id=due.pk)
    for due in (version, checked_later, never_checked):
        observe(due, iris_rows(100))
    assert due_versions() == [never_checked, version, checked_later]


@pytest.mark.django_db
def test_a_second_task_for_the_same_rows_does_nothing(version: ModelVersion) -> None:
    observe(version, iris_rows(100))
    check_version(version.pk)
    observe(version, iris_rows(50))
    check_version(version.pk)  # enqueued twice: 50 new rows are too few for another check
    assert DriftCheck.objects.count() == 1
    observe(version, iris_rows(50))
    check_version(version.pk)
    assert DriftCheck.objects.count() == 2


@pytest.mark.django_db
def test_after_the_longest_pause_one_new_row_is_enough(version: ModelVersion) -> None:
    DriftPolicy.objects.create(model=version.model, longest_pause_seconds=0)
    observe(version, iris_rows(100))
    check_version(version.pk)
    check_version(version.pk)
    assert DriftCheck.objects.count() == 1  # time alone is no reason
    observe(version, iris_rows(1))
    check_version(version.pk)
    assert DriftCheck.objects.count() == 2


@pytest.mark.django_db
def test_a_check_that_takes_too_long_fails_with_the_reason(
    version: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    def endless(*_: object, **__: object) -> None:
        raise SoftTimeLimitExceeded

    monkeypatch.setattr(checks, "compare_window", endless)
    observe(version, iris_rows(100))
    check_version(version.pk)
    check = DriftCheck.objects.get()
    assert check.status == "failed"
    assert check.error_message.startswith("The check took longer than 120 seconds.")
