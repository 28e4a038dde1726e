"""Performance drops from posted labels to the gauge, the API and the page; the library's tests have the oracles."""

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
import redis
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils import timezone
from scipy.stats import hypergeom, norm, t

from models_registry.models import ModelVersion, Stage
from models_registry.services.versions import promote, set_stage
from performance.models import GroundTruth, PerformanceBaseline, PerformancePolicy, PerformanceReport, Period
from tests.factories import diabetes_onnx, uploaded_version
from tests.performance.test_reports import PERFORMANCE, activate_reference, flowers, measure_due_versions, predict

pytestmark = pytest.mark.django_db

GAUGE = 'ml_performance_drop_confirmed{model_name="classifier"}'
WRONG = {"setosa": "versicolor", "versicolor": "virginica", "virginica": "setosa"}


@pytest.fixture
def version(redis_client: redis.Redis) -> ModelVersion:
    return uploaded_version("classifier")


def post(client: Client, predictions: list[dict[str, Any]], actual: list[Any]) -> None:
    items = [
        {"prediction_id": one["prediction_id"], "actual": value} for one, value in zip(predictions, actual, strict=True)
    ]
    for start in range(0, len(items), 500):
        response = client.post("/api/v1/feedback", data=items[start : start + 500], content_type="application/json")
        assert response.status_code == 200


def post_errors(client: Client, rows: int, error_rate: float, seed: int = 1) -> None:
    """Predict rows, and post labels that make a share of the predictions wrong, at random places."""
    predictions = predict(client, flowers(rows, seed)[0])
    is_wrong = np.random.default_rng(seed).permutation(rows) < round(error_rate * rows)
    actual = [
        WRONG[one["prediction"]] if wrong else one["prediction"]
        for one, wrong in zip(predictions, is_wrong, strict=True)
    ]
    post(client, predictions, actual)


def measured_drop(client: Client, path: str = PERFORMANCE) -> dict[str, Any]:
    measure_due_versions()
    drop: dict[str, Any] = client.get(path).json()["drop"]
    return drop


def scraped(client: Client) -> str:
    return client.get("/metrics").content.decode()


def test_posted_labels_confirm_a_drop_against_the_labelled_reference(
    client: Client, admin_client: Client, version: ModelVersion
) -> None:
    activate_reference(version, rows=2000)
    post_errors(client, 1000, 0.3)
    drop = measured_drop(client)
    assert drop["status"] == "drop"
    assert drop["baseline"].endswith("reference.parquet")
    assert (drop["baseline_rows"], drop["window_error"], drop["windows"]) == (2000, 0.3, 2)
    body = client.get(PERFORMANCE).json()
    assert drop["baseline_error"] == pytest.approx(1 - body["reference"]["accuracy"], abs=1e-12)
    assert drop["alpha"] == 1 / 20_000
    assert drop["p_value"] < 1e-20
    assert "the share of wrong predictions is 30.0 % in the latest 1,000" in drop["sentence"]
    assert f"{GAUGE} 1.0\n" in scraped(client)
    report = PerformanceReport.objects.get(period=Period.LATEST)
    page = admin_client.get(f"/admin/performance/performancereport/{report.pk}/change/").content.decode()
    assert drop["sentence"] in page
    listed = admin_client.get("/admin/performance/performancereport/").content.decode()
    assert "confirmed" in listed


def test_the_same_errors_as_on_the_reference_are_no_drop(client: Client, version: ModelVersion) -> None:
    activate_reference(version, rows=2000)
    rows, species = flowers(1000, seed=3)
    post(client, predict(client, rows), species)
    assert measured_drop(client)["status"] == "no_drop"
    assert f"{GAUGE} 0.0\n" in scraped(client)


def test_an_improvement_is_no_alarm(client: Client, version: ModelVersion) -> None:
    activate_reference(version, rows=2000)
    post_errors(client, 1000, 0.0)
    drop = measured_drop(client)
    assert (drop["status"], drop["window_error"]) == ("improvement", 0.0)
    assert f"{GAUGE} 0.0\n" in scraped(client)


