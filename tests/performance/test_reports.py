"""Performance through the services and the API, with real models and predictions; the oracle is scikit-learn."""

import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import redis
from django.core.files.base import ContentFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from numpy.typing import NDArray
from sklearn import metrics
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import RidgeClassifier

from inference.services.archiving import archive_observations
from inference.serving import serving
from models_registry.models import ModelVersion, Stage
from models_registry.services.references import profile_reference, upload_reference
from models_registry.services.versions import set_stage
from monitoring.metrics.exposition import StateText
from performance.models import GroundTruth, PerformancePolicy, PerformanceReport, Period
from performance.services.ground_truth import record_ground_truth
from performance.services.reports import NO_PROBABILITIES, due_version_ids, measure_version, performance_between
from performance.tasks import measure_performance
from performance.tasks import measure_version as measure_performance_of
from tests.factories import IRIS_FEATURES, diabetes_onnx, uploaded_version
from tests.mlmon.observed import iris_rows, profiled_reference
from tests.models_registry.onnx_models import iris_export

pytestmark = pytest.mark.django_db

EXACT = 1e-12
PERFORMANCE = "/api/v1/models/classifier/performance"


def flowers(rows: int, seed: int) -> tuple[NDArray[np.float64], list[str]]:
    """Return noisy iris rows, for which the model is sometimes wrong, and their true classes."""
    from sklearn.datasets import load_iris

    data = load_iris()
    rng = np.random.default_rng(seed)
    places = rng.integers(0, 150, rows)
    return np.round(data.data[places] + rng.normal(0, 0.4, (rows, 4)), 2), data.target_names[
        data.target[places]
    ].tolist()


def activate_reference(version: ModelVersion, rows: int = 600) -> None:
    values, species = flowers(rows, seed=99)
    sink = io.BytesIO()
    columns = {name: values[:, index] for index, name in enumerate(IRIS_FEATURES)}
    pq.write_table(pa.table(columns | {"species": species}), sink)
    file = ContentFile(sink.getvalue())
    reference = upload_reference(version=version, file=file, filename="reference.parquet", enqueue=False)
    assert profile_reference(reference_id=reference.pk).is_active


@pytest.fixture
def version(redis_client: redis.Redis) -> ModelVersion:
    return uploaded_version("classifier")


def predict(client: Client, rows: NDArray[np.float64], model: str = "classifier") -> list[dict[str, Any]]:
    path = f"/api/v1/models/{model}/predict"
    response = client.post(path, data={"rows": rows.tolist()}, content_type="application/json")
    serving().capture_queue.flush()
    predictions: list[dict[str, Any]] = response.json()["predictions"]
    return predictions


def label(predictions: list[dict[str, Any]], actual: list[Any], **fields: Any) -> None:
    items = [
        {"prediction_id": one["prediction_id"], "actual": value, **fields}
        for one, value in zip(predictions, actual, strict=True)
    ]
    assert {result.outcome.value for result in record_ground_truth(items=items)} <= {"accepted", "corrected"}


def measure_due_versions() -> list[int]:
    """Measure the versions that are due, as the tasks do; return those with new reports."""
    return [version_id for version_id in due_version_ids() if measure_version(version_id=version_id)]


def realised_of(report: PerformanceReport) -> dict[str, Any]:
    figures: dict[str, Any] | None = report.realised
    assert figures is not None
    return figures


def latest(version: ModelVersion) -> PerformanceReport:
    return PerformanceReport.objects.filter(version=version, period=Period.LATEST).latest("pk")


def test_the_latest_figures_equal_scikit_learns(client: Client, version: ModelVersion) -> None:
    activate_reference(version)
    rows, species = flowers(1500, seed=1)
    predictions = predict(client, rows)
    label(predictions, species)
    assert measure_due_versions() == [version.pk]
    report = latest(version)
    # The default window of the policy is the latest 1,000 rows.
    actual, predicted = species[500:], [one["prediction"] for one in predictions[500:]]
    assert report.labelled_rows == 1000
    assert realised_of(report)["accuracy"] == pytest.approx(metrics.accuracy_score(actual, predicted), abs=EXACT)
    oracle = metrics.f1_score(actual, predicted, average="macro")
    assert realised_of(report)["f1_score"] == pytest.approx(oracle, abs=EXACT)
    scores = serving_scores(version, rows[500:])
    oracle = metrics.roc_auc_score(actual, scores, multi_class="ovr")
    assert realised_of(report)["roc_auc"] == pytest.approx(oracle, abs=1e-6)  # scores are stored as float32
    assert realised_of(report)["unavailable"] == {}


