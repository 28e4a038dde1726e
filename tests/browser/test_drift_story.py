"""Drift as people meet it: it appears, someone looks after it, and what is here to stay becomes the reference."""

import json
import re
import time
import urllib.request

import pytest
import redis
from playwright.sync_api import Page, expect

from drift.models import ClosingReason, DriftCheck, DriftIncident
from drift.tasks import check_version
from inference import redis_client as connection
from inference.stream import rows_seen
from models_registry.models import ModelVersion, ReferenceDataset
from tests.drift.observed import Rows, iris_rows, profiled_reference
from tests.factories import uploaded_version
from tests.services.web_server import WebServer

PROFILING_MS = 30_000
GROWN = [0.0, 0.0, 2.0, 1.0]  # centimetres: the petals


@pytest.fixture
def version(transactional_db: None, redis_client: redis.Redis) -> ModelVersion:
    """In production, with 2,000 flowers as its reference."""
    version = uploaded_version("classifier")
    profiled_reference(version, iris_rows(2000))
    return version


def predict(server: WebServer, rows: Rows) -> None:
    request = urllib.request.Request(
        f"{server.url}/api/v1/models/classifier/predict",
        data=json.dumps({"rows": rows.tolist()}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        assert response.status == 200


def captured(version: ModelVersion) -> int:
    return rows_seen(connection.redis_client(), [version.pk])[version.pk]


def checked(server: WebServer, version: ModelVersion, rows: Rows) -> DriftCheck:
    """Return what the worker's check finds once these rows have been answered."""
    seen, checks = captured(version) + len(rows), DriftCheck.objects.count()
    predict(server, rows)
    deadline = time.monotonic() + 30
    while captured(version) < seen:
        assert time.monotonic() < deadline, "The rows were not captured."
        time.sleep(0.05)
    check_version.delay(version.pk)  # as beat's tick does
    while DriftCheck.objects.count() == checks:
        assert time.monotonic() < deadline, "The worker made no check."
        time.sleep(0.05)
    return DriftCheck.objects.latest()


@pytest.mark.timeout(180)
@pytest.mark.django_db(transaction=True)
def test_from_drift_on_the_page_to_a_new_reference(
    version: ModelVersion, story_page: Page, web_server: WebServer
) -> None:
    page, admin = story_page, f"{web_server.url}/admin/drift"
    page.goto(f"{admin}/driftcheck/")
    expect(page.locator("body")).not_to_contain_text("petal_")

    check = checked(web_server, version, iris_rows(1000, seed=1) + GROWN)
    page.reload()
    row = page.locator("#result_list tbody tr").first
    expect(row).to_contain_text("drift")
    expect(row).to_contain_text("petal_")
    row.get_by_role("link").first.click()
    expect(page).to_have_url(f"{admin}/driftcheck/{check.pk}/change/")
    verdict = page.get_by_label("Verdict")
    expect(verdict).to_contain_text(re.compile(r"petal_\w+ changed: .+ \(p [=<] .+\)"))
    expect(verdict).to_contain_text("At most one false alarm in 10,000 checks.")
    width = page.locator("details.feature").filter(has_text="petal_width")
    expect(width.get_by_role("img", name="petal_width: histogram")).to_be_visible()
    expect(width.get_by_text("scipy.stats")).to_be_hidden()
    width.get_by_text("All measures, and what they mean").click()
    expect(width.get_by_text("The largest distance of the two distribution functions")).to_be_visible()

    page.get_by_role("link", name=re.compile("^Incident since")).click()
    incident = DriftIncident.objects.get()
    expect(page).to_have_url(f"{admin}/driftincident/{incident.pk}/change/")
    expect(page.locator("#incident-state")).to_contain_text("open")
    page.get_by_role("link", name="Acknowledge").click()
    expect(page.locator("body")).to_contain_text("Your name stands beside it")
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.locator("#incident-state")).to_contain_text("acknowledged")
    expect(page.locator("body")).to_contain_text("scientist looks after it since")

    page.get_by_text("Resolve").filter(visible=True).click()
    page.get_by_role("link", name="Make this window the new reference").filter(visible=True).click()
    expect(page.locator("body")).to_contain_text("The 1,000 rows of this check's window")
    page.get_by_role("button", name="Make it the new reference").click()
    expect(page.locator("#reference-report")).to_contain_text("1,000 rows, 4 features", timeout=PROFILING_MS)
    expect(page.locator("#reference-report")).to_contain_text("in force")
    assert ReferenceDataset.objects.get(is_active=True).original_filename == f"window-of-check-{check.pk}.parquet"

    after = checked(web_server, version, iris_rows(1000, seed=2) + GROWN)
    assert after.verdict_status == "quiet"
    page.goto(f"{admin}/driftincident/{incident.pk}/change/")
    expect(page.locator("#incident-state")).to_contain_text("closed")
    expect(page.locator("body")).to_contain_text("another reference came into force")
    incident.refresh_from_db()
    assert incident.closing_reason == ClosingReason.NEW_REFERENCE