def test_the_first_labels_in_production_are_the_baseline_without_a_labelled_reference(
    client: Client, admin_client: Client, version: ModelVersion
) -> None:
    activate_reference(version, rows=600)  # has too few labels
    post_errors(client, 900, 0.1, seed=1)
    drop = measured_drop(client)
    assert (drop["status"], drop["p_value"]) == ("insufficient_data", None)
    assert "first 1,000 labelled predictions in production become the baseline; 900 have arrived" in drop["sentence"]
    assert GAUGE not in scraped(client)
    post_errors(client, 100, 0.1, seed=2)
    drop = measured_drop(client)
    assert (drop["status"], drop["baseline_rows"], drop["window_rows"]) == ("insufficient_data", 1000, 0)
    assert (drop["baseline_error"], drop["window_error"]) == (0.1, None)
    post_errors(client, 500, 0.25, seed=3)
    drop = measured_drop(client)
    assert (drop["status"], drop["baseline_rows"], drop["window_rows"]) == ("drop", 1000, 500)
    assert drop["baseline"].startswith("the first labelled predictions in production, ")
    tail = hypergeom.sf(124, 1500, 225, 500)
    assert drop["phi"] == 1.0
    assert drop["p_value"] == pytest.approx(2 * t.sf(norm.isf(tail), drop["nu"]), rel=1e-9)
    assert f"{GAUGE} 1.0\n" in scraped(client)
    report = PerformanceReport.objects.filter(period=Period.LATEST).latest("pk")
    page = admin_client.get(f"/admin/performance/performancereport/{report.pk}/change/").content.decode()
    assert "the first labelled predictions in production" in page
    # The baseline outlives the ground truth that it was made from.
    baseline = PerformanceBaseline.objects.get()
    GroundTruth.objects.filter(predicted_at__lte=baseline.ended_at).delete()
    post_errors(client, 100, 0.25, seed=4)
    drop = measured_drop(client)
    assert (drop["status"], drop["baseline_error"], drop["baseline_rows"]) == ("drop", 0.1, 1000)


def test_a_reference_with_enough_labels_replaces_the_first_labels(client: Client, version: ModelVersion) -> None:
    post_errors(client, 1000, 0.0, seed=1)
    measured_drop(client)
    post_errors(client, 500, 0.2, seed=2)
    drop = measured_drop(client)
    assert (drop["status"], drop["baseline_error"]) == ("drop", 0.0)
    activate_reference(version, rows=2000)
    post_errors(client, 1, 0.0, seed=3)  # a label makes a report due
    drop = measured_drop(client)
    assert drop["baseline"].endswith("reference.parquet")


def test_labels_from_before_the_promotion_are_not_the_baseline(client: Client, redis_client: redis.Redis) -> None:
    version = uploaded_version("classifier", production=False)
    set_stage(version=version, stage=Stage.SHADOW)
    promoted = uploaded_version("classifier", "0.9.0")
    assert (promoted.promoted_at is None, version.promoted_at) == (False, None)
    post_errors(client, 300, 0.1)
    labels = GroundTruth.objects.all()
    labels.update(version=version)
    measure_due_versions()
    drop = PerformanceReport.objects.filter(version=version, period=Period.LATEST).latest("pk").judged_drop
    assert drop is not None
    assert "the version has never been in production. Promote it, or upload" in drop.sentence
    promote(version=version)
    labels.update(changed_at=timezone.now())
    measure_due_versions()
    drop = PerformanceReport.objects.filter(version=version, period=Period.LATEST).latest("pk").judged_drop
    assert drop is not None
    assert "; 0 have arrived" in drop.sentence


def test_a_version_keeps_the_time_of_its_first_promotion(version: ModelVersion) -> None:
    first = version.promoted_at
    assert first is not None
    set_stage(version=version, stage=Stage.STAGING)
    promote(version=version)
    version.refresh_from_db()
    assert version.promoted_at == first


