"""Every admin page opens for people who may view it, and for nobody else."""

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils.html import escape

from models_registry.models import Model
from tests.admin_site import model_admins, page_names

OWN_APPS = ("accounts", "models_registry", "inference", "performance", "drift", "rollouts", "monitoring")
NAMES = page_names()
EMPTY_TEXTS = {
    f"{model._meta.app_label}_{model._meta.model_name}": str(getattr(page, "empty_text", ""))
    for model, page in model_admins().items()
    if model._meta.app_label in OWN_APPS
}
TRAIL = "accounts_changerecord"  # never empty here: creating the account added a row
pytestmark = pytest.mark.django_db


@pytest.fixture
def _logged_in(client: Client, admin_user: User) -> None:
    client.force_login(admin_user)


@pytest.mark.usefixtures("_logged_in")
@pytest.mark.parametrize("name", NAMES)
def test_lists_and_forms_open(client: Client, name: str) -> None:
    assert client.get(reverse(f"admin:{name}_changelist")).status_code == 200
    assert client.get(reverse(f"admin:{name}_changelist"), {"q": "x"}).status_code == 200
    assert client.get(reverse(f"admin:{name}_add")).status_code in (200, 403)  # 403: only programs create these rows


@pytest.mark.usefixtures("_logged_in")
@pytest.mark.parametrize("name", sorted(EMPTY_TEXTS.keys() - {TRAIL}))
def test_an_empty_list_shows_advice_and_a_filtered_one_a_link_to_all_rows(client: Client, name: str) -> None:
    page = client.get(reverse(f"admin:{name}_changelist")).content.decode()
    assert EMPTY_TEXTS[name]
    assert escape(EMPTY_TEXTS[name]) in page
    may_add = client.get(reverse(f"admin:{name}_add")).status_code == 200
    assert (f'class="add" href="{reverse(f"admin:{name}_add")}"' in page) == may_add
    page = client.get(reverse(f"admin:{name}_changelist"), {"q": "zzz"}).content.decode()
    assert "Nothing matches" in page
    assert '<a href="?">Show all</a>' in page


@pytest.mark.usefixtures("_logged_in")
def test_the_breadcrumbs_use_the_names_of_the_rows(client: Client) -> None:
    model = Model.objects.create(name="flight-delay")
    page = client.get(reverse("admin:models_registry_model_change", args=[model.pk])).content.decode()
    (crumbs,) = re.findall(r'<span class="crumbs">.*?</span></span>', page)
    assert re.findall(r">([^<>]+)<", crumbs) == ["Models", "chevron_right", "flight-delay"]
    assert f">{model.created_at:%Y-%m-%d %H:%M:%S}<" in re.sub(
        r"\s*([<>])\s*", r"\1", client.get(reverse("admin:models_registry_model_changelist")).content.decode()
    )


@pytest.mark.usefixtures("_logged_in")
def test_the_front_page_opens(client: Client) -> None:
    assert client.get("/", follow=True).status_code == 200


def test_a_login_leads_to_the_front_page(client: Client, admin_user: User) -> None:
    response = client.post("/admin/login/", {"username": admin_user.username, "password": "password"})
    assert response["Location"] == "/admin/"


@pytest.mark.parametrize("name", NAMES)
def test_an_anonymous_visitor_sees_only_the_login_page(client: Client, name: str) -> None:
    response = client.get(reverse(f"admin:{name}_changelist"))
    assert response.status_code == 302
    assert response["Location"].startswith("/admin/login/")


@pytest.mark.parametrize("name", NAMES)
def test_staff_without_permissions_gets_403(client: Client, name: str) -> None:
    client.force_login(User.objects.create_user("somebody", is_staff=True))
    assert client.get(reverse(f"admin:{name}_changelist")).status_code == 403
    assert client.get(reverse(f"admin:{name}_add")).status_code == 403


@pytest.mark.usefixtures("_logged_in")
def test_a_page_number_beyond_the_last_shows_the_last_page(client: Client) -> None:
    page = client.get("/admin/performance/groundtruth/", {"p": 50}).content.decode()
    assert "No more rows" in page
    assert "No ground truth yet" not in page
