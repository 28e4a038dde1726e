"""The whole story of a new user on a fresh ``manage.py run``, in the browser and through the REST API.

The test does not reload pages that refresh automatically. A console error or a failed request fails it.
"""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PASSWORD
from tests.browser.tabs import log_in, log_in_instead
from tests.factories import IRIS_FEATURES, iris_onnx
from tests.mlmon.observed import Rows, iris_rows
from tests.services.embedded_run import EmbeddedRun, embedded_run

SOON_MS = 45_000  # longest time of a job and a refresh on a busy machine
GROWN = [0.0, 0.0, 2.0, 1.0]  # cm: longer petals
QUICK_JOBS = {"MLMON_DRIFT_TICK_SECONDS": "2", "MLMON_ARCHIVE_TICK_SECONDS": "2"}
LONG_REFERENCE, REFERENCE_ROWS = 300_000, 2_000  # profiling the long one takes long enough to see its progress

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRun]:
    with embedded_run(tmp_path_factory.mktemp("story") / "var", variables=QUICK_JOBS) as run:
        yield run


class Story:
    """A user with a browser."""

    def __init__(self, page: Page, run: EmbeddedRun, folder: Path) -> None:
        self.page = page
        self.run = run
        self.folder = folder

    def save(self) -> None:
        self.page.get_by_role("button", name="Save", exact=True).click()

    def follow_missing_step(self, action: str) -> None:
        """Follow the link of a missing step on the overview."""
        self.page.goto(f"{self.run.url}/admin/")
        self.page.locator(".steps-left > summary").click()
        self.page.get_by_role("link", name=f"{action} (flowers)").click()

    def upload(self, content: bytes, name: str) -> None:
        path = self.folder / name
        path.write_bytes(content)
        self.page.locator("input[type=file]").first.set_input_files(path)
        self.save()

    def predict(self, rows: Rows) -> list[Any]:
        status, answer = self.run.request("POST", "/api/v1/models/flowers/predict", {"rows": rows.tolist()})
        assert status == 200, answer
        predictions: list[Any] = json.loads(answer)["predictions"]
        return predictions


def csv_of(rows: Rows) -> bytes:
    text = io.StringIO()
    np.savetxt(text, rows, fmt="%.3f", delimiter=",", header=",".join(IRIS_FEATURES), comments="")
    return text.getvalue().encode()


@pytest.fixture
def story(page: Page, running: EmbeddedRun, tmp_path: Path) -> Story:
    return Story(page, running, tmp_path)


def test_from_an_empty_model_to_a_new_reference_and_a_viewer_without_permissions(story: Story) -> None:
    log_in(story.page, story.run.url, "admin", story.run.password)
    register_and_upload(story)
    profile_the_reference(story)
    send_traffic(story)
    cause_drift(story)
    acknowledge_the_incident(story)
    make_the_window_the_new_reference(story)
    a_viewer_cannot_change_anything(story)


def register_and_upload(story: Story) -> None:
    page = story.page
    page.get_by_role("link", name="Register a model").click()
    page.locator("input[name=name]").fill("flowers")
    story.save()

    story.follow_missing_step("Upload a version")
    page.locator("input[name=version]").fill("1.0.0")
    page.locator("textarea[name=feature_names]").fill("\n".join(IRIS_FEATURES))
    story.upload(b"\x80\x04\x95pickled", "model.pkl")
    expect(page.locator("body")).to_contain_text("pickle")
    story.upload(iris_onnx(), "flowers.onnx")
    expect(page.locator("body")).to_contain_text("flowers 1.0.0 is in staging.")

    story.follow_missing_step("Open the version")
    page.get_by_text("Change stage").filter(visible=True).click()
    page.get_by_role("link", name="Promote to production").click()
    expect(page.locator("body")).to_contain_text("flowers 1.0.0 goes from staging to production.")
    page.get_by_role("button", name="Promote to production").click()
    expect(page.locator("body")).to_contain_text("flowers 1.0.0 is now in stage production.")


def profile_the_reference(story: Story) -> None:
    page = story.page
    story.follow_missing_step("Upload reference data")
    story.upload(b"sepal_length,sepal_width,petal_length,petal_width\n1,2,3,wide\n", "bad.csv")
    expect(page.get_by_role("alert")).to_contain_text(
        'Column "petal_width", row 1: expected a number, got "wide"', timeout=SOON_MS
    )
    story.follow_missing_step("Upload reference data")
    story.upload(csv_of(iris_rows(LONG_REFERENCE)), "flowers.csv")
    expect(page.get_by_role("progressbar")).to_be_visible()
    address = page.url
    report = page.locator("#reference-report")
    expect(report).to_contain_text(f"{LONG_REFERENCE:,} rows, 4 features", timeout=SOON_MS)
    expect(report).to_contain_text("active")
    assert page.url == address  # the page refreshed automatically


