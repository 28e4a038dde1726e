"""The metrics of a scrape, from real rows, parsed by prometheus_client."""

import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families

from drift.models import CheckStatus, DriftCheck, DriftIncident, FeatureDrift
from mlmon.results import FeatureResult, ResultStatus
from mlmon.schema import FeatureKind
from models_registry.models import ModelVersion, ReferenceDataset, Stage
from models_registry.services.versions import set_stage
from monitoring.metrics.declarations import GROUPS
from monitoring.metrics.exposition import StateText
from monitoring.models import JobRun
from performance.tasks import delete_old_ground_truth
from tests.factories import iris_onnx, uploaded_version

pytestmark = pytest.mark.django_db


def samples(families: Iterable[Any]) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def scrape(client: Client) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    response = client.get("/metrics")
    assert response.status_code == 200
    return samples(text_families(response.content.decode()))


def reference_of(version: ModelVersion) -> ReferenceDataset:
    return ReferenceDataset.objects.create(
        version=version,
        file="references/r.csv",
        original_filename="r.csv",
        status="ready",
        rows=150,
        profile_file="profiles/p.arrow",
        profiled_at=timezone.now(),
    )


def check_of(version: ModelVersion, *, window_end: str, score: float) -> DriftCheck:
    check = DriftCheck.objects.create(
        version=version,
        reference=reference_of(version),
        status=CheckStatus.SUCCEEDED,
        window_end=window_end,
        rows_seen=100,
        n_reference=150,
        n_current=100,
        prediction_js_divergence=0.25,
        prediction_threshold=0.1,
        prediction_is_drifted=True,
        n_not_compared=2,
    )
    result = FeatureResult("sepal_length", FeatureKind.NUMERIC, 0.15, score=score, is_drifted=score > 0.15)
    result = replace(result, n_current=75, n_missing_current=25)
    FeatureDrift.of(check, result).save()
    return check


def labels(**pairs: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(pairs.items()))


def test_the_latest_check_of_the_primary_version_is_shown(client: Client) -> None:
    version = uploaded_version("classifier")
    challenger = uploaded_version("classifier", "1.1.0", onnx=iris_onnx(3), production=False)
    set_stage(version=challenger, stage=Stage.PRODUCTION, traffic_weight=5)
    check_of(version, window_end="1-0", score=0.9)
    check_of(version, window_end="2-0", score=0.1)
    check_of(challenger, window_end="3-0", score=0.7)
    shown = scrape(client)
    feature = labels(model_name="classifier", feature_name="sepal_length")
    model = labels(model_name="classifier")
    assert shown["ml_feature_drift_score", feature] == 0.1
    assert shown["ml_feature_drift_threshold", feature] == 0.15
    assert shown["ml_feature_drift_detected", feature] == 0
    assert shown["ml_prediction_drift_score", model] == 0.25
    assert shown["ml_prediction_drift_detected", model] == 1
    assert shown["ml_drift_window_rows", model] == 100
    assert shown["ml_drift_reference_rows", model] == 150
    assert shown["ml_drift_features_not_compared", model] == 2
    assert shown["ml_feature_missing_ratio", feature] == 0.25
    assert shown["ml_collector_success", ()] == 1


def test_a_failed_check_does_not_replace_the_last_figures(client: Client) -> None:
    version = uploaded_version("classifier")
    check = check_of(version, window_end="1-0", score=0.4)
    DriftCheck.objects.create(
        version=version,
        reference=check.reference,
        status=CheckStatus.FAILED,
        error_message="broke",
        window_end="2-0",
        rows_seen=200,
    )
    feature = labels(model_name="classifier", feature_name="sepal_length")
    assert scrape(client)["ml_feature_drift_score", feature] == 0.4


def test_an_incident_is_shown_until_it_is_closed_or_snoozed(client: Client) -> None:
    version = uploaded_version("classifier")
    check = check_of(version, window_end="1-0", score=0.4)
    result = FeatureResult("petal_width", FeatureKind.NUMERIC, 0.15, ResultStatus.INSUFFICIENT_DATA)
    FeatureDrift.of(check, result).save()
    incident = DriftIncident.objects.create(
        version=version, opened_by=check, last_check=check, opened_at=timezone.now(), counted_rows=100
    )
    # A feature that is missing in every row has no score, but the alarm may list it.
    FeatureDrift.objects.filter(feature_name="petal_width").update(is_confirmed=True)
    model = labels(model_name="classifier")
    shown = scrape(client)
    assert shown["ml_drift_incident_open", model] == 1
    assert shown["ml_feature_drift_confirmed", labels(model_name="classifier", feature_name="petal_width")] == 1
    assert shown["ml_feature_drift_confirmed", labels(model_name="classifier", feature_name="sepal_length")] == 0
    assert ("ml_feature_drift_score", labels(model_name="classifier", feature_name="petal_width")) not in shown
    DriftIncident.objects.update(snoozed_until=timezone.now() + timedelta(hours=1))
    assert scrape(client)["ml_drift_incident_open", model] == 0
    DriftIncident.objects.update(snoozed_until=timezone.now() - timedelta(seconds=1))
    assert scrape(client)["ml_drift_incident_open", model] == 1
    DriftIncident.objects.filter(pk=incident.pk).update(closed_at=timezone.now(), closing_reason="quiet")
    assert scrape(client)["ml_drift_incident_open", model] == 0


