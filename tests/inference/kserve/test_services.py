"""Which model is behind a service of KServe: the admin, the audit trail and the constraints of the table."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse

from accounts.selectors import changes_of, current_generation
from inference.models import KServeService
from inference.selectors import KServeServices, kserve_services
from inference.services.kserve_services import remove_kserve_service, save_kserve_service
from models_registry.models import ModelVersion
from tests.factories import version_served_elsewhere

pytestmark = pytest.mark.django_db


@pytest.fixture
def iris() -> ModelVersion:
    return version_served_elsewhere("iris")


def service_of(version: ModelVersion, **fields: Any) -> KServeService:
    return KServeService(**{"namespace": "team-a", "service": "flowers", "model": version.model, **fields})


def test_the_admin_adds_changes_and_deletes(admin_client: Client, iris: ModelVersion) -> None:
    sent = {"namespace": "team-a", "service": "flowers", "model": iris.model_id, "version": ""}
    generation = current_generation()
    admin_client.post(reverse("admin:inference_kserveservice_add"), sent)
    row = KServeService.objects.get()
    assert (str(row), row.model, row.version) == ("team-a/flowers", iris.model, None)
    admin_client.post(reverse("admin:inference_kserveservice_change", args=[row.pk]), {**sent, "version": iris.pk})
    row.refresh_from_db()
    assert row.version == iris
    assert kserve_services().targets == {("team-a", "flowers"): ("iris", "1.0.0")}
    page = admin_client.get(reverse("admin:inference_kserveservice_changelist"))
    assert "flowers" in page.content.decode()
    admin_client.post(reverse("admin:inference_kserveservice_delete", args=[row.pk]), {"post": "yes"})
    assert not KServeService.objects.exists()
    assert current_generation() == generation + 3  # so that every process takes the change over


def test_changes_are_recorded(iris: ModelVersion) -> None:
    anna = User.objects.create_user("anna")
    row = service_of(iris)
    save_kserve_service(service=row, user=anna)
    row.version = iris
    save_kserve_service(service=row, user=anna)
    second, first = changes_of(row)
    assert (first.actor, first.model_name, first.message) == ("anna", "iris", "Added.")
    assert first.changes == [["Namespace", None, "team-a"], ["Service", None, "flowers"], ["Model", None, "iris"]]
    assert second.changes == [["Version", None, "iris 1.0.0"]]
    remove_kserve_service(service=row, user=anna)


@pytest.mark.parametrize("fields", [{"namespace": "Team"}, {"namespace": ""}, {"service": "a_b"}, {"service": "-a"}])
def test_names_are_those_of_kubernetes(iris: ModelVersion, fields: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        save_kserve_service(service=service_of(iris, **fields))


def test_a_version_of_another_model_is_refused(admin_client: Client, iris: ModelVersion) -> None:
    other = version_served_elsewhere("wine")
    sent = {"namespace": "team-a", "service": "flowers", "model": iris.model_id, "version": other.pk}
    page = admin_client.post(reverse("admin:inference_kserveservice_add"), sent)
    assert "is a version of another model" in page.content.decode()


def test_a_service_has_one_model_and_a_name(iris: ModelVersion) -> None:
    service_of(iris).save()
    for fields in ({}, {"service": ""}, {"namespace": ""}):
        with pytest.raises(IntegrityError), transaction.atomic():
            service_of(iris, **fields).save()


def test_which_model_a_service_has() -> None:
    services = KServeServices({("a", "iris"): ("flowers", "1.0.0")}, frozenset({"flowers"}))
    known = {"flowers", "iris", "wine"}
    assert services.target("a", "iris", known) == ("flowers", "1.0.0")
    assert services.target("b", "iris", known) == ("iris", "")
    assert services.target("a", "wine", known) == ("wine", "")
    assert services.target("a", "flowers", known) is None
    assert services.target("a", "nobody", known) is None
