"""What exporters write by default is uploaded in the browser and served with the framework's own predictions."""

import json
import time
from collections.abc import Iterator
from http import HTTPStatus

import pytest
from playwright.sync_api import Page, expect

from tests.browser.tabs import log_in
from tests.models_registry.zoo import ZooModel, read_model
from tests.services.embedded_run import EmbeddedRun, embedded_run

# The defaults of torch.onnx.export (one row, and external data), of its older exporter, of CatBoost and LightGBM
# (dictionaries of probabilities), and of skl2onnx for neighbours (dictionaries and a Scan).
DEFAULTS = (
    "torch-hidden-64-dynamo",
    "torch-hidden-64-legacy",
    "catboost-3-strings",
    "lightgbm-3-strings",
    "sklearn-knn-3",
)

SOON_SECONDS = 20

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRun]:
    with embedded_run(tmp_path_factory.mktemp("uploads") / "var") as run:
        yield run


def test_default_exports_are_uploaded_and_served(page: Page, running: EmbeddedRun) -> None:
    log_in(page, running.url, "admin", running.password)
    for name in DEFAULTS:
        model = read_model(name)
        page.goto(f"{running.url}/admin/models_registry/model/add/")
        page.locator("input[name=name]").fill(name)
        page.get_by_role("button", name="Save", exact=True).click()
        page.goto(f"{running.url}/admin/models_registry/modelversion/add/")
        fill_in(page, model)
        if model.producer_name == "pytorch":
            expect(page.locator("#modelversion_form")).to_contain_text("The file does not say what output")
            page.locator("select[name=task]").select_option("classification", force=True)
            page.locator("select[name=scores]").select_option("logits", force=True)
            page.locator("textarea[name=classes]").fill("\n".join(str(label) for label in model.classes or ()))
            fill_in(page, model)
        expect(page.locator("body")).to_contain_text(f"{name} 1.0.0 is in staging.")
        path, rows = f"/api/v1/models/{name}/versions/1.0.0/predict", {"rows": model.rows}
        deadline = time.monotonic() + SOON_SECONDS
        while (answered := running.request("POST", path, rows))[0] == HTTPStatus.NOT_FOUND:
            assert time.monotonic() < deadline, answered
            time.sleep(0.2)  # servers load a new version within about a second
        status, answer = answered
        assert status == HTTPStatus.OK, answer
        predicted = [row["prediction"] for row in json.loads(answer)["predictions"]]
        assert predicted == [str(label) for label in model.predictions]


def fill_in(page: Page, model: ZooModel) -> None:
    """Choose the model and its files, and save."""
    page.locator("select[name=model]").select_option(label=model.name, force=True)
    page.locator("input[name=version]").fill("1.0.0")
    page.locator("input[name=artefact]").set_input_files([model.path, *model.data_files])
    page.get_by_role("button", name="Save", exact=True).click()
