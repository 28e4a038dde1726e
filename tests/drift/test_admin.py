"""Drift in the admin: policies are set and checked, checks are only read."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from drift.models import DriftCheck, DriftPolicy, FeaturePolicy
from drift.services import run_drift_check
from models_registry.models import ModelVersion
from tests.drift.observed import iris_rows, observe, profiled_reference
from tests.factories import uploaded_version

pytestmark = pytest.mark.django_db

POLICIES = "admin:drift_driftpolicy"
CHECKS = "admin:drift_driftcheck"


@pytest.fixture
def version(redis_client: redis.Redis, settings: Settings, tmp_path: Path) -> ModelVersion:
    settings.MEDIA_ROOT = tmp_path
    return uploaded_version("classifier")


@pytest.fixture
def check(version: ModelVersion) -> DriftCheck:
    profiled_reference(version, iris_rows(500))
    observe(version, np.tile([0.1, 0.5, 0.3, 0.8], (100, 1)))
    check = run_drift_check(version_id=version.pk)
    assert check is not None
    return check


def _form(version: ModelVersion, thresholds: list[dict[str, Any]] | None = None, **values: Any) -> dict[str, Any]:
    form: dict[str, Any] = {
        "model": version.model.pk,
        "is_enabled": "on",
        "mode": "verdict",
        "false_alarm_budget": 10_000,
        "extra_window_rows": "[]",
        "window_rows": 500,
        "minimum_rows": 100,
        "interval_rows": 50,
        "feature_threshold": 0.2,
        "prediction_threshold": 0.1,
        "feature_policies-TOTAL_FORMS": len(thresholds or []),
        "feature_policies-INITIAL_FORMS": 0,
        **values,
    }
    for index, row in enumerate(thresholds or []):
        form |= {f"feature_policies-{index}-{name}": value for name, value in row.items()}
    return form


def test_a_policy_with_a_threshold_of_one_feature(admin_client: Client, version: ModelVersion) -> None:
    page = admin_client.get(reverse(f"{POLICIES}_add"))
    assert page.status_code == 200
    form = _form(version, [{"feature_name": "sepal_width", "is_watched": "on", "threshold": 0.3}])
    assert admin_client.post(reverse(f"{POLICIES}_add"), form).status_code == 302
    policy = DriftPolicy.objects.get()
    assert (policy.window_rows, policy.feature_threshold) == (500, 0.2)
    assert FeaturePolicy.objects.get().threshold == 0.3
    page = admin_client.get(reverse(f"{POLICIES}_change", args=[policy.pk]))
    assert page.status_code == 200
    assert '<option value="petal_width"' in page.content.decode()
    assert admin_client.get(reverse(f"{POLICIES}_changelist")).status_code == 200


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"minimum_rows": 29}, "At least 30 rows are needed for a score."),
        ({"window_rows": 99}, "The window must hold the minimum of 100 rows."),
        ({"extra_window_rows": "[100]"}, "A verdict needs windows of 500 rows or more."),
        ({"extra_window_rows": "many"}, "Enter a valid JSON."),
        ({"extra_window_rows": "[1000, 1000]"}, "each once."),
        ({"false_alarm_budget": 0}, "At least 1: one false alarm in each check."),
        ({"interval_rows": 0}, "At least 1 new prediction must come between two checks."),
        ({"feature_threshold": 1.5}, "Ensure this value is less than or equal to 1.0."),
        ({"model": ""}, "This field is required."),
    ],
)
def test_a_policy_that_makes_no_sense_is_explained(
    admin_client: Client, version: ModelVersion, values: dict[str, Any], reason: str
) -> None:
    response = admin_client.post(reverse(f"{POLICIES}_add"), _form(version, **values))
    assert response.status_code == 200
    assert reason in response.content.decode()
    assert not DriftPolicy.objects.exists()


def test_the_log_says_what_a_policy_was_and_is(admin_client: Client, version: ModelVersion) -> None:
    policy = DriftPolicy.objects.create(model=version.model, window_rows=500, interval_rows=50, feature_threshold=0.2)
    form = _form(version, [{"feature_name": "sepal_width", "threshold": 0.3}], false_alarm_budget=500, window_rows=800)
    assert admin_client.post(reverse(f"{POLICIES}_change", args=[policy.pk]), form).status_code == 302
    message = LogEntry.objects.get().get_change_message()
    assert "False alarm budget: 10000 → 500. Window rows: 500 → 800." in message
    assert "sepal_width" in message


def test_a_feature_that_no_version_has_is_refused_with_the_choices(admin_client: Client, version: ModelVersion) -> None:
    form = _form(version, [{"feature_name": "sepal_widht", "threshold": 0.3}])
    response = admin_client.post(reverse(f"{POLICIES}_add"), form)
    assert response.status_code == 200
    content = response.content.decode()
    assert "No version of classifier has this feature." in content
    assert "petal_length, petal_width, sepal_length, sepal_width" in content
    assert not DriftPolicy.objects.exists()


def test_the_list_of_checks_and_its_filters(admin_client: Client, check: DriftCheck) -> None:
    address = reverse(f"{CHECKS}_changelist")
    content = admin_client.get(address).content.decode()
    assert "4 of 4" in content
    assert "1.0.0" in content
    for query, count in (("features", 1), ("predictions", 1), ("none", 0)):
        page = admin_client.get(address, {"drift": query})
        assert page.status_code == 200
        assert page.context["cl"].result_count == count
    assert admin_client.get(address, {"q": "classifier", "status__exact": "failed"}).context["cl"].result_count == 0


def test_a_check_shows_every_figure(admin_client: Client, check: DriftCheck) -> None:
    response = admin_client.get(reverse(f"{CHECKS}_change", args=[check.pk]))
    assert response.status_code == 200
    content = response.content.decode()
    shown = [line.result.score for line in response.context["feature_lines"]]
    assert shown == list(check.features.order_by("-score").values_list("score", flat=True))
    for name in ("sepal_length", "KS statistic D", "Jensen-Shannon divergence", "setosa", "drifted"):
        assert name in content
    assert 'name="_save"' not in content


def test_a_failed_check_shows_its_reason(admin_client: Client, check: DriftCheck) -> None:
    check.features.all().delete()
    DriftCheck.objects.filter(pk=check.pk).update(status="failed", error_message="ValueError: <b>no</b>")
    content = admin_client.get(reverse(f"{CHECKS}_change", args=[check.pk])).content.decode()
    assert "ValueError: &lt;b&gt;no&lt;/b&gt;" in content
    assert "strongest first" not in content


def test_nobody_adds_changes_or_deletes_a_check(admin_client: Client, check: DriftCheck) -> None:
    assert admin_client.get(reverse(f"{CHECKS}_add")).status_code == 403
    assert admin_client.post(reverse(f"{CHECKS}_change", args=[check.pk]), {"status": "failed"}).status_code == 403
    assert admin_client.post(reverse(f"{CHECKS}_delete", args=[check.pk]), {"post": "yes"}).status_code == 403
    check.refresh_from_db()
    assert check.status == "succeeded"


def test_an_unknown_check_leads_back(admin_client: Client) -> None:
    assert admin_client.get(reverse(f"{CHECKS}_change", args=[12345])).status_code == 302


def test_permissions_apply(client: Client, check: DriftCheck) -> None:
    user = User.objects.create_user("reader", is_staff=True)
    client.force_login(user)
    address = reverse(f"{CHECKS}_change", args=[check.pk])
    assert client.get(address).status_code == 403
    assert client.get(reverse(f"{POLICIES}_add")).status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="view_driftcheck"))
    assert client.get(address).status_code == 200