def send_traffic(story: Story) -> None:
    page = story.page
    page.goto(f"{story.run.url}/admin/")
    line = page.locator("#line-flowers")
    expect(line.locator("data.per_minute")).to_have_text("0")
    story.predict(iris_rows(1000, seed=1))
    expect(line.locator("data.per_minute")).not_to_have_text("0", timeout=SOON_MS)
    expect(line.locator("data.p95")).to_have_text(re.compile("ms|µs| s"))
    expect(line).to_contain_text("no drift", timeout=SOON_MS)
    expect(page.locator("#overview")).not_to_contain_text("drift incident")


def cause_drift(story: Story) -> None:
    page = story.page
    page.locator("#line-flowers").get_by_role("link", name="flowers", exact=True).click()
    expect(page).to_have_url(f"{story.run.url}/models/flowers")
    expect(page.locator("#plot-requests canvas")).to_be_visible()
    page.locator("#figure-requests").get_by_text("As a table").click()
    expect(page.locator("#figure-requests .table-box tr")).to_have_count(
        61
    )  # an hour in minutes, because the model is new
    story.predict(iris_rows(1000, seed=2) + GROWN)
    expect(page.locator("#model")).to_contain_text("It is not acknowledged yet.", timeout=SOON_MS)
    expect(page.locator("#model")).to_contain_text(re.compile(r"Drift incident for .+: petal_\w+"))
    # Opened tables and drawn charts stay when the page refreshes.
    expect(page.locator("#figure-requests .table-box tr")).to_have_count(61)
    expect(page.locator("#plot-requests canvas")).to_have_count(1)
    expect(page.locator("#plot-drift canvas")).to_be_visible()


def acknowledge_the_incident(story: Story) -> None:
    page = story.page
    page.get_by_role("link", name="Open the incident").click()
    expect(page).to_have_url(re.compile(r"/admin/drift/driftincident/\d+/change/"))
    expect(page.locator("#incident-state")).to_contain_text("open")
    expect(page.locator(".findings").first).to_contain_text("petal_")
    read_the_check(story)
    page.get_by_role("link", name="Acknowledge").click()
    expect(page.locator("body")).to_contain_text("Others see that you handle it")
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.locator("#incident-state")).to_contain_text("acknowledged")
    expect(page.locator("body")).to_contain_text("Acknowledged by admin at")


def read_the_check(story: Story) -> None:
    """Open the check of the incident: the verdict in words and each measure with its definition. Then go back."""
    page = story.page
    incident = page.url
    page.get_by_role("link", name=re.compile("^check of")).click()
    verdict = page.get_by_label("Verdict")
    expect(verdict).to_contain_text(re.compile(r"petal_\w+ changed: .+ \(p [=<] .+\)"))
    expect(verdict).to_contain_text("At most one false alarm in 10,000 checks.")
    width = page.locator("details.feature").filter(has_text="petal_width")
    expect(width.get_by_role("img", name="petal_width: histogram")).to_be_visible()
    expect(width.get_by_text("scipy.stats")).to_be_hidden()
    width.get_by_text("All measures and their definitions").click()
    expect(width.get_by_text("The largest distance of the two distribution functions")).to_be_visible()
    page.get_by_role("link", name=re.compile("^Incident since")).click()
    expect(page).to_have_url(incident)


def make_the_window_the_new_reference(story: Story) -> None:
    page = story.page
    incident = page.url
    page.get_by_text("Resolve").filter(visible=True).click()
    page.get_by_role("link", name="Make this window the new reference").filter(visible=True).click()
    page.get_by_role("button", name="Make it the new reference").click()
    expect(page.locator("#reference-report")).to_contain_text("1,000 rows, 4 features", timeout=SOON_MS)
    expect(page.locator("#reference-report")).to_contain_text("active")
    page.goto(incident)
    story.predict(iris_rows(1000, seed=3) + GROWN)
    expect(page.locator("#incident-state")).to_contain_text("closed", timeout=SOON_MS)
    expect(page.locator("body")).to_contain_text("another reference became active")
    page.goto(f"{story.run.url}/admin/")
    expect(page.locator("#line-flowers")).to_contain_text("no drift", timeout=SOON_MS)


def a_viewer_cannot_change_anything(story: Story) -> None:
    page, url = story.page, story.run.url
    page.goto(f"{url}/admin/auth/user/add/")
    page.get_by_label("Username").fill("vera")
    for name in ("password1", "password2"):
        page.locator(f"input[name={name}]").fill(PASSWORD)
    page.get_by_role("button", name="Save and continue editing").click()
    page.get_by_label("Staff status").check()
    page.get_by_label("viewer").check()
    story.save()
    expect(page.get_by_text("was changed successfully")).to_be_visible()

    log_in_instead(page, url, "vera", PASSWORD)
    page.locator("#line-flowers").get_by_role("link", name="flowers", exact=True).click()
    expect(page.locator("#plot-requests canvas")).to_be_visible()
    page.get_by_role("link", name="1.0.0", exact=True).first.click()
    expect(page.get_by_text("Change stage")).to_have_count(0)
    expect(page.get_by_role("button", name="Save")).to_have_count(0)
    promote = page.url.replace("/change/", "/promote")
    assert page.request.get(promote).status == 403
    for address in ("models_registry/model/add/", "models_registry/referencedataset/add/", "auth/user/add/"):
        assert page.request.get(f"{url}/admin/{address}").status == 403
