"""The state metrics as text, read from their rows at each scrape.

They are never set inside a Celery process: so they survive restarts, are the same from every replica, and vanish when
a version is archived. Rows of a check or a report never change once they are written: their lines are made once and
kept while the row is the newest.
"""

import logging
from collections.abc import Iterable, Iterator

from django.db import DatabaseError, connection, transaction
from prometheus_client.utils import floatToGoString

from drift.models import DriftCheck, FeatureDrift
from monitoring import selectors, state_metrics
from monitoring.models import JobRun
from monitoring.selectors import NewestCheck
from monitoring.state_metrics import StateMetric
from performance.models import PerformanceReport
from performance.selectors import LatestReport, latest_reports_of_served_versions, reports_by_id

logger = logging.getLogger(__name__)

LONGEST_QUERY_MS = 2_000

Lines = dict[StateMetric, bytes]  # of each metric its samples, a line each
Sample = tuple[StateMetric, tuple[str, ...], float | None]  # the values of its labels, its own value (None: no sample)


class StateText:
    """Renders models, drift, performance and jobs; without the database only ``ml_collector_success 0``.

    Safe for several threads: what is kept is replaced as a whole.
    """

    def __init__(self) -> None:
        self._of_checks: dict[NewestCheck, Lines] = {}
        self._of_reports: dict[LatestReport, Lines] = {}

    def render(self, *, openmetrics: bool = False) -> bytes:
        """Return the text, without OpenMetrics' last line."""
        try:
            with transaction.atomic():
                _limit_queries()
                parts = [_models(), *self._drift(), *self._performance(), _jobs()]
        except DatabaseError as error:
            logger.warning("The scrape is without the database's series: %s", error)
            failed = _lines([(state_metrics.COLLECTOR_SUCCESS, (), 0)])
            return _text([state_metrics.COLLECTOR_SUCCESS], [failed], openmetrics=openmetrics)
        parts.append(_lines([(state_metrics.COLLECTOR_SUCCESS, (), 1)]))
        return _text(state_metrics.ALL, parts, openmetrics=openmetrics)

    def _drift(self) -> list[Lines]:
        newest = selectors.newest_checks_of_primary_versions()
        kept = {check: self._of_checks[check] for check in newest if check in self._of_checks}
        self._of_checks = kept | _lines_of_checks([check for check in newest if check not in kept])
        return [*self._of_checks.values(), _incidents(newest)]

    def _performance(self) -> list[Lines]:
        newest = latest_reports_of_served_versions()
        kept = {report: self._of_reports[report] for report in newest if report in self._of_reports}
        self._of_reports = kept | _lines_of_reports([report for report in newest if report not in kept])
        return list(self._of_reports.values())


