"""Every page of the admin opens for who may see it, and for nobody else."""

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

NAMES = sorted(f"{model._meta.app_label}_{model._meta.model_name}" for model in admin.site._registry)
pytestmark = pytest.mark.django_db


@pytest.fixture
def _logged_in(client: Client, admin_user: User) -> None:
    client.force_login(admin_user)


@pytest.mark.usefixtures("_logged_in")
@pytest.mark.parametrize("name", NAMES)
def test_lists_and_forms_open(client: Client, name: str) -> None:
    assert client.get(reverse(f"admin:{name}_changelist")).status_code == 200
    assert client.get(reverse(f"admin:{name}_changelist"), {"q": "x"}).status_code == 200
    assert client.get(reverse(f"admin:{name}_add")).status_code in (200, 403)  # 403: made by programs alone


@pytest.mark.usefixtures("_logged_in")
def test_the_front_page_opens(client: Client) -> None:
    assert client.get("/", follow=True).status_code == 200


def test_a_login_leads_to_the_front_page(client: Client, admin_user: User) -> None:
    response = client.post("/admin/login/", {"username": admin_user.username, "password": "password"})
    assert response["Location"] == "/admin/"


@pytest.mark.parametrize("name", NAMES)
def test_without_a_login_there_is_only_the_login_page(client: Client, name: str) -> None:
    response = client.get(reverse(f"admin:{name}_changelist"))
    assert response.status_code == 302
    assert response["Location"].startswith("/admin/login/")


@pytest.mark.parametrize("name", NAMES)
def test_staff_without_permissions_is_refused(client: Client, name: str) -> None:
    client.force_login(User.objects.create_user("somebody", is_staff=True))
    assert client.get(reverse(f"admin:{name}_changelist")).status_code == 403
    assert client.get(reverse(f"admin:{name}_add")).status_code == 403