def test_a_judgement_is_kept_until_enough_labels_have_arrived(client: Client, version: ModelVersion) -> None:
    activate_reference(version, rows=2000)
    post_errors(client, 500, 0.1, seed=1)
    first = measured_drop(client)
    assert first["window_rows"] == 500
    post_errors(client, 99, 1.0, seed=2)
    assert measured_drop(client) == first
    predict(client, flowers(200, seed=3)[0])  # predictions without labels make a report due, but no judgement
    assert measured_drop(client) == first
    post_errors(client, 1, 1.0, seed=4)
    assert measured_drop(client)["status"] == "drop"
    # A tenth of a larger window.
    PerformancePolicy.objects.create(model=version.model, window_rows=2000)
    post_errors(client, 199, 0.0, seed=5)
    kept = measured_drop(client)
    assert kept["window_rows"] <= 600
    post_errors(client, 1, 0.0, seed=6)
    assert measured_drop(client) != kept


def test_the_policy_sets_the_budget_and_the_window(client: Client, version: ModelVersion) -> None:
    PerformancePolicy.objects.create(model=version.model, window_rows=200, minimum_rows=30, false_alarm_budget=50)
    activate_reference(version, rows=2000)
    post_errors(client, 400, 0.1)
    drop = measured_drop(client)
    assert drop["window_rows"] in (100, 200)
    assert drop["alpha"] == 1 / (50 * 2)


def test_larger_errors_of_a_regression_are_a_drop(client: Client, redis_client: redis.Redis) -> None:
    uploaded_version("progression", onnx=diabetes_onnx(), features=[f"x{index}" for index in range(10)])
    rng = np.random.default_rng(11)

    def send(rows: int, scale: float) -> None:
        predictions = predict(client, rng.normal(0, 0.05, (rows, 10)), "progression")
        post(client, predictions, [one["prediction"] + rng.normal(0, scale) for one in predictions])

    path, gauge = "/api/v1/models/progression/performance", 'ml_performance_drop_confirmed{model_name="progression"}'
    send(1000, 10)
    measure_due_versions()
    send(500, 10)
    quiet = measured_drop(client, path)
    assert quiet["status"] == "no_drop"
    assert f"{gauge} 0.0\n" in scraped(client)
    send(500, 15)
    drop = measured_drop(client, path)
    assert (drop["status"], drop["window_rows"]) == ("drop", 500)
    # The median of |N(0, s)| is .6745 s.
    assert drop["baseline_error"] == pytest.approx(6.745, rel=0.15)
    assert drop["window_error"] == pytest.approx(10.12, rel=0.15)
    assert drop["sentence"].startswith("Errors are larger than before: the median absolute error is ")
    assert f"{gauge} 1.0\n" in scraped(client)


def test_a_refused_label_counts_in_no_sample(client: Client, version: ModelVersion) -> None:
    activate_reference(version, rows=2000)
    post_errors(client, 150, 0.1)
    GroundTruth.objects.filter(pk__in=GroundTruth.objects.values("pk")[:60]).update(refusal="not a class")
    assert "90 labelled predictions can be compared" in measured_drop(client)["sentence"]


@pytest.mark.parametrize(
    ("fields", "constraint"),
    [
        ({"rows": 0}, "performance_baseline_is_not_empty"),
        ({"ended_at": timezone.now() - timedelta(days=2)}, "performance_baseline_has_an_order"),
    ],
)
def test_the_database_refuses_an_invalid_baseline(
    version: ModelVersion, fields: dict[str, Any], constraint: str
) -> None:
    now = timezone.now()
    valid = {"version": version, "started_at": now, "ended_at": now, "rows": 1, "errors": b"\0" * 8}
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        PerformanceBaseline.objects.create(**valid | fields)
    PerformanceBaseline.objects.create(**valid)


def test_the_database_refuses_a_budget_of_zero(version: ModelVersion) -> None:
    with pytest.raises(IntegrityError, match="performance_budget_is_positive"), transaction.atomic():
        PerformancePolicy.objects.create(model=version.model, false_alarm_budget=0)
