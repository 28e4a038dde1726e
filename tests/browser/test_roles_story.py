"""People with roles: an admin makes an account, a viewer looks and is refused, and the trail says who did what."""

import pytest
import redis
from django.contrib.auth.models import Group, User
from django.urls import reverse
from playwright.sync_api import Page, expect

from models_registry.models import ModelVersion, Stage
from tests.browser.conftest import PASSWORD
from tests.browser.login import log_in_instead
from tests.factories import iris_onnx, uploaded_version
from tests.services.web_server import WebServer


@pytest.fixture
def version(transactional_db: None, redis_client: redis.Redis) -> ModelVersion:
    """In staging, beside one in production."""
    uploaded_version("classifier")
    return uploaded_version("classifier", "1.1.0", onnx=iris_onnx(1), production=False)


def person(name: str, role: str) -> User:
    user = User.objects.create_user(name, password=PASSWORD, is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    return user


def test_a_viewer_looks_an_owner_promotes_and_the_trail_says_so(
    page: Page, web_server: WebServer, version: ModelVersion
) -> None:
    person("vera", "viewer")
    person("otto", "model owner")
    of_version = f"{web_server.url}{reverse('admin:models_registry_modelversion_change', args=[version.pk])}"

    log_in_instead(page, web_server.url, "vera", PASSWORD)
    page.goto(of_version)
    expect(page.get_by_role("heading", name="classifier 1.1.0").first).to_be_visible()
    expect(page.get_by_text("Change stage")).to_have_count(0)
    expect(page.get_by_role("button", name="Save")).to_have_count(0)

    log_in_instead(page, web_server.url, "otto", PASSWORD)
    page.goto(of_version)
    page.get_by_text("Change stage").click()
    page.get_by_role("link", name="Promote to production").click()
    page.get_by_role("button", name="Promote to production").click()
    expect(page.get_by_text("classifier 1.1.0 is now in stage production.")).to_be_visible()
    version.refresh_from_db()
    assert version.stage == Stage.PRODUCTION

    log_in_instead(page, web_server.url, "vera", PASSWORD)
    page.goto(f"{web_server.url}/admin/accounts/changerecord/?actor=otto")
    row = page.get_by_role("row").filter(has_text="classifier 1.1.0")
    expect(row).to_contain_text("Stage changed from staging, weight 0 to production, weight 100.")
    row.get_by_role("link").first.click()
    expect(page.get_by_text("Traffic weight: 0 → 100")).to_be_visible()
    page.goto(of_version.replace("/change/", "/history/"))
    expect(page.get_by_role("heading", name="Who changed it, newest first")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="otto")).to_contain_text("Stage: staging → production")


def test_an_admin_makes_a_group_and_gives_it_to_a_new_account(
    page: Page, web_server: WebServer, version: ModelVersion
) -> None:
    person("ada", "admin")
    log_in_instead(page, web_server.url, "ada", PASSWORD)
    page.goto(f"{web_server.url}{reverse('admin:auth_group_add')}")
    page.get_by_label("Name").fill("night shift")
    page.locator(".select2-search__field").fill("move a version")
    page.locator(".select2-results__option").filter(has_text="Can move a version between stages").click()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("row").filter(has_text="night shift")).to_be_visible()
    assert [row.codename for row in Group.objects.get(name="night shift").permissions.all()] == ["promote_modelversion"]

    page.goto(f"{web_server.url}{reverse('admin:auth_user_add')}")
    page.get_by_label("Username").fill("carl")
    for name in ("password1", "password2"):
        page.locator(f"input[name={name}]").fill(PASSWORD)
    page.get_by_role("button", name="Save and continue editing").click()
    page.get_by_label("night shift").check()
    page.get_by_label("viewer").check()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("row").filter(has_text="carl")).to_contain_text("night shift, viewer")

    log_in_instead(page, web_server.url, "carl", PASSWORD)
    page.goto(f"{web_server.url}{reverse('admin:models_registry_modelversion_change', args=[version.pk])}")
    expect(page.get_by_text("Change stage")).to_be_visible()
    expect(page.get_by_role("button", name="Save")).to_have_count(0)  # it may promote, and not describe
