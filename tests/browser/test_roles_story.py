"""Users with roles: an admin creates an account, a viewer cannot change anything, and the audit trail lists changes."""

import pytest
import redis
from django.contrib.auth.models import Group, User
from django.urls import reverse
from playwright.sync_api import Page, expect

from models_registry.models import ModelVersion, Stage
from tests.browser.conftest import PASSWORD
from tests.browser.tabs import log_in_instead
from tests.factories import iris_onnx, uploaded_version
from tests.services.web_server import WebServer


@pytest.fixture
def version(transactional_db: None, redis_client: redis.Redis) -> ModelVersion:
    """A version in staging; another one is in production."""
    uploaded_version("classifier")
    return uploaded_version("classifier", "1.1.0", onnx=iris_onnx(1), production=False)


def create_user(name: str, role: str) -> User:
    user = User.objects.create_user(name, password=PASSWORD, is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    return user


def test_a_viewer_cannot_promote_and_the_audit_trail_shows_the_owner_who_did(
    page: Page, web_server: WebServer, version: ModelVersion
) -> None:
    create_user("vera", "viewer")
    create_user("otto", "model owner")
    version_url = f"{web_server.url}{reverse('admin:models_registry_modelversion_change', args=[version.pk])}"

    log_in_instead(page, web_server.url, "vera", PASSWORD)
    page.goto(version_url)
    expect(page.get_by_role("heading", name="classifier 1.1.0").first).to_be_visible()
    expect(page.get_by_text("Change stage")).to_have_count(0)
    expect(page.get_by_role("button", name="Save")).to_have_count(0)

    log_in_instead(page, web_server.url, "otto", PASSWORD)
    page.goto(version_url)
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
    page.goto(version_url.replace("/change/", "/history/"))
    expect(page.get_by_role("heading", name="Changes, the latest first")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="otto")).to_contain_text("Stage: staging → production")


def test_an_admin_creates_a_group_and_an_account_in_it(
    page: Page, web_server: WebServer, version: ModelVersion
) -> None:
    create_user("ada", "admin")
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
    expect(page.get_by_role("button", name="Save")).to_have_count(0)  # the group may promote a version, but not edit it
