"""Every page in a real browser: accessible (axe-core, keyboard), not too wide for a narrow window, without errors."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.inventory import HEIGHT, PAGES, WIDTHS, PageKind, Visitor, run_with_history
from tests.browser.tabs import launched, log_in, record_errors
from tests.services.debian_programs import npm_project
from tests.services.embedded_run import EmbeddedRun

pytestmark = pytest.mark.timeout(400)

AXE = Path(__file__).parent / "axe"
# Theme and width: whether only custom pages are tested. All pages appear in both themes and in both widths.
VARIANTS = {("light", "wide"): False, ("dark", "narrow"): False, ("light", "narrow"): True, ("dark", "wide"): True}
RUN_AXE = "axe.run(document, {resultTypes: ['violations']}).then(results => results.violations)"
# Elements that react to a click but cannot be reached with Tab, neither themselves nor through a link or button.
UNREACHABLE = """() => [...document.querySelectorAll("*")]
  .filter((element) => [...element.attributes].some(({ name }) => name === "x-on:click" || name === "onclick"))
  .filter((element) => element.getClientRects().length && element.tabIndex < 0)
  .filter((element) => !element.closest("a[href], button, label, summary"))
  .map((element) => element.outerHTML.slice(0, 160))"""
BAD_PAGE = """<html lang="en"><title>x</title><main>
<h1>x</h1><input><p style="color:#ccc">pale</p><b onclick="x()">go</b></main></html>"""
SEVERE = ("serious", "critical")
# Accepted violations, by rule and page, with the reason.
ACCEPTED = {
    ("nested-interactive", "api"): "Swagger UI puts the copy button of an operation's path into its header.",
}
NOT_FOUND = "Failed to load resource: the server responded with a status of 404 (Not Found)"
EXPECTED_ERRORS = {"not-found": [NOT_FOUND]}


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


def severe_violations(tab: Page, axe: str) -> list[dict[str, Any]]:
    tab.evaluate(axe)
    found: list[dict[str, Any]] = tab.evaluate(RUN_AXE)
    return [violation for violation in found if violation["impact"] in SEVERE]


@pytest.mark.parametrize(("theme", "width"), VARIANTS)
def test_every_page_is_accessible_and_without_errors(
    browser: Browser, running: EmbeddedRun, axe: str, theme: str, width: str
) -> None:
    context = browser.new_context(viewport={"width": WIDTHS[width], "height": HEIGHT})
    visitor = Visitor(context, running, theme)
    errors = record_errors(visitor.tab, running.url)
    kinds = [kind for kind in PAGES if kind.is_custom or not VARIANTS[theme, width]]
    problems = []
    for is_public in (True, False):
        if not is_public:
            log_in(visitor.tab, running.url, "admin", running.password)
        for kind in kinds:
            if kind.is_public == is_public:
                tab = visitor.open(kind)
                found = errors if errors != EXPECTED_ERRORS.get(kind.name, []) else []
                problems += [f"{kind.name}: {problem}" for problem in [*found, *problems_of(tab, kind, axe)]]
                errors.clear()
    context.close()
    assert not problems, "\n" + "\n".join(problems)


def problems_of(tab: Page, kind: PageKind, axe: str) -> list[str]:
    """Return the problems of the open page."""
    problems = []
    violations = severe_violations(tab, axe)
    for violation in violations:
        if (violation["id"], kind.name) not in ACCEPTED:
            nodes = "; ".join(node["html"][:160] for node in violation["nodes"][:3])
            problems.append(f"{violation['id']} ({violation['impact']}): {violation['help']}: {nodes}")
    gone = {rule for rule, name in ACCEPTED if name == kind.name} - {violation["id"] for violation in violations}
    problems += [f"{rule} is an accepted violation, but no longer occurs" for rule in gone]
    problems += [f"Tab does not reach {element}" for element in tab.evaluate(UNREACHABLE)]
    scroll_width, window_width = tab.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    if scroll_width > window_width:
        problems.append(f"the page is {scroll_width} px wide in a window of {window_width} px")
    return problems


def test_problems_are_found(browser: Browser, axe: str) -> None:
    """Test the test: a field without a label, grey text on grey, and text that reacts to clicks."""
    tab = browser.new_page()
    tab.set_content(BAD_PAGE)
    assert tab.evaluate(UNREACHABLE) == ['<b onclick="x()">go</b>']
    assert {one["id"] for one in severe_violations(tab, axe)} >= {"label", "color-contrast"}
    tab.close()
