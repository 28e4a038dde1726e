"""Every page in a real browser: sound for axe-core, for the keyboard and for a narrow window, without errors."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Request, sync_playwright

from tests.browser.chromium import launched
from tests.browser.conftest import LEFT_BEHIND
from tests.browser.inventory import HEIGHT, PAGES, WIDTHS, PageKind, go_to, run_with_history, use_theme
from tests.browser.login import log_in
from tests.services.debian_programs import npm_project
from tests.services.embedded_run import EmbeddedRun

pytestmark = pytest.mark.timeout(400)

AXE = Path(__file__).parent / "axe"
# Every page in both themes and both widths, each once; the pages that are not made of the admin's forms in all four.
VARIANTS = {("light", "wide"): False, ("dark", "narrow"): False, ("light", "narrow"): True, ("dark", "wide"): True}
RUN = "axe.run(document, {resultTypes: ['violations']}).then(results => results.violations)"
# What a click does something to, and Tab does not reach; what lies in a link or a button is reached with it.
UNREACHED = """() => [...document.querySelectorAll("*")]
  .filter((element) => [...element.attributes].some(({ name }) => name === "x-on:click" || name === "onclick"))
  .filter((element) => element.getClientRects().length && element.tabIndex < 0)
  .filter((element) => !element.closest("a[href], button, label, summary"))
  .map((element) => element.outerHTML.slice(0, 160))"""
FAULTY = """<html lang="en"><title>x</title><main>
<h1>x</h1><input><p style="color:#ccc">pale</p><b onclick="x()">go</b></main></html>"""
GRAVE = ("serious", "critical")
# Rule and page, with the reason why it stays.
KNOWN = {
    ("nested-interactive", "api"): "Swagger UI puts the copy button of an operation's path into its header.",
}
NOT_FOUND = "Failed to load resource: the server responded with a status of 404 (Not Found)"
EXPECTED_FAULTS = {"not-found": [NOT_FOUND]}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRun]:
    with run_with_history(tmp_path_factory.mktemp("pages")) as run:
        yield run


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core."""
    folder = npm_project(AXE, tmp_path_factory.mktemp("axe"))
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright, launched(playwright) as opened:
        yield opened


class Watched:
    """A tab that notes what goes wrong in it."""

    def __init__(self, tab: Page, run: EmbeddedRun) -> None:
        self.tab = tab
        self.faults: list[str] = []
        tab.on("console", lambda message: self.faults.append(message.text) if message.type == "error" else None)
        tab.on("pageerror", lambda error: self.faults.append(str(error)))
        tab.on("requestfailed", self._note_failure)
        tab.on("request", lambda request: self._note_outside(request.url, run.url))

    def _note_failure(self, request: Request) -> None:
        if request.failure != LEFT_BEHIND:
            self.faults.append(f"{request.url}: {request.failure}")

    def _note_outside(self, url: str, own: str) -> None:
        if not url.startswith((own, "data:", "blob:")):
            self.faults.append(f"a request to an outside host: {url}")


def grave_violations(tab: Page, axe: str) -> list[dict[str, Any]]:
    tab.evaluate(axe)
    found: list[dict[str, Any]] = tab.evaluate(RUN)
    return [violation for violation in found if violation["impact"] in GRAVE]


def described(kind: PageKind, violation: dict[str, Any]) -> str:
    nodes = "; ".join(node["html"][:160] for node in violation["nodes"][:3])
    return f"{kind.name}: {violation['id']} ({violation['impact']}): {violation['help']}: {nodes}"


@pytest.mark.parametrize(("theme", "width"), VARIANTS)
def test_every_page_is_sound(browser: Browser, running: EmbeddedRun, axe: str, theme: str, width: str) -> None:
    context = browser.new_context(viewport={"width": WIDTHS[width], "height": HEIGHT})
    use_theme(context, theme)
    watched = Watched(context.new_page(), running)
    kinds = [kind for kind in PAGES if kind.is_ours or not VARIANTS[theme, width]]
    wrong = []
    for is_public in (True, False):
        if not is_public:
            log_in(watched.tab, running.url, "admin", running.password)
        for kind in kinds:
            if kind.is_public == is_public:
                go_to(watched.tab, running, kind)
                wrong += look(watched, kind, axe)
    context.close()
    assert not wrong, "\n" + "\n".join(wrong)


def look(watched: Watched, kind: PageKind, axe: str) -> list[str]:
    """Return what is wrong with the page that is open."""
    tab = watched.tab
    faults, watched.faults = watched.faults, []
    wrong = [] if faults == EXPECTED_FAULTS.get(kind.name, []) else [f"{kind.name}: {fault}" for fault in faults]
    violations = grave_violations(tab, axe)
    wrong += [described(kind, one) for one in violations if (one["id"], kind.name) not in KNOWN]
    gone = {rule for rule, name in KNOWN if name == kind.name} - {one["id"] for one in violations}
    wrong += [f"{kind.name}: {rule} is excused, and is not there any more" for rule in gone]
    wrong += [f"{kind.name}: Tab does not reach {element}" for element in tab.evaluate(UNREACHED)]
    scroll_width, window_width = tab.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    if scroll_width > window_width:
        wrong.append(f"{kind.name}: the page is {scroll_width} px wide in a window of {window_width} px")
    return wrong


def test_a_fault_is_found(browser: Browser, axe: str) -> None:
    """The test itself: a field without a label, grey on grey, and text to be clicked."""
    tab = browser.new_page()
    tab.set_content(FAULTY)
    assert tab.evaluate(UNREACHED) == ['<b onclick="x()">go</b>']
    assert {one["id"] for one in grave_violations(tab, axe)} >= {"label", "color-contrast"}
    tab.close()
