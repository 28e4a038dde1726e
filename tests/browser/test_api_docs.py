"""The page of the API: its examples run from the page, as a person presses the buttons."""

from collections.abc import Iterator
from io import StringIO
from typing import TYPE_CHECKING

import pytest
from django.core.management import call_command
from playwright.sync_api import Locator, Page, expect

from accounts.services.tokens import create_token

if TYPE_CHECKING:
    from tests.services.web_server import WebServer

SECONDS = 20_000  # ms; the first prediction loads the model
NOT_ON_A_NEW_SERVER = "api_v1_models_incidents_retrieve"  # it has had no incident


@pytest.fixture
def demo_server(transactional_db: None, request: pytest.FixtureRequest) -> "WebServer":
    """A server that has the demo's models from its start."""
    call_command("load_demo", stdout=StringIO())
    server: WebServer = request.getfixturevalue("web_server")
    return server


def _operations(page: Page, url: str) -> Iterator[Locator]:
    """Yield each operation of the page, folded up."""
    page.goto(f"{url}/api/docs")
    expect(page.locator(".opblock").first).to_be_visible(timeout=SECONDS)
    for name in page.locator(".opblock").evaluate_all("blocks => blocks.map(block => block.id)"):
        if not name.endswith(NOT_ON_A_NEW_SERVER):
            yield page.locator(f"[id='{name}']")


def _executed(operation: Locator) -> Locator:
    """Press Execute in an operation; return the place of the status that was answered."""
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Execute").click()
    return operation.locator(".live-responses-table tr.response td.response-col_status").first


def test_execute_answers_200_on_post_predict(page: Page, demo_server: "WebServer") -> None:
    page.goto(f"{demo_server.url}/api/docs")
    predict = page.locator("#operations-Predict-predict_create")
    expect(_executed(predict)).to_contain_text("200", timeout=SECONDS)
    expect(predict.locator(".live-responses-table")).to_contain_text('"prediction": "setosa"')


def test_every_operation_executes(page: Page, demo_server: "WebServer") -> None:
    executed = 0
    for operation in _operations(page, demo_server.url):
        expect(_executed(operation)).to_contain_text("200", timeout=SECONDS)
        executed += 1
    assert executed == 14


def test_a_person_who_is_logged_in_sends_ground_truth(story_page: Page, web_server: "WebServer") -> None:
    story_page.goto(f"{web_server.url}/api/docs")
    feedback = story_page.locator("#operations-Observe-api_v1_feedback_create")
    expect(_executed(feedback)).to_contain_text("200", timeout=SECONDS)
    expect(feedback.locator(".live-responses-table")).to_contain_text('"status": "unknown"')


def test_a_token_given_under_authorize_is_sent(
    monkeypatch: pytest.MonkeyPatch, page: Page, transactional_db: None, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("MLMON_API_ACCESS", "token")
    _, token = create_token(name="a person at the page", scope="predict")
    server: WebServer = request.getfixturevalue("demo_server")
    page.goto(f"{server.url}/api/docs")
    page.get_by_role("button", name="Authorize").first.click()
    page.get_by_label("auth-bearer-value").fill(token)
    page.get_by_role("button", name="Apply credentials").first.click()
    page.get_by_role("button", name="Close").first.click()
    predict = page.locator("#operations-Predict-predict_create")
    expect(_executed(predict)).to_contain_text("200", timeout=SECONDS)
