"""Drift in the admin: people edit policies, read checks and handle incidents."""

from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts.models import ChangeRecord
from drift.models import DriftCheck, DriftIncident, DriftPolicy, FeaturePolicy
from drift.services.checks import run_drift_check
from inference.models import CapturePolicy
from inference.stream import redis_client
from mlmon.measures import MEASURES, PHI
from mlmon.sentences import sentence_of
from models_registry.models import ModelFeature, ModelVersion, ReferenceDataset
from tests.factories import uploaded_version
from tests.inference.observed import delete_window
from tests.mlmon.observed import iris_rows, observe, profiled_reference

pytestmark = pytest.mark.django_db

POLICIES = "admin:drift_driftpolicy"
CHECKS = "admin:drift_driftcheck"
INCIDENTS = "admin:drift_driftincident"


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
        "extra_window_rows": "",
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
    form = _form(version, [{"feature_name": "sepal_width", "is_monitored": "on", "threshold": 0.3}])
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
        ({"minimum_rows": 29}, "A score needs at least 30 rows."),
        ({"window_rows": 99}, "The window must have at least the minimum of 100 rows."),
        ({"extra_window_rows": "100"}, "A verdict needs windows of 500 rows or more."),
        ({"extra_window_rows": "many"}, "Enter numbers of rows separated by commas"),
        ({"extra_window_rows": "1000, 1000"}, "each once."),
        ({"false_alarm_budget": 0}, "Enter at least 1, which is one false alarm in each check."),
        ({"interval_rows": 0}, "Enter at least 1 new prediction between two checks."),
        ({"window_seconds": 315_360_001}, "At most 315,360,000 seconds, which is 10 years."),
        ({"window_seconds": 9223372036854775807}, "At most 315,360,000 seconds"),
        ({"longest_pause_seconds": 315_360_001}, "At most 315,360,000 seconds"),
        ({"window_rows": 1_000_001}, "A window has at most 1,000,000 rows."),
        ({"window_rows": 2_000_000, "minimum_rows": 1_000_001}, "A window has at most 1,000,000 rows."),
        ({"minimum_rows": 9223372036854775807}, "A window has at most 1,000,000 rows."),
        ({"extra_window_rows": "500, 1000001"}, "A window has at most 1,000,000 rows."),
        ({"extra_window_rows": "9" * 5000}, "A window has at most 1,000,000 rows."),
        ({"interval_rows": 1_000_000_001}, "At most 1,000,000,000 predictions."),
        ({"false_alarm_budget": 1_000_000_001}, "At most one false alarm in 1,000,000,000 checks."),
        ({"feature_threshold": 1.5}, "Ensure this value is less than or equal to 1.0."),
        ({"model": ""}, "This field is required."),
    ],
)
def test_an_invalid_policy_is_refused_with_the_reason(
    admin_client: Client, version: ModelVersion, values: dict[str, Any], reason: str
) -> None:
    response = admin_client.post(reverse(f"{POLICIES}_add"), _form(version, **values))
    assert response.status_code == 200
    assert reason in response.content.decode()
    assert set(response.context["adminform"].form.errors) <= set(values) | {"window_rows"}
    assert not DriftPolicy.objects.exists()


@pytest.mark.parametrize("forms", [151, 2000, 99_999_999])
def test_too_many_feature_policies_are_refused(admin_client: Client, version: ModelVersion, forms: int) -> None:
    row = {"feature_name": "sepal_width", "is_monitored": "on", "threshold": 0.3}
    sent = _form(version, [row]) | {"feature_policies-TOTAL_FORMS": forms}
    response = admin_client.post(reverse(f"{POLICIES}_add"), sent)
    assert response.status_code == 200
    page = response.content.decode()
    assert "At most 150 features can have a policy of their own." in page
    assert page.count('name="feature_policies-149-threshold"') == 1
    assert 'name="feature_policies-150-' not in page  # Django's own limit is 1,000 forms further
    assert not DriftPolicy.objects.exists()


