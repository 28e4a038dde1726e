"""Exports that failed once: a wrong real class with status 200, refusals without a way out, and a silent regression.

The oracle is the label output of plain ONNX Runtime.
"""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django.fixtures import Settings

CASES = Path(__file__).parent / "cases"
ROWS = [[5.1, 3.5, 1.4, 0.2], [6.0, 3.0, 5.0, 2.0], [5.9, 2.8, 4.3, 1.3]]

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def media(settings: Settings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path


def predicted(client: Client, name: str) -> list[dict[str, Any]]:
    url = f"/api/v1/models/{name}/predict"
    response = client.post(url, data=json.dumps({"rows": ROWS}), content_type="application/json")
    assert response.status_code == 200, response.content
    rows: list[dict[str, Any]] = response.json()["predictions"]
    return rows


def own_output(file: str, output: str) -> Any:
    session = ort.InferenceSession(CASES / file)
    (result,) = session.run([output], {session.get_inputs()[0].name: np.array(ROWS, np.float32)})
    return result


@pytest.mark.parametrize("file", ["qda_str.onnx", "qda_910.onnx", "catboost.onnx", "iforest.onnx"])
def test_the_models_own_labels_are_served(file: str, client: Client) -> None:
    call_command("upload_version", "case", "1.0.0", str(CASES / file), "--promote", stdout=StringIO())
    labels = [str(label) for label in np.ravel(own_output(file, "label")).tolist()]
    assert [row["prediction"] for row in predicted(client, "case")] == labels


def test_the_first_rows_of_the_case_are_setosa_and_virginica(client: Client) -> None:
    call_command("upload_version", "qda", "1.0.0", str(CASES / "qda_str.onnx"), "--promote", stdout=StringIO())
    assert [row["prediction"] for row in predicted(client, "qda")][:2] == ["setosa", "virg"]


def test_the_task_of_a_sigmoid_is_asked_for(client: Client) -> None:
    upload = ("upload_version", "sig", "1.0.0", str(CASES / "sigmoid.onnx"), "--promote")
    with pytest.raises(CommandError, match=r"State --task classification .* or --task regression"):
        call_command(*upload, stdout=StringIO())
    call_command(*upload, "--task", "classification", "--classes", "no,yes", stdout=StringIO())
    probability = own_output("sigmoid.onnx", "output").ravel().astype(float)
    rows = predicted(client, "sig")
    assert [row["prediction"] for row in rows] == np.where(probability >= 0.5, "yes", "no").tolist()
    expected = np.maximum(probability, 1 - probability)
    np.testing.assert_allclose([row["confidence"] for row in rows], expected, rtol=1e-6)
