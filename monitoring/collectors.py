"""Gauges that jobs computed, read from their rows at each scrape.

They are never set inside a Celery process: so they survive restarts, are the same from every replica, and vanish when
a version is archived.
"""

import logging
from collections.abc import Iterable, Iterator

from django.db import DatabaseError
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from drift.models import DriftCheck, FeatureDrift
from monitoring import selectors, state_metrics
from monitoring.state_metrics import StateGauge

logger = logging.getLogger(__name__)


class StateCollector(Collector):
    """Reads models, drift and jobs; where the database does not answer, only ``ml_collector_success 0`` is left."""

    def collect(self) -> Iterator[Metric]:
        try:
            families = [*_models(), *_drift(), *_performance(), *_jobs()]
        except DatabaseError as error:
            logger.warning("The scrape is without the database's series: %s", error)
            yield _family(state_metrics.COLLECTOR_SUCCESS, [((), 0)])
            return
        yield from families
        yield _family(state_metrics.COLLECTOR_SUCCESS, [((), 1)])

    def describe(self) -> list[Metric]:
        return []  # asking for names at registration would read the database


def _models() -> Iterator[Metric]:
    yield _family(
        state_metrics.MODEL_INFO,
        [((row.model.name, row.version, row.framework, row.stage), 1) for row in selectors.served_versions()],
    )


def _drift() -> Iterator[Metric]:
    checks = {check.pk: check for check in selectors.latest_checks_of_primary_versions()}
    yield from _prediction_drift(list(checks.values()))
    yield _incidents(list(checks.values()))
    yield from _feature_drift(
        [
            ((checks[row.check_run_id].version.model.name, row.feature_name), row)
            for row in selectors.feature_results(list(checks.values()))
        ]
    )


def _prediction_drift(checks: list[DriftCheck]) -> Iterator[Metric]:
    named = [((check.version.model.name,), check) for check in checks]
    scored = [(labels, check) for labels, check in named if check.prediction_js_divergence is not None]
    yield _family(
        state_metrics.PREDICTION_DRIFT_SCORE, [(labels, check.prediction_js_divergence) for labels, check in scored]
    )
    yield _family(
        state_metrics.PREDICTION_DRIFT_THRESHOLD, [(labels, check.prediction_threshold) for labels, check in scored]
    )
    yield _family(
        state_metrics.PREDICTION_DRIFT_DETECTED, [(labels, check.prediction_is_drifted) for labels, check in scored]
    )
    yield _family(state_metrics.DRIFT_WINDOW_ROWS, [(labels, check.n_current) for labels, check in named])
    yield _family(state_metrics.DRIFT_REFERENCE_ROWS, [(labels, check.n_reference) for labels, check in named])


def _incidents(checks: list[DriftCheck]) -> Metric:
    alerting = selectors.versions_with_alerting_incidents()
    samples = [((check.version.model.name,), check.version_id in alerting) for check in checks]
    return _family(state_metrics.DRIFT_INCIDENT_OPEN, samples)


def _feature_drift(named: list[tuple[tuple[str, str], FeatureDrift]]) -> Iterator[Metric]:
    scored = [(labels, row) for labels, row in named if row.score is not None]
    yield _family(state_metrics.FEATURE_DRIFT_SCORE, [(labels, row.score) for labels, row in scored])
    yield _family(state_metrics.FEATURE_DRIFT_THRESHOLD, [(labels, row.threshold) for labels, row in scored])
    yield _family(state_metrics.FEATURE_DRIFT_DETECTED, [(labels, row.is_drifted) for labels, row in scored])
    yield _family(state_metrics.FEATURE_DRIFT_CONFIRMED, [(labels, row.is_confirmed) for labels, row in named])


def _performance() -> Iterator[Metric]:
    reports = [
        ((report.version.model.name, report.version.version), report)
        for report in selectors.newest_performance_of_served_versions()
    ]
    for name, gauge in state_metrics.PERFORMANCE.items():
        yield _family(gauge, [(labels, (report.realised or {}).get(name)) for labels, report in reports])
    for name, gauge in state_metrics.ESTIMATED_PERFORMANCE.items():
        yield _family(gauge, [(labels, (report.estimated or {}).get(name)) for labels, report in reports])
    yield _family(state_metrics.LABELLED_ROWS, [(labels, report.labelled_rows) for labels, report in reports])
    yield _family(state_metrics.LABEL_COVERAGE, [(labels, report.label_coverage) for labels, report in reports])
    yield _family(state_metrics.LABEL_DELAY, [(labels, report.label_delay_seconds) for labels, report in reports])
    yield _family(state_metrics.PERFORMANCE_DROP, [(labels, report.drop) for labels, report in reports])
    yield _family(
        state_metrics.PERFORMANCE_DROP_THRESHOLD,
        [
            (labels, selectors.performance_policy_of(report.version.model).largest_drop)
            for labels, report in reports
            if report.drop is not None
        ],
    )


def _jobs() -> Iterator[Metric]:
    jobs = list(selectors.job_runs())
    yield _family(
        state_metrics.JOB_LAST_SUCCESS,
        [((job.job_name,), job.last_success_at.timestamp()) for job in jobs if job.last_success_at],
    )
    yield _family(state_metrics.JOB_DURATION, [((job.job_name,), job.last_duration_seconds) for job in jobs])


def _family(gauge: StateGauge, samples: Iterable[tuple[tuple[str, ...], float | None]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(gauge.name, gauge.documentation, labels=gauge.labels)
    for labels, value in samples:
        if value is not None:
            family.add_metric(labels, float(value))
    return family
