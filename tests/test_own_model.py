"""A model of the user's own, from training to its first drift alarm, over the real server, worker and services."""

import io
import json
import subprocess
import time
import urllib.request
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.core.files.base import ContentFile

from drift.models import DriftCheck
from drift.tasks import check_due_versions
from mlmon.schema import FeatureKind
from models_registry.models import ModelVersion, ReferenceDataset
from models_registry.services.references import upload_reference
from models_registry.services.versions import FeatureEdit, edit_features, promote, register_model, upload_version
from tests.services.web_server import WebServer

NUMBERS = ("income", "age")
REGIONS = np.array(["north", "south", "east", "west"])
ROWS = 1500


def applicants(n: int, *, seed: int, south: float = 0.25) -> dict[str, Any]:
    """Return n rows of mixed types, some values missing; `south` is the share of that region."""
    rng = np.random.default_rng(seed)
    others = (1 - south) / 3
    income = rng.lognormal(10, 0.5, n).astype(np.float32)
    income[rng.random(n) < 0.1] = np.nan
    return {
        "income": income,
        "age": rng.integers(18, 80, n),
        "region": rng.choice(REGIONS, n, p=[others, south, others, others]),
    }


def trained() -> tuple[Any, bytes]:
    """Return a gradient boosting over floats with gaps, whole numbers and text, and its ONNX export."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    rows = applicants(2000, seed=1)
    target = np.where((rows["region"] == "south") | (rows["age"] > 70), "declined", "granted")
    prepared = ColumnTransformer(
        [
            ("income", SimpleImputer(), [0]),
            ("age", "passthrough", [1]),
            ("region", OneHotEncoder(handle_unknown="ignore"), [2]),
        ]
    )
    pipeline = make_pipeline(prepared, GradientBoostingClassifier(n_estimators=20, random_state=0))
    pipeline.fit(frame(rows), target)
    inputs = [
        ("income", FloatTensorType([None, 1])),
        ("age", Int64TensorType([None, 1])),
        ("region", StringTensorType([None, 1])),
    ]
    exported = to_onnx(
        pipeline, initial_types=inputs, options={"zipmap": False}, target_opset={"": 18, "ai.onnx.ml": 3}
    )
    return pipeline, exported.SerializeToString()


def frame(rows: dict[str, Any]) -> Any:
    return np.column_stack([np.asarray(column, dtype=object) for column in rows.values()])


def named_rows(rows: dict[str, Any]) -> list[dict[str, Any]]:
    named: list[dict[str, Any]] = pa.table(
        {name: pa.array(column, from_pandas=True) for name, column in rows.items()}
    ).to_pylist()
    return named


def predict(server: WebServer, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    answers = []
    for start in range(0, len(rows), 100):
        request = urllib.request.Request(
            f"{server.url}/api/v1/models/credit/predict",
            data=json.dumps({"rows": rows[start : start + 100]}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            answers += json.load(response)["predictions"]
    return answers


def answer(server: WebServer, path: str) -> str:
    with urllib.request.urlopen(f"{server.url}{path}", timeout=10) as response:
        text: str = response.read().decode()
    return text


def wait_for_check(rows_seen: int) -> DriftCheck:
    """Let the scheduler's task run in the real worker until the rows are checked."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        check_due_versions.delay()
        time.sleep(0.5)
        check = DriftCheck.objects.filter(rows_seen=rows_seen).first()
        if check is not None:
            return check
    pytest.fail("the worker did not check the rows")


def wait_until_in_force(reference: ReferenceDataset) -> None:
    deadline = time.monotonic() + 60
    while not reference.is_active:
        assert time.monotonic() < deadline, "the worker did not profile the file"
        time.sleep(0.1)
        reference.refresh_from_db()
        assert not reference.error_message


def uploaded() -> tuple[Any, ModelVersion]:
    pipeline, onnx = trained()
    version = upload_version(model=register_model(name="credit"), version="1.0.0", artefact=ContentFile(onnx))
    income = FeatureEdit(name="income", kind=FeatureKind.NUMERIC, is_required=False)
    edit_features(version=version, edits={0: income})
    promote(version=version)
    sink = io.BytesIO()
    reference_rows = applicants(5000, seed=2)
    pq.write_table(
        pa.table({name: pa.array(column, from_pandas=True) for name, column in reference_rows.items()}), sink
    )
    wait_until_in_force(upload_reference(version=version, file=ContentFile(sink.getvalue()), filename="r.parquet"))
    return pipeline, version


@pytest.mark.timeout(300)
@pytest.mark.django_db(transaction=True)
def test_a_gradient_boosting_of_mixed_types_is_served_and_checked(
    celery_worker_process: subprocess.Popen[bytes], web_server: WebServer
) -> None:
    pipeline, version = uploaded()
    deadline = time.monotonic() + 20
    while '"version":"1.0.0"' not in answer(web_server, "/api/v1/models/credit"):
        assert time.monotonic() < deadline
    time.sleep(1.5)  # both web processes look at the registry once a second

    same = applicants(ROWS, seed=3)
    answers = predict(web_server, named_rows(same))
    # The oracle is scikit-learn's own pipeline.
    probabilities = pipeline.predict_proba(frame(same))
    assert [one["prediction"] for one in answers] == pipeline.classes_[probabilities.argmax(axis=1)].tolist()
    np.testing.assert_allclose([one["confidence"] for one in answers], probabilities.max(axis=1), atol=1e-5)

    quiet = wait_for_check(ROWS)
    assert (quiet.status, quiet.n_features, quiet.n_drifted_features) == ("succeeded", 3, 0)
    assert not quiet.prediction_is_drifted

    predict(web_server, named_rows(applicants(ROWS, seed=4, south=0.9)))
    drifted = wait_for_check(2 * ROWS)
    results = {row.feature_name: row for row in drifted.features.all()}
    assert {name for name, row in results.items() if row.is_drifted} == {"region"}
    assert results["income"].result.n_missing_current > 0
    assert drifted.prediction_is_drifted
    assert 'ml_feature_drift_detected{feature_name="region",model_name="credit"} 1.0' in answer(web_server, "/metrics")
    assert version.drift_checks.count() >= 2