def test_the_maximum_of_feature_policies_can_be_saved_and_changed(admin_client: Client, version: ModelVersion) -> None:
    version.features.all().delete()
    features = [ModelFeature(version=version, name=f"f{place}", position=place, column=place) for place in range(150)]
    for feature in features:
        feature.kind, feature.input_name, feature.tensor_type = "numeric", "rows", "float32"
    ModelFeature.objects.bulk_create(features)
    rows = [{"feature_name": f"f{place}", "is_monitored": "on", "method": "", "threshold": 0.3} for place in range(150)]
    sent = _form(version, [{**row, "id": "", "policy": ""} for row in rows])
    assert admin_client.post(reverse(f"{POLICIES}_add"), sent).status_code == 302
    policy = DriftPolicy.objects.get()
    stored = policy.feature_policies.order_by("pk")
    ids = [{"id": own.pk, "policy": policy.pk, "feature_name": own.feature_name} for own in stored]
    sent = _form(version, [{**row, **own, "threshold": 0.4} for row, own in zip(rows, ids, strict=True)])
    sent |= {"feature_policies-INITIAL_FORMS": 150}
    assert admin_client.post(reverse(f"{POLICIES}_change", args=[policy.pk]), sent).status_code == 302
    assert set(policy.feature_policies.values_list("threshold", flat=True)) == {0.4}


@pytest.mark.parametrize("value", ["abc", "\0", "NaN", "1.5", "9" * 5000, "0"])
@pytest.mark.parametrize("page", [f"{POLICIES}_add", "admin:inference_capturepolicy_add"])
def test_an_unknown_model_is_not_selected(admin_client: Client, version: ModelVersion, page: str, value: str) -> None:
    assert admin_client.get(reverse(page), {"model": value}).status_code == (400 if "\0" in value else 200)
    response = admin_client.post(reverse(page), _form(version, sampling_rate=1, model=value))
    assert response.status_code == 200
    assert "model" in response.context["adminform"].form.errors
    assert not DriftPolicy.objects.exists()
    assert not CapturePolicy.objects.exists()


@pytest.mark.parametrize("page", [f"{POLICIES}_add", "admin:inference_capturepolicy_add"])
def test_the_model_in_the_url_is_selected(admin_client: Client, version: ModelVersion, page: str) -> None:
    response = admin_client.get(reverse(page), {"model": version.model.pk})
    assert f'<option value="{version.model.pk}" selected>classifier</option>' in response.content.decode()


def test_the_log_has_the_old_and_new_values_of_a_policy(admin_client: Client, version: ModelVersion) -> None:
    policy = DriftPolicy.objects.create(model=version.model, window_rows=500, interval_rows=50, feature_threshold=0.2)
    form = _form(
        version,
        [{"feature_name": "sepal_width", "threshold": 0.3}],
        false_alarm_budget=500,
        window_rows=800,
        extra_window_rows="500, 2000",
    )
    assert admin_client.post(reverse(f"{POLICIES}_change", args=[policy.pk]), form).status_code == 302
    message = ChangeRecord.objects.get(row_type="drift.driftpolicy").text
    assert "Further windows: none → 500, 2000." in message
    assert "False alarm budget: 10000 → 500." in message
    assert "Window rows: 500 → 800." in message
    assert "sepal_width" in message


def test_further_windows_are_stored_as_a_list_and_shown_with_commas(
    admin_client: Client, version: ModelVersion
) -> None:
    form = _form(version, extra_window_rows="500, 2000")
    assert admin_client.post(reverse(f"{POLICIES}_add"), form).status_code == 302
    policy = DriftPolicy.objects.get()
    assert policy.extra_window_rows == [500, 2000]
    page = admin_client.get(reverse(f"{POLICIES}_change", args=[policy.pk])).content.decode()
    assert 'value="500, 2000"' in page
    # 50 rows between two checks, 10,000 checks for one false alarm.
    assert "which is one in 500,000 predictions." in page


def test_categories_have_no_ordered_measure(admin_client: Client, version: ModelVersion) -> None:
    version.features.filter(name="sepal_width").update(kind="categorical")
    row = {"feature_name": "sepal_width", "is_monitored": "on", "method": "wasserstein"}
    response = admin_client.post(reverse(f"{POLICIES}_add"), _form(version, [row]))
    assert response.status_code == 200
    assert "its categories have no order" in response.content.decode()
    row["feature_name"] = "petal_width"
    assert admin_client.post(reverse(f"{POLICIES}_add"), _form(version, [row])).status_code == 302


def test_an_unknown_feature_is_refused_with_the_choices(admin_client: Client, version: ModelVersion) -> None:
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
    for query, count in (("features", 1), ("predictions", 1), ("none", 0), ("no_verdict", 1), ("alarm", 0)):
        page = admin_client.get(address, {"result": query})
        assert page.status_code == 200
        assert page.context["cl"].result_count == count
    assert admin_client.get(address, {"q": "classifier", "result": "failed"}).context["cl"].result_count == 0
    strongest = max(check.features.all(), key=lambda feature: feature.score or 0)
    assert admin_client.get(address).context["cl"].result_list[0].strongest == strongest.feature_name


