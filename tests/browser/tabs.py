"""Chromium for tests and screenshots: starting it, recording errors and logging in."""

import contextlib
from collections.abc import Iterator

from playwright.sync_api import Browser, Page, Playwright, Request, expect

from tests.services.debian_programs import program

ABORTED = "net::ERR_ABORTED"  # a request of the previous page, such as for a font, when the test opened the next one


@contextlib.contextmanager
def launched(playwright: Playwright) -> Iterator[Browser]:
    """Run Chromium without its sandbox, which does not start as root, for example in CI."""
    browser = playwright.chromium.launch(executable_path=program("chromium"), args=["--no-sandbox", "--disable-gpu"])
    try:
        yield browser
    finally:
        browser.close()


def record_errors(tab: Page, url: str = "http://127.0.0.1:") -> list[str]:
    """Return a list that receives console errors, failed requests and requests to addresses outside `url`."""
    errors: list[str] = []

    def record_failure(request: Request) -> None:
        if request.failure != ABORTED:
            errors.append(f"{request.url}: {request.failure}")

    def record_outside_request(request: Request) -> None:
        if not request.url.startswith((url, "data:", "blob:")):
            errors.append(f"a request to an outside host: {request.url}")

    tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("requestfailed", record_failure)
    tab.on("request", record_outside_request)
    return errors


def log_in(page: Page, url: str, username: str, password: str) -> None:
    """Log in at `url` and wait for the overview."""
    page.goto(f"{url}/admin/")
    page.get_by_label("Username").fill(username)
    page.locator("input[name=password]").fill(password)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(f"{url}/admin/")
    expect(page.locator("#overview")).to_be_visible()


def log_in_instead(page: Page, url: str, username: str, password: str) -> None:
    """Log in at `url` as another user than before."""
    page.goto("about:blank")  # stops requests of the current page, which would be sent without cookies
    page.context.clear_cookies()
    log_in(page, url, username, password)
