"""Files that failed once: the same values in predict calls and in each file format are no drift.

The models and files are small copies of what users' tools export: a scikit-learn pipeline over a data frame with the
categories NA and None, and a model over dummy columns that pandas writes as True and False.
"""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import redis
from django.core.management import call_command
from django.test import Client
from pytest_django.fixtures import Settings

from drift.services.checks import run_drift_check
from inference.serving import serving
from mlmon.results import VerdictStatus
from models_registry.models import ModelVersion, ReferenceDataset

CASES = Path(__file__).parent / "cases"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def media(redis_client: redis.Redis, settings: Settings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path


def upload(name: str, onnx: str, features: str, reference: Path, *options: str) -> ReferenceDataset:
    """Register a model and its reference with the commands."""
    if not ModelVersion.objects.filter(model__name=name).exists():
        arguments = (name, "1.0.0", str(CASES / onnx), "--features", features, "--promote")
        call_command("upload_version", *arguments, stdout=StringIO())
    call_command("upload_reference", name, "1.0.0", str(reference), *options, stdout=StringIO())
    return ReferenceDataset.objects.latest("pk")


def predict_rows(client: Client, name: str, table: pa.Table) -> None:
    """Send rows of a table to the API, by name."""
    rows = table.to_pylist()
    for start in range(0, len(rows), 500):
        body = json.dumps({"rows": rows[start : start + 500]})
        response = client.post(f"/api/v1/models/{name}/predict", data=body, content_type="application/json")
        assert response.status_code == 200, response.content
    serving().capture_queue.flush()


def copies(table: pa.Table, rows: int) -> pa.Table:
    """Return the rows of a table repeated until there are at least this many."""
    return pa.concat_tables([table] * -(-rows // table.num_rows))


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_na_and_none_are_the_same_categories_in_a_file_and_in_predict_calls(
    suffix: str, client: Client, tmp_path: Path
) -> None:
    table = copies(pq.read_table(CASES / "framepipe.parquet"), 1000)
    path = tmp_path / f"reference.{suffix}"
    if suffix == "csv":
        pyarrow.csv.write_csv(table, path)
    else:
        pq.write_table(table, path)
    reference = upload("na", "framepipe.onnx", "Age (yrs),size,zip,Land,job", path)
    predict_rows(client, "na", table.slice(0, 1000))
    check = run_drift_check(version_id=reference.version_id)
    assert check is not None
    result = check.comparison
    assert result.verdict.status is VerdictStatus.QUIET
    assert result.coverage.compared == 5
    assert {feature.n_missing_current for feature in result.features} == {0}
    assert [note.split(":")[0] for note in reference.notes] == ([] if suffix == "parquet" else ["Land", "job"])


def test_the_advice_about_missing_values_can_be_followed(tmp_path: Path, client: Client) -> None:
    table = pq.read_table(CASES / "framepipe.parquet")
    path = tmp_path / "reference.csv"
    pyarrow.csv.write_csv(table, path)
    features = "Age (yrs),size,zip,Land,job"
    (note,) = [note for note in upload("na", "framepipe.onnx", features, path).notes if note.startswith("Land")]
    assert note.endswith("If they are missing values, upload the file again with the missing value NA.")
    ModelVersion.objects.get().features.filter(name="Land").update(is_required=False)
    reference = upload("na", "framepipe.onnx", features, path, "--missing", "NA")
    assert reference.status == "ready"
    assert [each for each in reference.notes if each.startswith("Land")] == []


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_booleans_are_numbers_in_each_format_and_in_predict_calls(suffix: str, client: Client) -> None:
    features = "age,job_None,job_clerk,job_nurse"
    reference = upload("dummies", "dummies.onnx", features, CASES / f"dummies.{suffix}")
    assert (reference.status, reference.error_message) == ("ready", "")
    body: dict[str, Any] = {"rows": [[44, True, False, False], [44, 1, 0, 0.0]]}
    response = client.post("/api/v1/models/dummies/predict", data=json.dumps(body), content_type="application/json")
    assert response.status_code == 200
    first, second = response.json()["predictions"]
    assert first["prediction"] == second["prediction"]
