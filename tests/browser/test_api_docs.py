"""The page of the API: its examples work when a user clicks the buttons."""

import re
from collections.abc import Iterator
from io import StringIO
from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from playwright.sync_api import Locator, Page, expect

from accounts.services.tokens import create_token
from tests.browser.conftest import PASSWORD
from tests.browser.tabs import log_in

if TYPE_CHECKING:
    from tests.services.web_server import WebServer

TIMEOUT_MS = 20_000  # the first prediction loads the model
NEEDS_AN_ID = (
    "api_v1_models_incidents_retrieve",
    "api_v1_models_jobs_retrieve",
    "api_v1_models_rollouts_retrieve",
)
NEEDS_A_TOKEN = ("api_v1_models_create", "api_v1_models_versions_stage_create")
NEEDS_A_CHALLENGER = (
    "api_v1_models_rollouts_create",
    *(
        f"api_v1_models_rollouts_{action}_create"
        for action in ("start", "pause", "resume", "rollback", "promote", "cancel")
    ),
)
NEEDS_A_FILE = (
    "api_v1_models_versions_create",
    "api_v1_models_versions_reference_create",
    "api_v1_models_inferred_schema_create",
)


@pytest.fixture
def demo_server(transactional_db: None, request: pytest.FixtureRequest) -> "WebServer":
    """A server that has loaded the demo at its start."""
    call_command("load_demo", stdout=StringIO())
    server: WebServer = request.getfixturevalue("web_server")
    return server


def _operations(page: Page, url: str) -> Iterator[Locator]:
    """Yield each operation of the page, closed."""
    page.goto(f"{url}/api/docs")
    expect(page.locator(".opblock").first).to_be_visible(timeout=TIMEOUT_MS)
    for name in page.locator(".opblock").evaluate_all("blocks => blocks.map(block => block.id)"):
        if not name.endswith(NEEDS_AN_ID + NEEDS_A_TOKEN + NEEDS_A_CHALLENGER + NEEDS_A_FILE):
            yield page.locator(f"[id='{name}']")


def _executed(operation: Locator) -> Locator:
    """Click Execute in an operation; return the element with the status of the response."""
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Execute").click()
    return operation.locator(".live-responses-table tr.response td.response-col_status").first


def test_execute_shows_a_prediction(page: Page, demo_server: "WebServer") -> None:
    page.goto(f"{demo_server.url}/api/docs")
    predict = page.locator("#operations-Predict-predict_create")
    expect(_executed(predict)).to_contain_text("200", timeout=TIMEOUT_MS)
    expect(predict.locator(".live-responses-table")).to_contain_text('"prediction": "setosa"')


@pytest.mark.timeout(300)
def test_every_operation_succeeds(page: Page, demo_server: "WebServer") -> None:
    executed = 0
    for operation in _operations(page, demo_server.url):
        expect(_executed(operation)).to_contain_text(re.compile("20[02]"), timeout=TIMEOUT_MS)
        operation.locator(".opblock-summary-control").click()  # the page redraws everything that is open
        executed += 1
    assert executed == 29


def test_a_user_who_is_logged_in_sends_ground_truth(page: Page, web_server: "WebServer") -> None:
    User.objects.create_superuser("scientist", password=PASSWORD)
    log_in(page, web_server.url, "scientist", PASSWORD)
    page.goto(f"{web_server.url}/api/docs")
    feedback = page.locator("#operations-Observe-api_v1_feedback_create")
    expect(_executed(feedback)).to_contain_text("200", timeout=TIMEOUT_MS)
    expect(feedback.locator(".live-responses-table")).to_contain_text('"status": "unknown"')


def _authorize(page: Page, server: "WebServer", token: str) -> None:
    """Open the page and enter a token."""
    page.goto(f"{server.url}/api/docs")
    page.get_by_role("button", name="Authorize").first.click()
    page.get_by_label("auth-bearer-value").fill(token)
    page.get_by_role("button", name="Apply credentials").first.click()
    page.get_by_role("button", name="Close").first.click()


def test_registry_writes_work_with_a_token(page: Page, transactional_db: None, request: pytest.FixtureRequest) -> None:
    _, token = create_token(name="a user of the page", scope="registry")
    server: WebServer = request.getfixturevalue("demo_server")
    _authorize(page, server, token)
    for name in NEEDS_A_TOKEN:
        operation = page.locator(f"#operations-Registry-{name}")
        expect(_executed(operation)).to_contain_text("200", timeout=TIMEOUT_MS)


def test_a_token_entered_under_authorize_is_sent(
    monkeypatch: pytest.MonkeyPatch, page: Page, transactional_db: None, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("MLMON_API_ACCESS", "token")
    _, token = create_token(name="a user of the page", scope="predict")
    server: WebServer = request.getfixturevalue("demo_server")
    _authorize(page, server, token)
    predict = page.locator("#operations-Predict-predict_create")
    expect(_executed(predict)).to_contain_text("200", timeout=TIMEOUT_MS)