def test_a_backfilled_check_is_not_shown(client: Client) -> None:
    version = uploaded_version("classifier")
    check_of(version, window_end="1-0", score=0.4)
    later = check_of(version, window_end="0-1", score=0.9)
    DriftCheck.objects.filter(pk=later.pk).update(is_backfilled=True)
    feature = labels(model_name="classifier", feature_name="sepal_length")
    assert scrape(client)["ml_feature_drift_score", feature] == 0.4


def test_drift_disappears_when_the_version_is_archived(client: Client) -> None:
    version = uploaded_version("classifier")
    check_of(version, window_end="1-0", score=0.4)
    set_stage(version=version, stage=Stage.ARCHIVED)
    names = {name for name, _ in scrape(client)}
    assert "ml_feature_drift_score" not in names
    assert "ml_model_info" not in names


def test_each_version_has_its_info(client: Client) -> None:
    version = uploaded_version("classifier")
    info = labels(
        model_name="classifier", model_version="1.0.0", framework=version.framework, stage=Stage.PRODUCTION.value
    )
    assert scrape(client)["ml_model_info", info] == 1


def test_the_number_of_queries_does_not_grow_with_the_models(client: Client) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            StateText().render()
        return len(captured)

    check_of(uploaded_version("a"), window_end="1-0", score=0.4)
    few = queries()
    for name in ("b", "c", "d"):
        check_of(uploaded_version(name), window_end="1-0", score=0.4)
    assert queries() == few <= 12  # including those that begin and end the transaction


def test_jobs_are_shown(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*, seconds: float) -> None:
        raise ValueError("no")

    delete_old_ground_truth.apply()
    monkeypatch.setattr("performance.services.ground_truth.delete_old_ground_truth", fail)
    started_at = time.monotonic()
    delete_old_ground_truth.apply()
    elapsed_seconds = time.monotonic() - started_at
    job = JobRun.objects.get()
    assert (job.runs, job.failures, job.last_error) == (2, 1, "ValueError: no")
    shown = scrape(client)
    name = labels(job_name="performance.tasks.delete_old_ground_truth")
    assert job.last_success_at is not None
    assert shown["ml_job_last_success_timestamp_seconds", name] == pytest.approx(job.last_success_at.timestamp())
    assert shown["ml_job_duration_seconds", name] == job.last_duration_seconds
    assert 0 < shown["ml_job_duration_seconds", name] <= elapsed_seconds
    assert shown["ml_job_runs_total", name] == 2
    assert shown["ml_job_failures_total", name] == 1


def test_openmetrics_is_returned_if_accepted(client: Client) -> None:
    uploaded_version("classifier")
    response = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert response["Content-Type"].startswith("application/openmetrics-text")
    families = openmetrics_families(response.content.decode())  # type: ignore[no-untyped-call]
    assert samples(families)["ml_collector_success", ()] == 1


def test_every_state_metric_is_collected() -> None:
    collected = {family.name for family in text_families(StateText().render().decode())}
    assert collected == {metric.name.removesuffix("_total") for group in GROUPS for metric in group.metrics}


@pytest.mark.django_db(transaction=True)
def test_the_scrape_succeeds_without_the_database(client: Client) -> None:
    connection.close()
    settings = dict(connection.settings_dict)
    connection.settings_dict.update(PORT="1", HOST="127.0.0.1")  # no server listens there
    try:
        shown = samples(text_families(StateText().render().decode()))
        response = client.get("/readyz")
    finally:
        connection.settings_dict.update(settings)
        connection.close()
    assert shown == {("ml_collector_success", ()): 0}
    assert response.status_code == 503
    assert "database" in response.json()["problems"]


def test_ready_and_live(client: Client) -> None:
    uploaded_version("classifier")
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ok", "problems": {}}