def serving_scores(version: ModelVersion, rows: NDArray[np.float64]) -> NDArray[np.float64]:
    from models_registry.engine import Engine

    columns = {name: rows[:, index].copy() for index, name in enumerate(IRIS_FEATURES)}
    scores = Engine(version.served_path(), version.schema(), timeout_seconds=30).predict(columns).scores
    assert scores is not None
    return np.asarray(scores / scores.sum(axis=1, keepdims=True))


def test_without_ground_truth_the_performance_is_estimated(client: Client, version: ModelVersion) -> None:
    activate_reference(version)
    rows, species = flowers(2000, seed=2)
    predictions = predict(client, rows)
    assert measure_due_versions() == [version.pk]
    report = latest(version)
    assert (report.labelled_rows, report.realised) == (0, None)
    assert report.estimated is not None
    realised = metrics.accuracy_score(species[1000:], [one["prediction"] for one in predictions[1000:]])
    estimated = report.estimated["accuracy"]
    assert abs(estimated - realised) < 5 * report.estimated["accuracy_standard_error"]
    label(predictions, species)
    measure_due_versions()
    report = latest(version)
    assert report.estimated_of_labelled is not None
    assert realised_of(report)["accuracy"] == pytest.approx(realised, abs=EXACT)
    assert report.estimated_of_labelled["accuracy"] == pytest.approx(estimated, abs=EXACT)


def test_without_a_labelled_reference_the_report_explains_the_missing_estimate(
    client: Client, version: ModelVersion
) -> None:
    rows, species = flowers(200, seed=4)
    label(predict(client, rows), species)
    measure_due_versions()
    report = latest(version)
    assert report.estimated is None
    assert report.estimate_note == "there is no active reference"
    assert report.realised is not None


def test_a_version_is_measured_again_only_if_something_has_changed(client: Client, version: ModelVersion) -> None:
    assert measure_due_versions() == []
    rows, species = flowers(300, seed=5)
    predictions = predict(client, rows)
    assert measure_due_versions() == [version.pk]
    assert measure_due_versions() == []
    label(predictions[:150], species[:150])
    assert measure_due_versions() == [version.pk]
    long_ago = timezone.now() - timedelta(hours=1)
    GroundTruth.objects.update(changed_at=long_ago)
    PerformanceReport.objects.update(labels_changed_at=long_ago)
    assert measure_due_versions() == []
    predict(client, flowers(50, seed=6)[0])
    assert measure_due_versions() == []  # less than a tenth of the window
    predict(client, flowers(50, seed=7)[0])
    assert measure_due_versions() == [version.pk]


def test_a_tick_enqueues_the_versions_that_are_due(
    client: Client, version: ModelVersion, redis_client: redis.Redis
) -> None:
    uploaded_version("idle")
    predict(client, flowers(300, seed=5)[0])
    measure_performance()
    (message,) = (json.loads(one) for one in redis_client.lrange("celery", 0, -1))
    assert message["headers"]["task"] == "performance.tasks.measure_version"
    assert message["headers"]["argsrepr"] == f"({version.pk},)"
    measure_performance_of(version.pk)
    redis_client.delete("celery")
    measure_performance()
    assert redis_client.llen("celery") == 0


def test_a_version_that_was_archived_meanwhile_is_not_measured(client: Client, version: ModelVersion) -> None:
    predict(client, flowers(300, seed=5)[0])
    set_stage(version=version, stage=Stage.ARCHIVED)
    measure_performance_of(version.pk)
    assert not PerformanceReport.objects.exists()


def test_a_few_labels_give_no_figures_yet(client: Client, version: ModelVersion) -> None:
    PerformancePolicy.objects.create(model=version.model, minimum_rows=60, window_rows=100)
    rows, species = flowers(100, seed=8)
    predictions = predict(client, rows)
    label(predictions[:59], species[:59])
    measure_due_versions()
    assert (latest(version).realised, latest(version).labelled_rows) == (None, 59)
    label(predictions[59:60], species[59:60])
    measure_due_versions()
    assert realised_of(latest(version))["rows"] == 60


