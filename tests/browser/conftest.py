"""A real browser on the real server."""

import contextlib
import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from django.db import connections
from playwright.sync_api import Page, Request, sync_playwright

from tests.browser.chromium import launched
from tests.browser.login import log_in

if TYPE_CHECKING:
    from tests.services.web_server import WebServer

WIDTH, HEIGHT = 1280, 900
PASSWORD = "a long one for a test"
LEFT_BEHIND = "net::ERR_ABORTED"  # what a page still loaded, such as a font, when the test went on to the next


@contextlib.contextmanager
def new_page() -> Iterator[Page]:
    """Open a page of a new browser."""
    with sync_playwright() as playwright, launched(playwright) as browser:
        yield browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}).new_page()


@pytest.fixture
def faulty_page(monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    """A page of a new browser, for tests of what happens when requests fail."""
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")  # Playwright's loop runs in this thread, beside the ORM
    with new_page() as opened:
        yield opened
        connections.close_all()  # the ones that this loop opened; they would outlive it


@pytest.fixture
def page(faulty_page: Page) -> Iterator[Page]:
    """A page of a new browser; a console error or a failed request fails the test."""
    faults: list[str] = []
    faulty_page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    faulty_page.on("pageerror", lambda error: faults.append(str(error)))
    faulty_page.on("requestfailed", lambda request: _note_failure(request, faults))
    faulty_page.on("request", lambda request: _note_outside_request(request.url, faults))
    yield faulty_page
    assert faults == []


@pytest.fixture
def story_page(page: Page, web_server: "WebServer", celery_worker_process: subprocess.Popen[bytes]) -> Page:
    """The admin's front page, logged in."""
    from django.contrib.auth.models import User

    User.objects.create_superuser("scientist", password=PASSWORD)
    log_in(page, web_server.url, "scientist", PASSWORD)
    return page


def _note_failure(request: Request, faults: list[str]) -> None:
    if request.failure != LEFT_BEHIND:
        faults.append(f"{request.url}: {request.failure}")


def _note_outside_request(url: str, faults: list[str]) -> None:
    if not url.startswith(("http://127.0.0.1:", "data:", "blob:")):
        faults.append(f"a request to an outside host: {url}")
