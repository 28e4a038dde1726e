"""Pages refresh automatically: what a user has opened or focused stays, and an unavailable server is reported."""

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, Route, expect

from models_registry.models import Model
from tests.browser.conftest import PASSWORD
from tests.browser.tabs import log_in
from tests.services.web_server import WebServer

REFRESH_MS = 15_000  # the overview refreshes every five seconds


@pytest.fixture
def overview(page_with_errors: Page, web_server: WebServer) -> Page:
    """The overview of a model without versions."""
    page = page_with_errors
    Model.objects.create(name="first")
    User.objects.create_superuser("scientist", password=PASSWORD)
    log_in(page, web_server.url, "scientist", PASSWORD)
    expect(page.locator("#line-first")).to_be_visible()
    return page


@pytest.mark.django_db(transaction=True)
def test_a_page_refreshes_automatically(overview: Page) -> None:
    """Server and browser are started once, because their start takes longest."""
    new_models_appear_and_opened_elements_stay_open(overview)
    the_page_reports_an_unavailable_server(overview)
    a_user_who_is_logged_out_is_asked_to_log_in(overview)


def new_models_appear_and_opened_elements_stay_open(overview: Page) -> None:
    steps = overview.locator(".steps-left > summary")
    steps.click()
    expect(steps).to_be_focused()
    Model.objects.create(name="second")
    expect(overview.locator("#line-second")).to_be_visible(timeout=REFRESH_MS)
    expect(overview.get_by_role("link", name="Upload a version (second)")).to_be_visible()
    expect(steps).to_be_focused()
    expect(steps).to_have_text("2 steps left until everything is monitored")


def the_page_reports_an_unavailable_server(overview: Page) -> None:
    def unavailable(route: Route) -> None:
        route.fulfill(status=503, body="unavailable")

    overview.route("**/admin/", unavailable)
    note = overview.get_by_role("status").filter(has_text="The server does not answer.")
    expect(note).to_be_visible(timeout=REFRESH_MS)
    overview.unroute("**/admin/")
    expect(note).to_have_count(0, timeout=2 * REFRESH_MS)


def a_user_who_is_logged_out_is_asked_to_log_in(overview: Page) -> None:
    overview.context.clear_cookies()
    expect(overview.get_by_label("Username")).to_be_visible(timeout=REFRESH_MS)
