"""The links in alerts redirect to the page of the model, the version and the feature."""

from pathlib import Path

import numpy as np
import pytest
import redis
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from drift.models import DriftCheck, DriftIncident
from drift.services.checks import run_drift_check
from drift.services.incidents import close_incident
from models_registry.models import ModelVersion
from tests.factories import uploaded_version
from tests.mlmon.observed import iris_rows, observe, profiled_reference

pytestmark = pytest.mark.django_db

DRIFT = "/go/models/classifier/drift"


@pytest.fixture
def version(redis_client: redis.Redis, settings: Settings, tmp_path: Path) -> ModelVersion:
    settings.MEDIA_ROOT = tmp_path
    return uploaded_version("classifier")


@pytest.fixture
def incident(version: ModelVersion) -> DriftIncident:
    profiled_reference(version, iris_rows(5000, seed=1))
    observe(version, iris_rows(1000, seed=2) + np.array([0.5, 0, 0, 0]))
    run_drift_check(version_id=version.pk)
    return DriftIncident.objects.get()


def _target(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 302
    page = client.get(response["Location"])
    assert page.status_code == 200
    return str(response["Location"])


def test_drift_redirects_to_the_open_incident(admin_client: Client, incident: DriftIncident) -> None:
    page = reverse("admin:drift_driftincident_change", args=[incident.pk])
    assert _target(admin_client, DRIFT) == page
    assert _target(admin_client, f"{DRIFT}?feature=sepal_length") == f"{page}#feature-sepal_length"
    assert 'id="feature-sepal_length"' in admin_client.get(page).content.decode()


def test_a_feature_that_the_incident_does_not_list_redirects_to_the_check(
    admin_client: Client, incident: DriftIncident
) -> None:
    page = reverse("admin:drift_driftcheck_change", args=[incident.last_check_id])
    assert _target(admin_client, f"{DRIFT}?feature=petal_width") == f"{page}#feature-petal_width"
    assert 'id="feature-petal_width"' in admin_client.get(page).content.decode()


def test_drift_redirects_to_the_latest_check_without_an_open_incident(
    admin_client: Client, admin_user: User, incident: DriftIncident
) -> None:
    close_incident(incident=incident, user=admin_user)
    latest = DriftCheck.objects.latest()
    assert _target(admin_client, DRIFT) == reverse("admin:drift_driftcheck_change", args=[latest.pk])


@pytest.mark.parametrize("production", [True, False])
def test_drift_redirects_to_the_list_without_a_check(
    admin_client: Client, settings: Settings, tmp_path: Path, production: bool
) -> None:
    settings.MEDIA_ROOT = tmp_path
    version = uploaded_version("classifier", production=production)
    address = reverse("admin:drift_driftcheck_changelist") + f"?version__model__id__exact={version.model_id}"
    assert _target(admin_client, DRIFT) == address


def test_the_name_of_a_feature_is_quoted_twice(admin_client: Client, version: ModelVersion) -> None:
    """A browser decodes a fragment once and looks for an element with that id (HTML standard, 7.4.6.4)."""
    location = admin_client.get(DRIFT, {"feature": "income & rent #1"})["Location"]
    assert location.partition("#")[2] == "feature-income%2520%2526%2520rent%2520%25231"


def test_model_and_version_redirect_to_their_pages(admin_client: Client, version: ModelVersion) -> None:
    assert _target(admin_client, "/go/models/classifier") == "/models/classifier"
    row = reverse("admin:models_registry_modelversion_change", args=[version.pk])
    assert _target(admin_client, "/go/models/classifier/versions/1.0.0") == row


@pytest.mark.parametrize("address", ["", "/drift", "/versions/9.9.9", "/versions/%00"])
@pytest.mark.parametrize("unknown", ["nobody", "%00"])
def test_an_unknown_name_is_not_found(admin_client: Client, version: ModelVersion, address: str, unknown: str) -> None:
    model = "classifier" if "versions" in address else unknown
    assert admin_client.get(f"/go/models/{model}{address}").status_code == 404


@pytest.mark.parametrize("address", ["", "/drift?feature=sepal_length", "/versions/1.0.0"])
def test_without_a_login_there_is_only_the_login_page(client: Client, version: ModelVersion, address: str) -> None:
    """The response does not reveal whether the model exists."""
    for model in ("classifier", "nobody"):
        response = client.get(f"/go/models/{model}{address}")
        assert response["Location"].startswith("/admin/login/?next=/go/models/")


def test_people_without_a_role_are_refused(client: Client, version: ModelVersion) -> None:
    client.force_login(User.objects.create_user("somebody", is_staff=True))
    for address in (DRIFT, "/go/models/classifier", "/go/models/classifier/versions/1.0.0", "/go/models/unknown"):
        assert client.get(address).status_code == 403


def test_a_runbook_needs_no_login(client: Client) -> None:
    response = client.get("/runbooks/HighErrorRate.md")
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert response.content.decode().startswith("# HighErrorRate\n")


@pytest.mark.parametrize("page", ["Nothing.md", "HighErrorRate", "..%2Fmetrics.md", "%2e%2e%2fmetrics.md", "a%00.md"])
def test_other_files_are_not_shown(client: Client, page: str) -> None:
    assert client.get(f"/runbooks/{page}").status_code == 404
