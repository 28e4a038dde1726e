"""A user's own model, from training to its first drift alarm, with the real server, worker and services."""

import io
import json
import subprocess
import urllib.error
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
from tests.services.processes import await_condition
from tests.services.web_server import WebServer

NUMBERS = ("income", "age")
REGIONS = np.array(["north", "south", "east", "west"])
ROWS = 1500


def applicants(n: int, *, seed: int, south: float = 0.25) -> dict[str, Any]:
    """Return n rows of mixed types, with some missing values; `south` is the share of that region."""
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
    """Return a gradient boosting of floats with missing values, whole numbers and strings, and its ONNX export."""
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
    predictions = []
    for start in range(0, len(rows), 100):
        request = urllib.request.Request(
            f"{server.url}/api/v1/models/credit/predict",
            data=json.dumps({"rows": rows[start : start + 100]}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            predictions += json.load(response)["predictions"]
    return predictions


def response_text(server: WebServer, path: str) -> str:
    with urllib.request.urlopen(f"{server.url}{path}", timeout=10) as response:
        text: str = response.read().decode()
    return text


def wait_for_check(rows_seen: int) -> DriftCheck:
    """Let the real worker run the scheduler's task until the rows are checked; return the check."""
    checks = DriftCheck.objects.filter(rows_seen=rows_seen)

    def is_checked() -> bool:
        check_due_versions.delay()
        return checks.exists()

    await_condition(is_checked, "the worker did not check the rows", seconds=60, pause=0.5)
    return checks.get()


def wait_until_active(reference: ReferenceDataset) -> None:
    def is_active() -> bool:
        reference.refresh_from_db()
        assert not reference.error_message
        return reference.is_active

    await_condition(is_active, "the worker did not profile the file", seconds=60, pause=0.1)


def is_loaded_by_all_processes(server: WebServer) -> bool:
    """Return whether twenty empty rows get 422 from the model's schema, and none gets 404, as for an unknown model."""

    def status() -> int:
        try:
            predict(server, [{}])
        except urllib.error.HTTPError as error:
            return error.code
        return 200

    return {status() for _ in range(20)} == {422}


def uploaded() -> tuple[Any, ModelVersion]:
    pipeline, onnx = trained()
    version = upload_version(model=register_model(name="credit"), version="1.0.0", files=[ContentFile(onnx)])
    income = FeatureEdit(name="income", kind=FeatureKind.NUMERIC, is_required=False)
    edit_features(version=version, edits={0: income})
    promote(version=version)
    sink = io.BytesIO()
    reference_rows = applicants(5000, seed=2)
    pq.write_table(
        pa.table({name: pa.array(column, from_pandas=True) for name, column in reference_rows.items()}), sink
    )
    wait_until_active(upload_reference(version=version, file=ContentFile(sink.getvalue()), filename="r.parquet"))
    return pipeline, version


@pytest.mark.timeout(300)
@pytest.mark.django_db(transaction=True)
def test_a_gradient_boosting_of_mixed_types_is_served_and_checked(
    celery_worker_process: subprocess.Popen[bytes], web_server: WebServer
) -> None:
    pipeline, version = uploaded()
    await_condition(lambda: is_loaded_by_all_processes(web_server), "a web process did not load the model")

    same = applicants(ROWS, seed=3)
    predictions = predict(web_server, named_rows(same))
    # The oracle is scikit-learn's own pipeline.
    probabilities = pipeline.predict_proba(frame(same))
    assert [one["prediction"] for one in predictions] == pipeline.classes_[probabilities.argmax(axis=1)].tolist()
    np.testing.assert_allclose([one["confidence"] for one in predictions], probabilities.max(axis=1), atol=1e-5)

    quiet = wait_for_check(ROWS)
    assert (quiet.status, quiet.n_features, quiet.n_drifted_features) == ("succeeded", 3, 0)
    assert not quiet.prediction_is_drifted

    predict(web_server, named_rows(applicants(ROWS, seed=4, south=0.9)))
    drifted = wait_for_check(2 * ROWS)
    results = {row.feature_name: row for row in drifted.features.all()}
    assert {name for name, row in results.items() if row.is_drifted} == {"region"}
    assert results["income"].result.n_missing_current > 0
    assert drifted.prediction_is_drifted
    metrics = response_text(web_server, "/metrics")
    assert 'ml_feature_drift_detected{feature_name="region",model_name="credit"} 1.0' in metrics
    assert version.drift_checks.count() >= 2