def test_coverage_and_delay_describe_the_arrival_of_labels(client: Client, version: ModelVersion) -> None:
    rows, species = flowers(400, seed=9)
    predictions = predict(client, rows[:200]) + predict(client, rows[200:])
    observed_at = timezone.now()
    label(predictions[::4], species[::4], observed_at=observed_at.isoformat())
    GroundTruth.objects.update(predicted_at=observed_at - timedelta(minutes=30))
    archive_observations(seconds=10)
    report = performance_between(
        version, since=observed_at - timedelta(hours=1), until=observed_at + timedelta(hours=1)
    )
    assert (report.predicted_rows, report.labelled_rows, report.label_coverage) == (400, 100, 0.25)
    assert report.label_delay_seconds == 1800


def test_daily_reports_include_late_labels(client: Client, version: ModelVersion) -> None:
    rows, species = flowers(300, seed=10)
    predictions = predict(client, rows)
    label(predictions, species)
    days = [datetime(2026, 3, day, 12, tzinfo=UTC) for day in (1, 2, 3)]
    for number, day in enumerate(days):
        ids = [one["prediction_id"] for one in predictions[number::3]]
        GroundTruth.objects.filter(pk__in=ids).update(predicted_at=day)
    measure_due_versions()
    reports = list(PerformanceReport.objects.filter(period=Period.DAY).order_by("started_at"))
    assert [report.started_at.day for report in reports] == [1, 2, 3]
    for number, report in enumerate(reports):
        predicted = [one["prediction"] for one in predictions[number::3]]
        oracle = metrics.accuracy_score(species[number::3], predicted)
        assert realised_of(report)["accuracy"] == pytest.approx(oracle, abs=EXACT)
        assert report.ended_at - report.started_at == timedelta(days=1)
    # A correction changes only the report of its day.
    before = {report.pk: report.computed_at for report in reports}
    PerformanceReport.objects.update(labels_changed_at=timezone.now())
    GroundTruth.objects.update(changed_at=timezone.now() - timedelta(hours=1))
    label(predictions[1:2], ["virginica" if species[1] != "virginica" else "setosa"])
    measure_due_versions()
    again = PerformanceReport.objects.filter(period=Period.DAY)
    changed = {report.started_at.day for report in again if report.computed_at != before.get(report.pk)}
    assert changed == {2}
    assert again.count() == 3


def test_a_regression_is_measured_too(client: Client, redis_client: redis.Redis) -> None:
    names = [f"x{index}" for index in range(10)]
    version = uploaded_version("progression", onnx=diabetes_onnx(), features=names)
    rng = np.random.default_rng(11)
    predictions = predict(client, rng.normal(0, 0.05, (200, 10)), "progression")
    predicted = np.array([one["prediction"] for one in predictions])
    actual = predicted + rng.normal(3, 10, 200)
    label(predictions, actual.tolist())
    measure_due_versions()
    report = latest(version)
    oracle = metrics.mean_absolute_error(actual, predicted)
    assert realised_of(report)["mean_absolute_error"] == pytest.approx(oracle, abs=EXACT)
    assert realised_of(report)["r2_score"] == pytest.approx(metrics.r2_score(actual, predicted), abs=EXACT)
    scraped = client.get("/metrics").content.decode()
    assert f'ml_model_mean_absolute_error{{model_name="progression",model_version="1.0.0"}} {oracle}' in scraped
    assert "ml_model_accuracy{" not in scraped


def test_the_endpoint_returns_latest_days_and_spans(client: Client, version: ModelVersion) -> None:
    activate_reference(version)
    rows, species = flowers(600, seed=12)
    predictions = predict(client, rows)
    label(predictions, species)
    measure_due_versions()
    body = client.get(PERFORMANCE).json()
    assert (body["model_name"], body["model_version"], body["detail"]) == ("classifier", "1.0.0", "")
    assert body["latest"]["realised"] == latest(version).realised
    assert [day["labelled_rows"] for day in body["days"]] == [600]
    error = body["estimate_error"]
    day = body["days"][0]
    assert error["days"] == 1
    difference = day["realised"]["accuracy"] - day["estimated_of_labelled"]["accuracy"]
    assert error["estimated_accuracy"] == pytest.approx(abs(difference), abs=EXACT)
    difference = day["realised"]["accuracy"] - body["reference"]["accuracy"]
    assert error["no_change"] == pytest.approx(abs(difference), abs=EXACT)
    now = timezone.now()
    span = {"since": (now - timedelta(hours=1)).isoformat(), "until": now.isoformat()}
    body = client.get(PERFORMANCE, span).json()
    assert body["span"]["realised"]["rows"] == 600
    assert body["span"]["realised"]["accuracy"] == day["realised"]["accuracy"]
    empty = {"since": (now - timedelta(hours=2)).isoformat(), "until": (now - timedelta(hours=1)).isoformat()}
    body = client.get(PERFORMANCE, empty).json()
    assert (body["span"]["predicted_rows"], body["span"]["realised"]) == (0, None)


