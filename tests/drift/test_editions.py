"""Upgrading to another edition of the verdict's rule: old checks stay, their windows are checked again beside them."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from drift.models import DriftCheck, DriftPolicy
from drift.selectors import latest_check
from drift.services.checks import run_drift_check
from inference.services.archiving import archive_observations
from mlmon.verdict import RULE_EDITION
from models_registry.models import ModelVersion, ReferenceDataset
from models_registry.selectors import load_profile
from models_registry.tasks import rebuild_profiles
from tests.factories import uploaded_version
from tests.mlmon.observed import iris_rows, observe, profiled_reference

pytestmark = pytest.mark.django_db(transaction=True)
SHIFT = np.array([0.6, 0, 0, 0])


@pytest.fixture
def judged_before(redis_client: redis.Redis, settings: Settings, tmp_path: Path) -> ModelVersion:
    """A version with two archived windows and their checks by the first edition: quiet rows, then drifted ones."""
    settings.MEDIA_ROOT = tmp_path
    version = uploaded_version("classifier")
    profiled_reference(version, iris_rows(5000))
    DriftPolicy.objects.create(model=version.model, window_rows=600)
    for seed, shift in ((10, 0 * SHIFT), (11, SHIFT)):
        observe(version, iris_rows(600, seed=seed) + shift)
        run_drift_check(version_id=version.pk)
    archive_observations(seconds=60)
    DriftCheck.objects.update(rule_edition=1, verdict_status="quiet")  # as the first edition had found nothing
    return version


def _check_again() -> dict[str, Any]:
    output = StringIO()
    call_command("drift_backfill", "classifier", earlier_checks=True, json=True, stdout=output)
    summary: dict[str, Any] = json.loads(output.getvalue())
    return summary


def test_the_windows_of_earlier_checks_are_checked_beside_them(judged_before: ModelVersion) -> None:
    summary = _check_again()
    assert (summary["checks"], summary["alarms"], summary["failed"]) == (2, 1, 0)
    assert summary["beside_earlier"] == {"quiet before and now": 1, "quiet before, alarm now": 1}
    for earlier in DriftCheck.objects.filter(rule_edition=1):
        again = DriftCheck.objects.get(window_end=earlier.window_end, rule_edition=RULE_EDITION)
        assert again.is_backfilled
        assert again.rows_seen == earlier.rows_seen
        assert again.window_ended_at == earlier.window_ended_at
        scores = [dict(each.features.values_list("feature_name", "score")) for each in (earlier, again)]
        assert scores[0] == pytest.approx(scores[1], rel=1e-12)  # the very same rows
    assert latest_check(judged_before) == DriftCheck.objects.filter(rule_edition=1).latest()
    with pytest.raises(CommandError, match="has no check by an earlier edition of the rule"):
        _check_again()


def test_a_window_whose_rows_are_deleted_is_counted(judged_before: ModelVersion, redis_client: redis.Redis) -> None:
    judged_before.observation_chunks.all().delete()
    redis_client.flushdb()
    summary = _check_again()
    assert (summary["checks"], summary["rows_gone"]) == (0, 2)


def test_the_page_of_a_check_leads_to_the_other_edition(judged_before: ModelVersion, admin_client: Client) -> None:
    _check_again()
    earlier = DriftCheck.objects.filter(rule_edition=1).latest()
    again = DriftCheck.objects.get(window_end=earlier.window_end, rule_edition=RULE_EDITION)
    page = admin_client.get(reverse("admin:drift_driftcheck_change", args=[earlier.pk])).content.decode()
    assert "The same window by edition 2 of the rule:" in page
    assert reverse("admin:drift_driftcheck_change", args=[again.pk]) in page


def test_profiles_of_an_earlier_format_are_rebuilt(judged_before: ModelVersion, tmp_path: Path) -> None:
    reference = judged_before.references.get()
    before = load_profile(reference)
    (tmp_path / "profiles" / "old.arrow").write_bytes(b"a profile that nobody can read any more")
    ReferenceDataset.objects.update(profile_format=3, profile_file="profiles/old.arrow")
    observe(judged_before, iris_rows(600, seed=12))
    failed = run_drift_check(version_id=judged_before.pk)
    assert failed is not None
    assert failed.error_message
    rebuild_profiles()
    reference.refresh_from_db()
    after = load_profile(reference)
    assert after.n_rows == before.n_rows
    for name, column in before.features.items():
        assert np.array_equal(after.features[name].sorted_values, column.sorted_values)  # type: ignore[union-attr]
    observe(judged_before, iris_rows(100, seed=13))
    check = run_drift_check(version_id=judged_before.pk)
    assert check is not None
    assert check.status == "succeeded", check.error_message


def test_a_profile_that_cannot_be_rebuilt_says_so_and_is_not_tried_again(judged_before: ModelVersion) -> None:
    reference = judged_before.references.get()
    Path(reference.file.path).unlink()
    ReferenceDataset.objects.update(profile_format=3)
    rebuild_profiles()
    reference.refresh_from_db()
    assert reference.profile_format is None
    assert "could not be rebuilt: No such file or directory Upload the file again." in reference.notes[-1]
    rebuild_profiles()
    reference.refresh_from_db()
    assert len(reference.notes) == 1


def test_a_database_of_the_first_edition_is_migrated_with_its_checks() -> None:
    executor = MigrationExecutor(connection)
    try:
        executor.migrate([("drift", "0001_initial"), ("models_registry", "0001_initial")])
        state = executor.loader.project_state([("drift", "0001_initial"), ("models_registry", "0001_initial")])
        model = state.apps.get_model("models_registry", "Model").objects.create(name="old")
        versions = state.apps.get_model("models_registry", "ModelVersion").objects
        version = versions.create(
            model=model,
            version="1.0.0",
            artefact="m.onnx",
            artefact_sha256="0" * 64,
            artefact_bytes=1,
            task_type="regression",
        )
        references = state.apps.get_model("models_registry", "ReferenceDataset").objects
        reference = references.create(version=version, original_filename="a.csv", profile_file="profiles/a.arrow")
        state.apps.get_model("drift", "DriftCheck").objects.create(
            version=version, reference=reference, status="succeeded", window_end="1-0", rows_seen=1000
        )
        state.apps.get_model("drift", "DriftPolicy").objects.create(model=model, false_alarm_budget=500)
    finally:
        executor = MigrationExecutor(connection)
        executor.migrate(executor.loader.graph.leaf_nodes())
    assert DriftCheck.objects.get().rule_edition == 1
    assert ReferenceDataset.objects.get().profile_format == 3
    policy = DriftPolicy.objects.get()
    assert (policy.monitors_correlation, policy.false_alarm_budget) == (True, 500)