def test_a_check_shows_every_figure(admin_client: Client, check: DriftCheck) -> None:
    response = admin_client.get(reverse(f"{CHECKS}_change", args=[check.pk]))
    assert response.status_code == 200
    content = unescape(response.content.decode())
    shown = [feature.score for feature in response.context["view"].features]
    assert shown == [f"{score:.3f}" for score in check.features.order_by("-score").values_list("score", flat=True)]
    assert "No verdict: The window has 100 rows; a verdict needs 500." in content
    assert PHI.removeprefix("phi: ") in content
    for name in (
        "sepal_length",
        "KS statistic D",
        "Jensen-Shannon divergence",
        "setosa",
        "above threshold",
    ):
        assert name in content
    for method in {name for row in check.features.all() for name in row.result.measures}:
        assert MEASURES[method].text in content
    assert content.count('class="histogram-drawing"') == 4
    assert 'name="_save"' not in content


def test_a_failed_check_shows_its_reason(admin_client: Client, check: DriftCheck) -> None:
    check.features.all().delete()
    DriftCheck.objects.filter(pk=check.pk).update(status="failed", error_message="ValueError: <b>no</b>")
    content = admin_client.get(reverse(f"{CHECKS}_change", args=[check.pk])).content.decode()
    assert "ValueError: &lt;b&gt;no&lt;/b&gt;" in content
    assert "strongest first" not in content


def test_checks_cannot_be_added_changed_or_deleted(admin_client: Client, check: DriftCheck) -> None:
    assert admin_client.get(reverse(f"{CHECKS}_add")).status_code == 403
    assert admin_client.post(reverse(f"{CHECKS}_change", args=[check.pk]), {"status": "failed"}).status_code == 403
    assert admin_client.post(reverse(f"{CHECKS}_delete", args=[check.pk]), {"post": "yes"}).status_code == 403
    check.refresh_from_db()
    assert check.status == "succeeded"


def test_an_unknown_check_redirects(admin_client: Client) -> None:
    assert admin_client.get(reverse(f"{CHECKS}_change", args=[12345])).status_code == 302


def test_permissions_apply(client: Client, check: DriftCheck) -> None:
    user = User.objects.create_user("reader", is_staff=True)
    client.force_login(user)
    address = reverse(f"{CHECKS}_change", args=[check.pk])
    assert client.get(address).status_code == 403
    assert client.get(reverse(f"{POLICIES}_add")).status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="view_driftcheck"))
    assert client.get(address).status_code == 200


@pytest.fixture
def incident(version: ModelVersion) -> DriftIncident:
    """An open incident: petals are two centimetres longer and one wider."""
    profiled_reference(version, iris_rows(2000))
    observe(version, iris_rows(1000, seed=1) + np.array([0, 0, 2, 1]))
    assert run_drift_check(version_id=version.pk) is not None
    return DriftIncident.objects.get()


def _address(incident: DriftIncident, act: str) -> str:
    return reverse(f"{INCIDENTS}_{act}", args=[incident.pk])


def _reader(*permissions: str) -> User:
    user = User.objects.create_user("reader", is_staff=True)
    user.user_permissions.add(*Permission.objects.filter(codename__in=permissions))
    return user


def test_an_incident_shows_what_drifted_and_since_when(admin_client: Client, incident: DriftIncident) -> None:
    listed = admin_client.get(reverse(f"{INCIDENTS}_changelist")).content.decode()
    assert "petal_" in listed
    response = admin_client.get(_address(incident, "change"))
    content = response.content.decode()

    assert f"since {incident.opened_at:%Y-%m-%d %H:%M}" in content
    assert "1 check has raised the alarm." in content
    assert sentence_of(incident.hypotheses[0]) in unescape(content)
    assert "It closes automatically after 3 quiet windows" in content
    subjects = [finding.subject for finding in response.context["findings"]]
    assert {"petal_length", "petal_width"} <= set(subjects)
    names = [name for found in incident.hypotheses for name in (found.name, found.other_name) if name]
    assert [view.name for view in response.context["features"]] == list(dict.fromkeys(names))
    assert content.count('class="histogram-drawing"') == len(response.context["features"])
    assert reverse(f"{CHECKS}_change", args=[incident.opened_by_id]) in content
    assert len(response.context["history"]) == 1


