"""The browser of the tests and screenshots."""

import contextlib
from collections.abc import Iterator

from playwright.sync_api import Browser, Playwright

from tests.services.debian_programs import program


@contextlib.contextmanager
def launched(playwright: Playwright) -> Iterator[Browser]:
    """Start Chromium without its sandbox, which does not work as root (in CI, for example)."""
    browser = playwright.chromium.launch(executable_path=program("chromium"), args=["--no-sandbox", "--disable-gpu"])
    try:
        yield browser
    finally:
        browser.close()
