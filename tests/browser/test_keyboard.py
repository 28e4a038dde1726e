"""Handling an incident in a narrow window with the keyboard only: Tab, Enter, Space and Escape."""

import pytest
import redis
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from drift.models import DriftIncident
from drift.services.checks import run_drift_check
from tests.browser.conftest import PASSWORD
from tests.browser.inventory import HEIGHT, WIDTHS
from tests.browser.tabs import log_in
from tests.factories import uploaded_version
from tests.mlmon.observed import iris_rows, observe, profiled_reference
from tests.services.web_server import WebServer

GROWN = [0.0, 0.0, 2.0, 1.0]  # cm: longer petals
MOST_STOPS = 60
LONGEST_NAME = 60
FOCUSED = """() => {
  const element = document.activeElement;
  const copy = (element.labels?.[0] ?? element).cloneNode(true);
  copy.querySelectorAll("[aria-hidden=true]").forEach((hidden) => hidden.remove());
  return element.getAttribute("aria-label") || copy.textContent;
}"""
IS_VISIBLE = """() => {
  const { top, bottom, width, height } = document.activeElement.getBoundingClientRect();
  return width > 0 && height > 0 && bottom > 0 && top < innerHeight;
}"""


@pytest.fixture
def incident(transactional_db: None, redis_client: redis.Redis) -> DriftIncident:
    """An incident: petals are two centimetres longer than in the reference."""
    version = uploaded_version("flowers")
    profiled_reference(version, iris_rows(2_000))
    observe(version, iris_rows(1_000, seed=1) + GROWN)
    run_drift_check(version_id=version.pk)
    return DriftIncident.objects.get()


@pytest.fixture
def narrow(page: Page, incident: DriftIncident, web_server: WebServer) -> Page:
    """The overview in a narrow window, after a login with the keyboard."""
    User.objects.create_superuser("operator", password=PASSWORD)
    page.set_viewport_size({"width": WIDTHS["narrow"], "height": HEIGHT})
    page.goto(f"{web_server.url}/admin/")
    for label, text in (("Username", "operator"), ("Password", PASSWORD)):
        go_to(page, label)
        page.keyboard.type(text)
    page.keyboard.press("Enter")
    expect(page.locator("#overview")).to_be_visible()
    return page


def focused(page: Page) -> str:
    words: str = page.evaluate(FOCUSED)
    return " ".join(words.split())[:LONGEST_NAME]


def go_to(page: Page, name: str) -> None:
    """Press Tab until an element whose name begins with `name` has the focus, and check that it is visible."""
    visited = []
    for _ in range(MOST_STOPS):
        if focused(page).startswith(name):
            assert page.evaluate(IS_VISIBLE), f"{name} has the focus but is not visible"
            return
        page.keyboard.press("Tab")
        visited.append(focused(page))
    pytest.fail(f"Tab does not reach {name!r}. It reached {visited}.")


def press(page: Page, name: str, key: str = "Enter") -> None:
    go_to(page, name)
    page.keyboard.press(key)


def test_an_incident_is_handled_with_the_keyboard_only(narrow: Page, incident: DriftIncident) -> None:
    skip_the_menu(narrow)
    use_the_menu(narrow)
    use_nested_menus(narrow)
    search_for_a_model(narrow)
    filter_the_list(narrow)
    acknowledge(narrow, incident)
    close(narrow, incident)


def skip_the_menu(page: Page) -> None:
    page.keyboard.press("Tab")
    assert focused(page) == "Skip to the content"
    assert page.evaluate(IS_VISIBLE)
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert focused(page).startswith("Open the incident")