def test_a_check_shows_its_features_over_the_previous_checks(admin_client: Client, incident: DriftIncident) -> None:
    first = incident.opened_by
    alone = admin_client.get(reverse(f"{CHECKS}_change", args=[first.pk]))
    assert alone.context["heat"] is None
    observe(incident.version, iris_rows(1000, seed=2))
    second = run_drift_check(version_id=incident.version_id)
    assert second is not None
    response = admin_client.get(reverse(f"{CHECKS}_change", args=[second.pk]))
    found = response.context["heat"]
    assert [column.check_id for column in found.columns] == [first.pk, second.pk]
    assert [row.name for row in found.rows] == [feature.name for feature in response.context["view"].features]
    marks = {row.name: [cell.mark for cell in row.cells] for row in found.rows}
    assert marks["petal_length"] == ["listed", ""]
    assert "Features over the last 2 checks" in response.content.decode()
    earlier = admin_client.get(reverse(f"{CHECKS}_change", args=[first.pk]))
    assert earlier.context["heat"] is None  # the page of a check has no later checks


def test_an_incident_shows_example_rows_or_why_there_are_none(admin_client: Client, incident: DriftIncident) -> None:
    response = admin_client.get(_address(incident, "change"))
    found = response.context["examples"]
    assert {"petal_length", "petal_width"} <= set(found.names)
    assert len(found.rows) == 10
    place = found.names.index("petal_length")
    assert all(row.cells[place].reason.startswith("such values: ") for row in found.rows[:3])
    assert "Example rows" in response.content.decode()
    delete_window(redis_client(), incident.version_id)
    gone = admin_client.get(_address(incident, "change"))
    assert gone.context["examples"] is None
    assert "There are no example rows" in gone.content.decode()


def test_a_check_links_to_its_incident(admin_client: Client, incident: DriftIncident) -> None:
    check = incident.opened_by
    page = admin_client.get(reverse(f"{CHECKS}_change", args=[check.pk])).content.decode()
    assert _address(incident, "change") in page
    assert "At most one false alarm in 10,000 checks." in page
    filtered = admin_client.get(reverse(f"{CHECKS}_changelist"), {"result": "alarm"})
    assert filtered.context["cl"].result_count == 1


def test_pages_make_a_bounded_number_of_queries(
    admin_client: Client, incident: DriftIncident, django_assert_max_num_queries: Any
) -> None:
    check = incident.opened_by
    for index in range(30):
        check.pk, check.window_end = None, f"{index}-0"
        check.save(force_insert=True)
    for address, most in (
        (reverse(f"{CHECKS}_changelist"), 12),
        (reverse(f"{INCIDENTS}_changelist"), 12),
        (_address(incident, "change"), 30),
        (reverse(f"{CHECKS}_change", args=[check.pk]), 16),
    ):
        with django_assert_max_num_queries(most):
            assert admin_client.get(address).status_code == 200


@pytest.mark.parametrize("state", ["open", "new", "snoozed", "closed"])
def test_incidents_by_state(admin_client: Client, incident: DriftIncident, state: str) -> None:
    def found() -> int:
        page = admin_client.get(reverse(f"{INCIDENTS}_changelist"), {"state": state})
        return int(page.context["cl"].result_count)

    assert found() == (state in ("open", "new"))
    admin_client.post(_address(incident, "acknowledge"))
    admin_client.post(_address(incident, "snooze_day"))
    assert found() == (state in ("open", "snoozed"))
    admin_client.post(_address(incident, "close"))
    assert found() == (state == "closed")


@pytest.mark.parametrize(
    ("act", "message"),
    [("acknowledge", "Acknowledged."), ("snooze_hours", "Snoozed until"), ("close", "Closed by hand.")],
)
def test_actions_are_confirmed_first_and_logged(
    admin_client: Client, incident: DriftIncident, act: str, message: str
) -> None:
    before = DriftIncident.objects.values().get()
    asked = admin_client.get(_address(incident, act))
    assert asked.status_code == 200
    assert "This changes" in asked.content.decode()
    assert DriftIncident.objects.values().get() == before
    assert not ChangeRecord.objects.filter(message__startswith=message).exists()

    done = admin_client.post(_address(incident, act), follow=True)
    assert done.redirect_chain == [(_address(incident, "change"), 302)]
    assert DriftIncident.objects.values().get() != before
    entry = ChangeRecord.objects.get(message__startswith=message)
    assert (entry.actor, entry.user) == ("admin", User.objects.get(username="admin"))
    assert entry.message in done.content.decode()


