"""The text of the state metrics equals prometheus_client's, and cached lines are replaced in time."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from cattrs import unstructure
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families
from prometheus_client.registry import Collector

from drift.models import DriftCheck, FeatureDrift
from mlmon.detection.performance import DropStatus, PerformanceDrop
from models_registry.models import Model, ModelVersion
from models_registry.services.versions import promote
from monitoring.metrics.declarations import FEATURE
from monitoring.metrics.exposition import StateText, lines_of, text_of
from performance.models import PerformanceReport, Period
from performance.tasks import delete_old_ground_truth
from tests.factories import uploaded_version
from tests.monitoring.test_exposition import check_of

DROP = PerformanceDrop(DropStatus.DROP, True, "the reference", 2000, 0.1, 1000, 0.2, 1e-9, 5e-5, 2, 1.0, None)


class Parsed(Collector):
    """Parsed families, for prometheus_client to write again."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def registry(families: Iterable[Metric]) -> CollectorRegistry:
    made = CollectorRegistry()
    made.register(Parsed(list(families)))
    return made


def written_by_prometheus_client(text: bytes) -> bytes:
    return generate_latest(registry(text_families(text.decode())))


def written_by_prometheus_client_as_openmetrics(text: bytes) -> bytes:
    families = openmetrics_families(text.decode() + "# EOF\n")  # type: ignore[no-untyped-call]
    written: bytes = generate_openmetrics(registry(families))  # type: ignore[no-untyped-call]
    return written.removesuffix(b"# EOF\n")


def report_of(version: ModelVersion, accuracy: float) -> PerformanceReport:
    now = timezone.now()
    return PerformanceReport.objects.create(
        version=version,
        period=Period.LATEST,
        started_at=now - timedelta(hours=1),
        ended_at=now,
        computed_at=now,
        predicted_rows=1000,
        labelled_rows=800,
        label_delay_seconds=3.5,
        realised={"accuracy": accuracy, "f1_score": 0.7},
        estimated={"accuracy": 0.9},
        drop=unstructure(DROP),
    )


@pytest.fixture
def monitored(db: None) -> ModelVersion:
    version = uploaded_version("classifier")
    check_of(version, window_end="1-0", score=0.4)
    report_of(version, 0.8)
    delete_old_ground_truth.apply()
    return version


def test_both_formats_equal_prometheus_clients(monitored: ModelVersion) -> None:
    text = StateText().render()
    assert text.count(b"\nml_") >= 20
    assert written_by_prometheus_client(text) == text
    openmetrics = StateText().render(openmetrics=True)
    assert written_by_prometheus_client_as_openmetrics(openmetrics) == openmetrics
    assert b"# TYPE ml_job_runs counter\n" in openmetrics


@given(st.text(), st.text(), st.floats(allow_nan=False))
def test_any_name_and_value_are_written_as_by_prometheus_client(model: str, feature: str, value: float) -> None:
    row = FeatureDrift(score=value, threshold=value, is_drifted=True, is_confirmed=False, missing_share=value)
    text = text_of([FEATURE], [lines_of([(FEATURE, (model, feature), row)])], openmetrics=False)
    families = []
    for metric in FEATURE.metrics:
        family = Metric(metric.name, metric.documentation, "gauge")
        sample = metric.value(row)
        assert sample is not None
        family.add_sample(metric.name, {"model_name": model, "feature_name": feature}, sample)
        families.append(family)
    assert text == generate_latest(registry(families))


def test_a_cached_check_is_not_read_again(monitored: ModelVersion) -> None:
    rendered = StateText()
    first = rendered.render()
    with CaptureQueriesContext(connection) as captured:
        assert rendered.render() == first
    assert not any(FeatureDrift._meta.db_table in query["sql"] for query in captured)
    assert not any("realised" in query["sql"] for query in captured)


def test_a_newer_check_replaces_the_cached_one(monitored: ModelVersion) -> None:
    rendered = StateText()
    assert b'ml_feature_drift_score{feature_name="sepal_length",model_name="classifier"} 0.4\n' in rendered.render()
    check_of(monitored, window_end="2-0", score=0.25)
    report_of(monitored, 0.5)
    text = rendered.render()
    assert b'ml_feature_drift_score{feature_name="sepal_length",model_name="classifier"} 0.25\n' in text
    assert b'ml_model_accuracy{model_name="classifier",model_version="1.0.0"} 0.5\n' in text
    assert text == StateText().render()
    DriftCheck.objects.all().delete()
    PerformanceReport.objects.all().delete()
    assert rendered.render() == StateText().render()


def test_changed_names_are_shown_at_once(monitored: ModelVersion) -> None:
    rendered = StateText()
    assert b'ml_performance_drop_confirmed{model_name="classifier"} 1.0\n' in rendered.render()
    Model.objects.update(name="renamed")
    text = rendered.render()
    assert b'ml_performance_drop_confirmed{model_name="renamed"} 1.0\n' in text
    assert b'"classifier"' not in text


def test_the_primary_version_shows_the_drop_of_its_model(monitored: ModelVersion) -> None:
    rendered = StateText()
    canary = uploaded_version("classifier", "2.0.0", production=False)
    report = report_of(canary, 0.9)
    PerformanceReport.objects.filter(pk=report.pk).update(drop=unstructure(replace(DROP, status=DropStatus.NO_DROP)))
    assert b'ml_performance_drop_confirmed{model_name="classifier"} 1.0\n' in rendered.render()
    promote(version=canary)
    text = rendered.render()
    assert text.count(b"ml_performance_drop_confirmed{") == 1
    assert b'ml_performance_drop_confirmed{model_name="classifier"} 0.0\n' in text
    report = report_of(canary, 0.9)
    unknown = unstructure(replace(DROP, status=DropStatus.INSUFFICIENT_DATA))
    PerformanceReport.objects.filter(pk=report.pk).update(drop=unknown)
    assert b"ml_performance_drop_confirmed{" not in rendered.render()


@pytest.mark.django_db(transaction=True)
def test_concurrent_scrapes_are_equal(monitored: ModelVersion) -> None:
    rendered = StateText()

    def scraped(_: int) -> bytes:
        try:
            return rendered.render()
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        texts = set(threads.map(scraped, range(20)))
    assert texts == {StateText().render()}