@pytest.mark.parametrize(
    ("query", "status", "reason"),
    [
        ("since=2026-03-01T00:00:00Z", 400, "'until': Give since and until together."),
        ("since=2026-03-01T00:00:00Z&until=2026-03-01T00:00:00Z", 400, "It must be later than since."),
        ("since=x&until=y", 400, "'since'"),
        ("days=401", 400, "'days'"),
        ("days=-1", 400, "'days'"),
        ("version=9", 404, "no version '9'"),
    ],
)
def test_a_bad_query_is_a_problem(client: Client, version: ModelVersion, query: str, status: int, reason: str) -> None:
    response = client.get(f"{PERFORMANCE}?{query}")
    assert response.status_code == status
    assert reason in response.json()["detail"]


def test_a_model_without_figures_explains_what_to_do(client: Client, version: ModelVersion) -> None:
    body = client.get(PERFORMANCE).json()
    assert "Send ground truth to /api/v1/feedback" in body["detail"]
    assert (body["latest"], body["days"], body["reference"]) == (None, [], None)
    assert client.get("/api/v1/models/nobody/performance").status_code == 404
    ModelVersion.objects.update(stage="staging", traffic_weight=0)
    assert "No version of this model is in production" in client.get(PERFORMANCE).json()["detail"]


def test_a_scrape_runs_as_many_queries_for_many_models_as_for_one(client: Client, version: ModelVersion) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            StateText().render()
        return len(captured)

    def report(other: ModelVersion) -> None:
        now = timezone.now()
        PerformanceReport.objects.create(
            version=other,
            period=Period.LATEST,
            started_at=now,
            ended_at=now,
            computed_at=now,
            predicted_rows=1000,
            labelled_rows=1000,
            realised={"accuracy": 0.75},
        )

    report(version)
    one = queries()
    for number in range(3):
        report(uploaded_version(f"other{number}"))
    assert queries() == one
    scraped = client.get("/metrics").content.decode()
    assert 'ml_model_accuracy{model_name="other1",model_version="1.0.0"} 0.75' in scraped


def test_margins_are_no_probabilities_and_the_report_says_so(client: Client, redis_client: redis.Redis) -> None:
    version = uploaded_version("classifier", onnx=iris_export(RidgeClassifier(), named=True))
    assert version.score_kind == "margins"
    activate_reference(version)
    rows, species = flowers(600, seed=5)
    predictions = predict(client, rows)
    assert {one["confidence"] for one in predictions} == {None}
    label(predictions, species)
    assert measure_due_versions() == [version.pk]
    report = latest(version)
    assert (report.estimated, report.estimate_note) == (None, NO_PROBABILITIES)
    oracle = metrics.accuracy_score(species, [one["prediction"] for one in predictions])
    assert realised_of(report)["accuracy"] == pytest.approx(oracle, abs=EXACT)
    assert set(realised_of(report)["unavailable"].values()) == {NO_PROBABILITIES}


def test_an_anomaly_model_is_measured_and_its_rate_drifts(client: Client, redis_client: redis.Redis) -> None:
    estimator = IsolationForest(n_estimators=20, contamination=0.05, random_state=1)
    version = uploaded_version("classifier", onnx=iris_export(estimator))
    assert (version.task_type, version.classes) == ("anomaly", ["-1", "1"])
    profiled_reference(version, iris_rows(2000))
    rows = iris_rows(600, seed=3)
    rows[:300] += 3.0  # cm: no such flowers
    predictions = predict(client, rows)
    expected = estimator.predict(rows.astype(np.float32))
    assert [one["prediction"] for one in predictions] == [str(one) for one in expected]
    is_strange = [-1] * 300 + [1] * 300
    label(predictions, is_strange)
    assert measure_due_versions() == [version.pk]
    report = latest(version)
    assert realised_of(report)["accuracy"] == pytest.approx(metrics.accuracy_score(is_strange, expected), abs=EXACT)
    recall = metrics.recall_score(is_strange, expected, pos_label=-1)
    assert realised_of(report)["classes"]["-1"]["recall"] == pytest.approx(recall, abs=EXACT)
    body = client.get("/drift").json()
    assert body["prediction_drift"]["is_drifted"]
    assert body["prediction_drift"]["current_dist"]["-1"] == pytest.approx((expected == -1).mean(), abs=1e-6)
