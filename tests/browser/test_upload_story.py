"""A data scientist's first hour: register, upload, promote, upload reference data, all in the browser."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from models_registry.models import ModelVersion, ReferenceDataset, Stage
from tests.factories import IRIS_FEATURES, iris_onnx
from tests.services.web_server import WebServer

REFERENCE = Path(__file__).resolve().parent.parent.parent / "demo" / "classifier-reference.csv"
REPORT_MS = 30_000


@pytest.mark.timeout(180)
@pytest.mark.django_db(transaction=True)
def test_from_an_empty_registry_to_a_reference_in_force(
    story_page: Page, web_server: WebServer, tmp_path: Path
) -> None:
    page = story_page
    page.goto(f"{web_server.url}/admin/models_registry/model/add/")
    page.locator("input[name=name]").fill("flowers")
    page.get_by_role("button", name="Save", exact=True).click()

    page.goto(f"{web_server.url}/admin/models_registry/modelversion/add/")
    pickled = tmp_path / "model.pkl"
    pickled.write_bytes(b"\x80\x04\x95pickled")
    model = tmp_path / "flowers.onnx"
    model.write_bytes(iris_onnx())
    page.locator("select[name=model]").select_option(label="flowers")
    page.locator("input[name=version]").fill("1.0.0")
    page.locator("textarea[name=feature_names]").fill("\n".join(IRIS_FEATURES))
    page.locator("input[type=file]").set_input_files(pickled)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("body")).to_contain_text("pickle")
    page.locator("input[type=file]").set_input_files(model)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("body")).to_contain_text("is checked and in staging")

    version = ModelVersion.objects.get()
    page.goto(f"{web_server.url}/admin/models_registry/modelversion/{version.pk}/promote")
    expect(page.locator("body")).to_contain_text("flowers 1.0.0 goes from staging to production.")
    page.get_by_role("button", name="Promote to production").click()
    expect(page.locator("body")).to_contain_text("flowers 1.0.0 is now in stage production.")
    version.refresh_from_db()
    assert version.stage == Stage.PRODUCTION

    upload_reference(page, web_server, version, REFERENCE)
    address = page.url
    expect(page.locator("#reference-report")).to_contain_text("150 rows, 4 features", timeout=REPORT_MS)
    expect(page.locator("#reference-report")).to_contain_text("in force")
    assert page.url == address  # the report came to the page that waited

    bad = tmp_path / "bad.csv"
    bad.write_text("sepal_length,sepal_width,petal_length,petal_width\n1,2,3,wide\n")
    upload_reference(page, web_server, version, bad)
    expect(page.get_by_role("alert")).to_contain_text(
        re.compile("Column 'petal_width', row 1: 'wide' is not a number"), timeout=REPORT_MS
    )
    assert ReferenceDataset.objects.get(is_active=True).original_filename == REFERENCE.name


def upload_reference(page: Page, server: WebServer, version: ModelVersion, file: Path) -> None:
    page.goto(f"{server.url}/admin/models_registry/referencedataset/add/?version={version.pk}")
    page.locator("input[type=file]").set_input_files(file)
    page.get_by_role("button", name="Save", exact=True).click()
    page.wait_for_url(re.compile(r"/referencedataset/\d+/change/"))
