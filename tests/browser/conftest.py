"""A real browser and the real server."""

from collections.abc import Iterator

import pytest
from django.db import connections
from playwright.sync_api import Page, sync_playwright

from tests.browser.tabs import launched, record_errors

WIDTH, HEIGHT = 1280, 900
PASSWORD = "a long one for a test"


@pytest.fixture
def page_with_errors(monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    """A page of a new browser, for tests of what happens when requests fail."""
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")  # Playwright's event loop runs in the thread of the ORM
    with sync_playwright() as playwright, launched(playwright) as browser:
        yield browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}).new_page()
        connections.close_all()  # connections that belong to this event loop


@pytest.fixture
def page(page_with_errors: Page) -> Iterator[Page]:
    """A page of a new browser. A console error or a failed request fails the test."""
    errors = record_errors(page_with_errors)
    yield page_with_errors
    assert errors == []
