"""Logging in as a person does."""

from playwright.sync_api import Page, expect


def log_in(page: Page, url: str, username: str, password: str) -> None:
    """Log in at `url`; the overview is open then."""
    page.goto(f"{url}/admin/")
    page.get_by_label("Username").fill(username)
    page.locator("input[name=password]").fill(password)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(f"{url}/admin/")
    expect(page.locator("#overview")).to_be_visible()


def log_in_instead(page: Page, url: str, username: str, password: str) -> None:
    """Log in at `url` in the place of whoever is logged in."""
    page.goto("about:blank")  # nothing that is still loading asks without cookies
    page.context.clear_cookies()
    log_in(page, url, username, password)