def test_a_snooze_lasts_as_long_as_its_button_says(admin_client: Client, incident: DriftIncident) -> None:
    for act, hours in (("snooze_hours", 4), ("snooze_day", 24), ("snooze_week", 168)):
        admin_client.post(_address(incident, act))
        incident.refresh_from_db()
        assert incident.snoozed_until is not None
        assert (incident.snoozed_until - timezone.now()).total_seconds() == pytest.approx(3600 * hours, abs=60)


def test_a_closed_incident_has_no_actions_and_refuses_requests(admin_client: Client, incident: DriftIncident) -> None:
    admin_client.post(_address(incident, "close"))
    page = admin_client.get(_address(incident, "change")).content.decode()
    assert "closed by hand" in page
    assert _address(incident, "acknowledge") not in page
    refused = admin_client.post(_address(incident, "acknowledge"), follow=True).content.decode()
    assert "This incident was closed at" in refused
    incident.refresh_from_db()
    assert incident.acknowledged_at is None


@pytest.mark.parametrize("page", ["incident", "check"])
def test_the_window_becomes_the_new_reference(admin_client: Client, incident: DriftIncident, page: str) -> None:
    addresses = {
        "incident": _address(incident, "rebaseline"),
        "check": reverse(f"{CHECKS}_rebaseline", args=[incident.last_check_id]),
    }
    asked = admin_client.get(addresses[page]).content.decode()
    assert "The 1,000 rows of this check&#x27;s window" in asked
    assert "replaces reference.csv (2,000 rows)" in asked
    assert ReferenceDataset.objects.count() == 1

    done = admin_client.post(addresses[page])
    made = ReferenceDataset.objects.latest("id")
    assert made.original_filename == f"window-of-check-{incident.last_check_id}.parquet"
    assert done.headers["Location"] == reverse("admin:models_registry_referencedataset_change", args=[made.pk])
    assert ChangeRecord.objects.filter(row_id=str(made.pk), user__username="admin").exists()


def test_a_deleted_window_cannot_become_the_reference(
    admin_client: Client, incident: DriftIncident, redis_client: redis.Redis
) -> None:
    redis_client.flushdb()
    page = admin_client.post(_address(incident, "rebaseline"), follow=True)
    assert page.redirect_chain == [(_address(incident, "change"), 302)]
    assert "Only 0 of the 1,000 rows of this window are still stored." in page.content.decode()
    assert ReferenceDataset.objects.count() == 1


def test_a_viewer_reads_and_changes_nothing(client: Client, incident: DriftIncident) -> None:
    client.force_login(_reader("view_driftincident", "view_driftcheck"))
    page = client.get(_address(incident, "change"))
    assert page.status_code == 200
    for act in ("acknowledge", "snooze_hours", "snooze_day", "snooze_week", "close", "rebaseline"):
        assert _address(incident, act) not in page.content.decode()
        assert client.get(_address(incident, act)).status_code == 403
        assert client.post(_address(incident, act)).status_code == 403
    assert client.post(reverse(f"{CHECKS}_rebaseline", args=[incident.last_check_id])).status_code == 403
    incident.refresh_from_db()
    assert (incident.acknowledged_at, incident.snoozed_until, incident.closed_at) == (None, None, None)
    assert ReferenceDataset.objects.count() == 1


def test_an_operator_handles_incidents_but_uploads_nothing(client: Client, incident: DriftIncident) -> None:
    client.force_login(_reader("view_driftincident", "change_driftincident"))
    assert client.post(_address(incident, "acknowledge")).status_code == 302
    assert client.post(_address(incident, "rebaseline")).status_code == 403
    incident.refresh_from_db()
    assert incident.acknowledged_by is not None
    assert incident.acknowledged_by.username == "reader"


def test_hostile_names_are_escaped(admin_client: Client, incident: DriftIncident) -> None:
    incident.opened_by.features.all().delete()  # no result has the incident's features
    incident.hypotheses = tuple(replace(found, name="<script>alert(1)</script>") for found in incident.hypotheses)
    incident.save()
    content = admin_client.get(_address(incident, "change")).content.decode()
    assert "<script>alert(1)" not in content
    assert "&lt;script&gt;alert(1)" in content
