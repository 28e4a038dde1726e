"""Uploading reference data in the admin."""

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import DjangoCaptureOnCommitCallbacks, Settings

from accounts.models import ChangeRecord
from models_registry.models import ModelVersion, ReferenceDataset
from models_registry.services.references import profile_reference
from tests.factories import uploaded_version

pytestmark = pytest.mark.django_db

REFERENCE = Path(__file__).resolve().parent.parent.parent / "demo" / "classifier-reference.csv"
ADD = "/admin/models_registry/referencedataset/add/"


@pytest.fixture
def version(client: Client, admin_user: User) -> ModelVersion:
    client.force_login(admin_user)
    return uploaded_version("classifier")


def upload(client: Client, version: ModelVersion, content: bytes) -> Any:
    return client.post(ADD, {"version": version.pk, "file": SimpleUploadedFile("flowers.csv", content)})


def change_page(reference: ReferenceDataset) -> str:
    return reverse("admin:models_registry_referencedataset_change", args=[reference.pk])


def test_the_page_of_an_upload_shows_progress_and_report(client: Client, version: ModelVersion) -> None:
    response = upload(client, version, REFERENCE.read_bytes())
    reference = ReferenceDataset.objects.get()
    assert response.status_code == 302
    assert response["Location"] == change_page(reference)
    waiting = client.get(change_page(reference)).content.decode()
    assert 'id="reference-report" data-live="1"' in waiting  # the page refreshes automatically
    assert "Profiling the file" in waiting
    assert "waiting for a worker · 0 %" in waiting

    profile_reference(reference_id=reference.pk)

    report = client.get(change_page(reference)).content.decode()
    assert "150 rows, 4 features" in report
    assert "sepal_length" in report
    assert "5.843" in report  # the mean in R. A. Fisher's data set
    assert "setosa" in report
    assert 'id="reference-report">' in report  # and no longer refreshes


def test_the_page_of_a_bad_file_shows_reason_and_solution(client: Client, version: ModelVersion) -> None:
    upload(client, version, b"sepal_length,sepal_width,petal_length,petal_width\n1,2,3,4\n1,2,wide,4\n")
    reference = ReferenceDataset.objects.get()
    profile_reference(reference_id=reference.pk)
    page = client.get(change_page(reference)).content.decode()
    assert "Column &quot;petal_length&quot;, row 2: expected a number, got &quot;wide&quot;." in page
    assert f"{ADD}?version={version.pk}" in page
    address = reverse("admin:models_registry_referencedataset_activate", args=[reference.pk])
    assert address not in page
    refused = client.post(address, follow=True).content.decode()
    assert "is failed; only a ready reference can be activated." in refused
    reference.refresh_from_db()
    assert not reference.is_active


def test_the_form_refuses_a_large_file(client: Client, version: ModelVersion, settings: Settings) -> None:
    settings.MLMON_MAX_REFERENCE_BYTES = 10
    response = upload(client, version, REFERENCE.read_bytes())
    assert response.status_code == 200
    assert "limit is 0 MiB" in response.content.decode()
    assert not ReferenceDataset.objects.exists()


def test_an_older_reference_can_be_activated(client: Client, version: ModelVersion) -> None:
    for _ in range(2):
        upload(client, version, REFERENCE.read_bytes())
    newer, older = ReferenceDataset.objects.order_by("-pk")
    for reference in (older, newer):
        profile_reference(reference_id=reference.pk)
    address = reverse("admin:models_registry_referencedataset_activate", args=[older.pk])
    assert address in client.get(change_page(older)).content.decode()
    latest = reverse("admin:models_registry_referencedataset_activate", args=[newer.pk])
    assert latest not in client.get(change_page(newer)).content.decode()  # it is active
    assert "From the next one on" in client.get(address).content.decode()
    older.refresh_from_db()
    assert not older.is_active  # GET changes nothing
    client.post(address)
    older.refresh_from_db()
    newer.refresh_from_db()
    assert (older.is_active, newer.is_active) == (True, False)
    assert ChangeRecord.objects.filter(message="Activated.", row_id=str(older.pk)).exists()


def test_a_viewer_cannot_upload_or_activate(client: Client, version: ModelVersion) -> None:
    upload(client, version, REFERENCE.read_bytes())
    reference = ReferenceDataset.objects.get()
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_referencedataset"))
    client.force_login(viewer)
    assert client.get(change_page(reference)).status_code == 200
    assert client.get(ADD).status_code == 403
    assert (
        client.get(reverse("admin:models_registry_referencedataset_activate", args=[reference.pk])).status_code == 403
    )
    client.force_login(User.objects.create_user("nobody", is_staff=True))
    assert client.get(change_page(reference)).status_code == 403


def test_the_upload_is_enqueued_on_commit(
    client: Client, version: ModelVersion, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    with django_capture_on_commit_callbacks() as callbacks:
        upload(client, version, REFERENCE.read_bytes())
    assert len(callbacks) == 1
    assert ChangeRecord.objects.filter(message="Uploaded.").count() == 1