def use_the_menu(page: Page) -> None:
    menu = page.locator("#nav-sidebar")
    page.reload()
    expect(menu).to_be_hidden()
    press(page, "Menu", "Space")
    expect(menu).to_be_visible()
    expect(menu.locator(":focus")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(menu).to_be_hidden()
    assert focused(page) == "Menu"
    page.keyboard.press("Enter")
    expect(menu.locator(":focus")).to_have_count(1)
    press(page, "Incidents")
    expect(page.get_by_role("heading", name="Drift incidents")).to_be_visible()


def use_nested_menus(page: Page) -> None:
    menu, theme = page.locator("#nav-sidebar"), page.get_by_role("button", name="Dark")
    press(page, "Menu")
    expect(menu.locator(":focus")).to_have_count(1)
    press(page, "Close")
    expect(menu).to_be_hidden()
    expect(page.get_by_role("button", name="Menu")).to_be_focused()
    page.keyboard.press("Enter")
    expect(menu.locator(":focus")).to_have_count(1)
    press(page, "O operator")
    expect(page.get_by_role("button", name="Light")).to_be_focused()
    page.keyboard.press("Escape")
    expect(theme).to_be_hidden()
    assert focused(page).startswith("O operator")
    page.keyboard.press("Escape")
    expect(menu).to_be_hidden()
    expect(page.get_by_role("button", name="Menu")).to_be_focused()


def search_for_a_model(page: Page) -> None:
    found = page.locator("#search-results")
    for keys in (["Enter"], ["ArrowDown", "Enter"]):
        press(page, "Menu")
        go_to(page, "Filter navigation items")
        page.keyboard.type("flow")
        expect(found.get_by_role("link", name="flowers")).to_be_visible()
        for key in keys:
            page.keyboard.press(key)
        expect(page.get_by_role("heading", name="Model flowers")).to_be_visible()
    press(page, "Menu")
    press(page, "Incidents")
    expect(page.get_by_role("heading", name="Drift incidents")).to_be_visible()


def filter_the_list(page: Page) -> None:
    filters = page.locator("#changelist-filter")
    press(page, "Filters")
    expect(filters.locator(":focus")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(filters).to_be_hidden()
    assert focused(page).startswith("Filters")
    press(page, "Filters", "Space")
    expect(filters.locator(":focus")).to_have_count(1)
    press(page, "closed")
    expect(page.get_by_text("Nothing matches")).to_be_visible()
    press(page, "Show all")
    expect(page.get_by_role("row")).not_to_have_count(0)


def acknowledge(page: Page, incident: DriftIncident) -> None:
    press(page, f"{incident.opened_at:%Y-%m-%d %H:%M}")
    expect(page.locator("#incident-state")).to_contain_text("open")
    press(page, "More actions")
    press(page, "Acknowledge")
    expect(page.get_by_text("Others see that you handle it")).to_be_visible()
    press(page, "Acknowledge")
    expect(page.locator("#incident-state")).to_contain_text("acknowledged")


def close(page: Page, incident: DriftIncident) -> None:
    press(page, "More actions")
    first = page.get_by_role("link", name="Check now")
    press(page, "Resolve", "Space")
    expect(first).to_be_focused()
    page.keyboard.press("Escape")
    expect(first).to_be_hidden()
    assert focused(page).startswith("Resolve")
    page.keyboard.press("Enter")
    expect(first).to_be_focused()
    page.mouse.click(20, HEIGHT - 20)  # the only click: focus does not return to a menu that is already closed
    expect(first).to_be_hidden()
    page.locator("#incident").get_by_role("link").first.focus()
    page.keyboard.press("Escape")
    assert not focused(page).startswith("Resolve")
    press(page, "More actions")
    press(page, "Resolve")
    expect(first).to_be_focused()
    press(page, "Close the incident")
    expect(page.get_by_text("its alert ends")).to_be_visible()
    press(page, "Close the incident", "Space")
    expect(page.locator("#incident-state")).to_contain_text("closed")
    incident.refresh_from_db()
    assert incident.closed_at is not None


def test_a_menu_that_closes_on_escape_stays_closed(page: Page, web_server: WebServer, incident: DriftIncident) -> None:
    """The menu next to a field that refers to rows of another table."""
    User.objects.create_superuser("owner", password=PASSWORD)
    log_in(page, web_server.url, "owner", PASSWORD)
    page.goto(f"{web_server.url}/admin/models_registry/referencedataset/add/")
    add = page.get_by_role("link", name="Add another")
    opener = page.get_by_role("button", name="more vert")
    opener.focus()
    for _ in range(2):
        page.keyboard.press("Enter")
        expect(add).to_be_focused()
        page.keyboard.press("Escape")
        expect(add).to_be_hidden()
        expect(opener).to_be_focused()