def _limit_queries() -> None:
    """Let PostgreSQL end each query of this transaction in time for the scrape (SQLite has nobody to wait for)."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = %s", [LONGEST_QUERY_MS])


def _models() -> Lines:
    return _lines((state_metrics.MODEL_INFO, row, 1) for row in selectors.version_infos())


def _incidents(checks: list[NewestCheck]) -> Lines:
    alerting = selectors.versions_with_alerting_incidents()
    return _lines(
        (state_metrics.DRIFT_INCIDENT_OPEN, (check.model_name,), check.version_id in alerting) for check in checks
    )


def _lines_of_checks(wanted: list[NewestCheck]) -> dict[NewestCheck, Lines]:
    if not wanted:
        return {}
    rows = selectors.checks([check.pk for check in wanted])
    features = selectors.feature_results([check.pk for check in wanted])
    return {
        check: _lines(
            [
                *samples_of_check(check.model_name, rows[check.pk]),
                *(sample for row in features[check.pk] for sample in samples_of_feature(check.model_name, row)),
            ]
        )
        for check in wanted
        if check.pk in rows
    }


def samples_of_check(model_name: str, check: DriftCheck) -> Iterator[Sample]:
    labels = (model_name,)
    yield state_metrics.DRIFT_WINDOW_ROWS, labels, check.n_current
    yield state_metrics.DRIFT_REFERENCE_ROWS, labels, check.n_reference
    if check.prediction_js_divergence is not None:
        yield state_metrics.PREDICTION_DRIFT_SCORE, labels, check.prediction_js_divergence
        yield state_metrics.PREDICTION_DRIFT_THRESHOLD, labels, check.prediction_threshold
        yield state_metrics.PREDICTION_DRIFT_DETECTED, labels, check.prediction_is_drifted


def samples_of_feature(model_name: str, row: FeatureDrift) -> Iterator[Sample]:
    labels = (model_name, row.feature_name)
    yield state_metrics.FEATURE_DRIFT_CONFIRMED, labels, row.is_confirmed
    if row.score is not None:
        yield state_metrics.FEATURE_DRIFT_SCORE, labels, row.score
        yield state_metrics.FEATURE_DRIFT_THRESHOLD, labels, row.threshold
        yield state_metrics.FEATURE_DRIFT_DETECTED, labels, row.is_drifted


def _lines_of_reports(wanted: list[LatestReport]) -> dict[LatestReport, Lines]:
    if not wanted:
        return {}
    rows = reports_by_id([report.pk for report in wanted])
    return {report: _lines(_samples_of_report(report, rows[report.pk])) for report in wanted if report.pk in rows}


def _samples_of_report(newest: LatestReport, report: PerformanceReport) -> Iterator[Sample]:
    labels = (newest.model_name, newest.model_version)
    for name, metric in state_metrics.PERFORMANCE.items():
        yield metric, labels, (report.realised or {}).get(name)
    for name, metric in state_metrics.ESTIMATED_PERFORMANCE.items():
        yield metric, labels, (report.estimated or {}).get(name)
    yield state_metrics.LABELLED_ROWS, labels, report.labelled_rows
    yield state_metrics.LABEL_COVERAGE, labels, report.label_coverage
    yield state_metrics.LABEL_DELAY, labels, report.label_delay_seconds
    yield state_metrics.PERFORMANCE_DROP, labels, report.drop
    if report.drop is not None:
        yield state_metrics.PERFORMANCE_DROP_THRESHOLD, labels, newest.largest_drop


def _jobs() -> Lines:
    return _lines(sample for job in selectors.job_runs() for sample in _samples_of_job(job))


def _samples_of_job(job: JobRun) -> Iterator[Sample]:
    labels = (job.job_name,)
    if job.last_success_at is not None:
        yield state_metrics.JOB_LAST_SUCCESS, labels, job.last_success_at.timestamp()
    yield state_metrics.JOB_DURATION, labels, job.last_duration_seconds
    yield state_metrics.JOB_RUNS, labels, job.runs
    yield state_metrics.JOB_FAILURES, labels, job.failures


def _lines(samples: Iterable[Sample]) -> Lines:
    found: dict[StateMetric, list[str]] = {}
    for metric, labels, value in samples:
        if value is not None:
            text = f"{metric.name}{_labels_text(metric, labels)} {floatToGoString(value)}\n"  # type: ignore[no-untyped-call]
            found.setdefault(metric, []).append(text)
    return {metric: "".join(lines).encode() for metric, lines in found.items()}


def _labels_text(metric: StateMetric, labels: tuple[str, ...]) -> str:
    pairs = sorted(zip(metric.labels, labels, strict=True))
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs) + "}" if pairs else ""


def _escaped(value: str) -> str:
    """Return a label's value as both formats write it."""
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _text(metrics: Iterable[StateMetric], parts: list[Lines], *, openmetrics: bool) -> bytes:
    return b"".join(
        piece
        for metric in metrics
        for piece in (_header(metric, openmetrics=openmetrics), *(part[metric] for part in parts if metric in part))
    )


def _header(metric: StateMetric, *, openmetrics: bool) -> bytes:
    name = metric.name.removesuffix("_total") if openmetrics else metric.name
    return f"# HELP {name} {metric.documentation}\n# TYPE {name} {metric.kind}\n".encode()
