"""Backfilled checks: of real archived observations, resumable, and separate from current checks."""

import json
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from drift.models import LONGEST_SPAN_SECONDS, DriftCheck, DriftIncident, DriftPolicy
from drift.selectors import due_versions, latest_check
from drift.services.backfill import BackfillRequest, backfill, rows_to_backfill
from inference.services.archiving import archive_observations
from models_registry.models import ModelVersion
from tests.factories import uploaded_version
from tests.inference.observed import delete_window
from tests.mlmon.observed import iris_rows, observe, profiled_reference

pytestmark = pytest.mark.django_db(transaction=True)
SHIFT = np.array([0.6, 0, 0, 0])


@pytest.fixture
def archived(redis_client: redis.Redis, settings: Settings, tmp_path: Path) -> ModelVersion:
    """A version with 1,800 archived rows and no live window: 1,200 like the reference, then 600 that have drifted."""
    settings.MEDIA_ROOT = tmp_path
    version = uploaded_version("classifier")
    profiled_reference(version, iris_rows(3000))
    DriftPolicy.objects.create(model=version.model, window_rows=600)
    for seed in range(6):
        observe(version, iris_rows(200, seed=10 + seed))
    observe(version, iris_rows(600, seed=20) + SHIFT)
    archive_observations(seconds=60)
    delete_window(redis_client, version.pk)
    return version


def _request(version: ModelVersion, **bounds: Any) -> BackfillRequest:
    return BackfillRequest(version, version.references.get(), every_rows=100, **bounds)


def _run(**options: Any) -> dict[str, Any]:
    output = StringIO()
    call_command("drift_backfill", "classifier", json=True, stdout=output, **options)
    summary: dict[str, Any] = json.loads(output.getvalue())
    return summary


def test_the_windows_of_the_archive_are_checked_in_order(archived: ModelVersion) -> None:
    steps = list(backfill(_request(archived)))
    checks = [step.check for step in steps if step.check is not None]
    assert [check.rows_seen for check in checks] == list(range(100, 1801, 100))
    assert [check.n_current for check in checks] == [100, 200, 300, 400, 500, *[600] * 13]
    assert sum(step.rows for step in steps) == rows_to_backfill(_request(archived)) == 1800
    by_verdict = {check.rows_seen: check.verdict_status for check in checks}
    assert {by_verdict[rows] for rows in range(100, 500, 100)} == {"insufficient_data"}
    assert {by_verdict[rows] for rows in range(500, 1201, 100)} == {"quiet"}
    assert by_verdict[1800] == "alarm"
    assert "sepal_length" in checks[-1].features.filter(is_confirmed=True).values_list("feature_name", flat=True)


@pytest.mark.parametrize(
    ("seconds", "rows"),
    [
        (0, [*[100, 200] * 6, *range(100, 700, 100)]),  # rows of one batch were observed at the same time
        (LONGEST_SPAN_SECONDS, [100, 200, 300, 400, 500, *[600] * 13]),
    ],
)
def test_a_window_of_time_ends_with_its_last_row(archived: ModelVersion, seconds: int, rows: list[int]) -> None:
    archived.model.drift_policy.window_seconds = seconds
    assert [step.check.n_current for step in backfill(_request(archived)) if step.check is not None] == rows


def test_backfilled_checks_open_no_incident_and_are_not_current(archived: ModelVersion) -> None:
    list(backfill(_request(archived)))
    assert not DriftIncident.objects.exists()
    assert latest_check(archived) is None
    assert due_versions() == []


def test_it_continues_where_it_stopped(archived: ModelVersion) -> None:
    list(islice(backfill(_request(archived)), 7))
    assert DriftCheck.objects.count() == 7
    rest = list(backfill(_request(archived)))
    assert [step.was_there for step in rest][:8] == [*[True] * 7, False]
    assert DriftCheck.objects.count() == 18


def test_times_limit_the_windows(archived: ModelVersion) -> None:
    list(backfill(_request(archived)))
    ends = list(DriftCheck.objects.order_by("rows_seen").values_list("window_ended_at", flat=True))
    DriftCheck.objects.all().delete()
    list(backfill(_request(archived, since=ends[5], until=ends[15])))
    found = DriftCheck.objects.filter(window_ended_at__gte=ends[5], window_ended_at__lt=ends[15])
    assert found.count() == DriftCheck.objects.count() > 0


def test_the_command_prints_a_summary_and_a_second_run_makes_no_checks(archived: ModelVersion) -> None:
    first = _run()
    assert (first["rows"], first["checks"], first["were_there"], first["failed"]) == (1800, 18, 0, 0)
    assert first["alarms"] >= 1
    second = _run()
    assert (second["checks"], second["were_there"]) == (0, 18)
    assert _run(every=600)["were_there"] == 3


def test_the_output_names_the_features_of_alarms(archived: ModelVersion) -> None:
    output = StringIO()
    call_command("drift_backfill", "classifier", stdout=output)
    assert "18 checks made, 0 found from an earlier run" in output.getvalue()
    assert "  sepal_length" in output.getvalue()


def test_an_interrupted_run_says_how_to_continue(archived: ModelVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(request: BackfillRequest) -> Any:
        yield from islice(backfill(request), 3)
        raise KeyboardInterrupt

    monkeypatch.setattr("drift.management.commands.drift_backfill.backfill", interrupted)
    with pytest.raises(CommandError, match="Run the command again to continue") as error:
        _run()
    assert error.value.returncode == 130
    assert DriftCheck.objects.count() == 3


def test_errors_give_the_reason(redis_client: redis.Redis, settings: Settings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path
    with pytest.raises(CommandError, match="There is no model named 'classifier'"):
        _run()
    version = uploaded_version("classifier")
    with pytest.raises(CommandError, match="has no reference data"):
        _run()
    profiled_reference(version, iris_rows(500))
    with pytest.raises(CommandError, match=r"No observations of classifier 1\.0\.0 are archived"):
        _run()
    with pytest.raises(CommandError, match="has no version '9'"):
        _run(model_version="9")
    with pytest.raises(CommandError, match="enter a time in ISO 8601"):
        call_command("drift_backfill", "classifier", "--since", "yesterday")
