"""The browser of tests and pictures."""

import contextlib
import shutil
from collections.abc import Iterator

from playwright.sync_api import Browser, Playwright

from tests.services.processes import ServiceError

NAMES = ("chromium", "chromium-browser", "google-chrome")


def browser_path() -> str:
    """Return the path of a Chromium; ServiceError where there is none."""
    for name in NAMES:
        if path := shutil.which(name):
            return path
    raise ServiceError("Pages need Chromium on PATH. On Debian: apt-get install chromium")


@contextlib.contextmanager
def launched(playwright: Playwright) -> Iterator[Browser]:
    """Start it without a sandbox: Chromium's own does not start as root, which CI is."""
    browser = playwright.chromium.launch(executable_path=browser_path(), args=["--no-sandbox", "--disable-gpu"])
    try:
        yield browser
    finally:
        browser.close()
