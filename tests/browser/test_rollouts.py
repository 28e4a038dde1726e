"""Rollouts in a browser: an owner plans, starts, watches, sees a rollback and promotes; a viewer only watches."""

from collections.abc import Callable

import pytest
import redis
import requests
from django.contrib.auth.models import Group, User
from django.urls import reverse
from playwright.sync_api import Page, expect

from models_registry.models import ModelVersion, Stage
from rollouts.models import Rollout, State
from rollouts.services.controller import control_rollout
from tests.browser.conftest import PASSWORD
from tests.browser.tabs import log_in_instead
from tests.factories import uploaded_version
from tests.rollouts.rollout_cases import ROW
from tests.rollouts.worse_challengers import LARGEST_LENGTH, failing_iris
from tests.services.processes import await_condition
from tests.services.web_server import WebServer

pytestmark = pytest.mark.timeout(300)

BUTTONS = ("Start", "Pause", "Resume", "Promote", "Roll back", "Cancel")
REFRESH_MS = 15_000  # the page refreshes every five seconds


@pytest.fixture
def versions(transactional_db: None, redis_client: redis.Redis) -> tuple[ModelVersion, ModelVersion]:
    for name, role in (("vera", "viewer"), ("otto", "model owner")):
        user = User.objects.create_user(name, password=PASSWORD, is_staff=True)
        user.groups.add(Group.objects.get(name=role))
    return uploaded_version("iris"), uploaded_version("iris", "1.1.0", onnx=failing_iris(), production=False)


def press(page: Page, button: str) -> None:
    """Press a button of the rollout's page and confirm."""
    page.get_by_role("link", name=button, exact=True).click()
    page.get_by_role("button", name=button, exact=True).click()
    expect(page.get_by_text(f"{button}: done.")).to_be_visible()


def plan(page: Page, web_server: WebServer) -> Rollout:
    page.goto(f"{web_server.url}{reverse('admin:rollouts_rollout_add')}")
    page.locator("select[name=challenger]").select_option(label="iris 1.1.0", force=True)
    page.get_by_label("Shares, in percent").fill("50, 50")
    page.get_by_label("Minimum requests").fill("10000")
    page.get_by_label("Minimum time, in seconds").fill("0")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#rollout_form")).to_contain_text("Step 2: Each step must have a larger share")
    page.get_by_label("Shares, in percent").fill("50, 60")  # the advice
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Nothing changes until you start it.")).to_be_visible()
    return Rollout.objects.latest("pk")


def send_until(
    has_happened: Callable[[], bool], web_server: WebServer, rollout: Rollout, features: list[float]
) -> None:
    """Send requests and run the controller until something has happened."""
    url = f"{web_server.url}/api/v1/models/iris/predict"

    def check() -> bool:
        for _ in range(20):
            requests.post(url, json={"features": features}, timeout=10)
        control_rollout(rollout_id=rollout.pk)
        rollout.refresh_from_db()
        return has_happened()

    await_condition(check, f"the rollout is {rollout.state}", seconds=30, pause=0.3)


def test_an_owner_runs_rollouts_and_a_viewer_watches(
    page: Page, web_server: WebServer, versions: tuple[ModelVersion, ModelVersion]
) -> None:
    champion, challenger = versions
    log_in_instead(page, web_server.url, "otto", PASSWORD)
    rollout = plan(page, web_server)
    url = f"{web_server.url}{reverse('admin:rollouts_rollout_change', args=[rollout.pk])}"
    assert page.url == url
    press(page, "Start")
    expect(page.get_by_role("heading", name="iris 1.1.0 against iris 1.0.0: running")).to_be_visible()
    send_until(lambda: rollout.is_live and rollout.intervals.exists(), web_server, rollout, ROW["features"])
    # The page refreshes automatically.
    expect(page.get_by_text("The challenger gets 50.0% of the requests.")).to_be_visible(timeout=REFRESH_MS)
    expect(page.get_by_text("Errors: log10 of the evidence that it is worse")).to_be_visible(timeout=REFRESH_MS)

    log_in_instead(page, web_server.url, "vera", PASSWORD)
    page.goto(url)
    expect(page.get_by_role("heading", name="iris 1.1.0 against iris 1.0.0: running")).to_be_visible()
    for button in BUTTONS:
        expect(page.get_by_role("link", name=button, exact=True)).to_have_count(0)
    for path in ("roll_back", "promote", "pause"):
        response = page.request.get(url.replace("/change/", f"/{path}"))
        assert response.status == 403, path
    assert page.request.get(f"{web_server.url}{reverse('admin:rollouts_rollout_add')}").status == 403

    # The challenger fails for large flowers: the page that the viewer has open says that it was rolled back.
    page.goto(url)
    send_until(lambda: rollout.state == State.ROLLED_BACK, web_server, rollout, [2.0 * LARGEST_LENGTH, 3.5, 1.4, 0.2])
    title = page.get_by_role("heading", name="iris 1.1.0 against iris 1.0.0: rolled back")
    expect(title).to_be_visible(timeout=REFRESH_MS)
    expect(page.get_by_text("Nobody has acknowledged the rollback yet.")).to_be_visible()
    challenger.refresh_from_db()
    assert (challenger.stage, challenger.traffic_weight) == (Stage.STAGING, 0)

    log_in_instead(page, web_server.url, "otto", PASSWORD)
    page.goto(url)
    press(page, "Acknowledge")
    rollout = plan(page, web_server)
    press(page, "Start")
    press(page, "Roll back")
    rollout = plan(page, web_server)
    press(page, "Start")
    press(page, "Promote")
    expect(page.get_by_role("heading", name="iris 1.1.0 against iris 1.0.0: succeeded")).to_be_visible()
    for version in versions:
        version.refresh_from_db()
    assert (champion.stage, challenger.stage) == (Stage.STAGING, Stage.PRODUCTION)
