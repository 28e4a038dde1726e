"""The text that Prometheus scrapes: the metrics of all processes, and the declared metrics, read from the database.

No Celery process sets the declared metrics. So they survive restarts, are the same on every replica, and disappear when
a version is archived. Checks and reports never change after they are written, so their lines are cached as long as they
are the latest.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from django.db import DatabaseError, connection, transaction
from prometheus_client import REGISTRY, CollectorRegistry, PlatformCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.utils import floatToGoString

from drift.models import DriftCheck
from mlmon.detection.performance import DropStatus
from mlmon.rollout_evidence import limit_log10
from models_registry.models import ModelVersion
from models_registry.selectors import served_versions
from monitoring import selectors
from monitoring.metrics import declarations
from monitoring.metrics.collectors import (
    GpuCollector,
    TaskQueueCollector,
    WebProcessCollector,
    WorkerCountsCollector,
)
from monitoring.metrics.declarations import MeasuredVersion, MetricGroup, StateMetric
from monitoring.metrics.slots import DIRECTORY_VARIABLE
from monitoring.models import JobRun
from monitoring.selectors import LatestCheck
from performance.models import PerformanceReport
from performance.selectors import LatestReport, latest_reports_of_served_versions, reports_by_id
from rollouts.models import Rollout
from rollouts.selectors import latest_rollouts

logger = logging.getLogger(__name__)

LONGEST_QUERY_MS = 2_000
END_OF_OPENMETRICS = b"# EOF\n"
ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})  # in the values of labels, in both formats

Sampled = tuple[MetricGroup[Any], tuple[str, ...], Any]  # a group, the values of its labels, and a row
Lines = dict[StateMetric[Any], bytes]  # the samples of each metric, one line each


class StateText:
    """Renders models, drift, performance, rollouts and jobs.

    Without the database, the text has only ``ml_collector_success 0``.

    Safe for several threads: the caches are replaced as a whole.
    """

    def __init__(self) -> None:
        self._checks: dict[LatestCheck, Lines] = {}
        self._reports: dict[LatestReport, Lines] = {}

    def render(self, *, openmetrics: bool = False) -> bytes:
        """Return the text without the last line of OpenMetrics."""
        try:
            with transaction.atomic():
                if connection.vendor == "postgresql":
                    with connection.cursor() as cursor:
                        cursor.execute("SET LOCAL statement_timeout = %s", [LONGEST_QUERY_MS])
                versions = list(samples_of_versions(list(served_versions())))
                rollouts = [sample for one in latest_rollouts() for sample in samples_of_rollout(one)]
                jobs = [(declarations.JOB, (job.job_name,), job) for job in JobRun.objects.all()]
                parts = [*self._drift(), *self._performance(), lines_of([*versions, *rollouts, *jobs])]
        except DatabaseError as error:
            logger.warning("The scrape lacks the series of the database: %s", error)
            parts = [lines_of([(declarations.SCRAPE, (), False)])]
            return text_of([declarations.SCRAPE], parts, openmetrics=openmetrics)
        parts.append(lines_of([(declarations.SCRAPE, (), True)]))
        return text_of(declarations.GROUPS, parts, openmetrics=openmetrics)

    def _drift(self) -> list[Lines]:
        latest = selectors.latest_checks_of_primary_versions()
        kept = {check: self._checks[check] for check in latest if check in self._checks}
        new = [check for check in latest if check not in kept]
        rows = selectors.checks_with_features([check.pk for check in new])
        for check in new:
            if check.pk in rows:
                kept[check] = lines_of(samples_of_check(check.model_name, rows[check.pk]))
        self._checks = kept
        alerting = selectors.versions_with_alerting_incidents()
        incidents = [(declarations.INCIDENT, (check.model_name,), check.version_id in alerting) for check in latest]
        return [*self._checks.values(), lines_of(incidents)]

    def _performance(self) -> list[Lines]:
        latest = latest_reports_of_served_versions()
        kept = {report: self._reports[report] for report in latest if report in self._reports}
        new = [report for report in latest if report not in kept]
        rows = reports_by_id([report.pk for report in new]) if new else {}
        for one in new:
            if one.pk in rows:
                kept[one] = lines_of(samples_of_report(one, rows[one.pk]))
        self._reports = kept
        return list(self._reports.values())


def samples_of_versions(versions: Sequence[ModelVersion]) -> Iterator[Sampled]:
    """Yield the rows of versions that are not archived; those served elsewhere get no requests here."""
    totals: Counter[str] = Counter()
    for one in versions:
        totals[one.model.name] += one.traffic_weight * one.is_served_here
    for one in versions:
        name = one.model.name
        yield declarations.MODEL_VERSION, (name, one.version, one.framework, one.stage), None
        if totals[name]:
            yield declarations.TRAFFIC, (name, one.version), one.traffic_weight * one.is_served_here / totals[name]


def samples_of_rollout(rollout: Rollout) -> Iterator[Sampled]:
    """Yield the rows of the latest rollout of a model; a draft has none."""
    model_name, limit = rollout.model.name, limit_log10(len(rollout.guardrails), rollout.alpha)
    yield declarations.ROLLOUT, (model_name, rollout.state), rollout
    yield declarations.ROLLOUT_PROGRESS, (model_name,), rollout
    for measure, log10_evidence in rollout.evidence:
        yield declarations.ROLLOUT_EVIDENCE, (model_name, measure.value), (log10_evidence, limit)


def samples_of_check(model_name: str, check: DriftCheck) -> Iterator[Sampled]:
    """Yield the rows of a check: the check itself and its features."""
    yield declarations.CHECK, (model_name,), check
    for row in check.features.all():
        yield declarations.FEATURE, (model_name, row.feature_name), row


def samples_of_report(latest: LatestReport, report: PerformanceReport) -> Iterator[Sampled]:
    """Yield the rows of a report: its figures, and its drop if it is judged and the version is the primary one."""
    row = MeasuredVersion(report, report.realised or {}, report.estimated or {})
    yield declarations.REPORT, (latest.model_name, latest.model_version), row
    drop = report.judged_drop
    if latest.is_primary and drop is not None and drop.status != DropStatus.INSUFFICIENT_DATA:
        yield declarations.PERFORMANCE_DROP, (latest.model_name,), drop


def lines_of(sampled: Iterable[Sampled]) -> Lines:
    """Return the lines of rows, by metric."""
    found: dict[StateMetric[Any], list[str]] = {}
    for group, values, row in sampled:
        pairs = ",".join(
            f'{name}="{value.translate(ESCAPES)}"' for name, value in sorted(zip(group.labels, values, strict=True))
        )
        labels = f"{{{pairs}}}" if pairs else ""
        for metric in group.metrics:
            value = metric.value(row)
            if value is not None:
                line = f"{metric.name}{labels} {floatToGoString(value)}\n"  # type: ignore[no-untyped-call]
                found.setdefault(metric, []).append(line)
    return {metric: "".join(lines).encode() for metric, lines in found.items()}


def text_of(groups: Iterable[MetricGroup[Any]], parts: list[Lines], *, openmetrics: bool) -> bytes:
    """Return the text of the metrics of `groups`, each with its header, in Prometheus' or OpenMetrics' format."""
    pieces: list[bytes] = []
    for metric in (metric for group in groups for metric in group.metrics):
        name = metric.name.removesuffix("_total") if openmetrics else metric.name
        pieces.append(f"# HELP {name} {metric.documentation}\n# TYPE {name} {metric.kind}\n".encode())
        pieces += [part[metric] for part in parts if metric in part]
    return b"".join(pieces)


_state_text = StateText()


def render_metrics(accept: str, *, directory: Path | None = None) -> tuple[bytes, str]:
    """Return the metrics of all worker processes, and the content type chosen by `accept` (text or OpenMetrics).

    A client that asks for doubled underscores (``escaping=dots``) is told that nothing is escaped, because no name
    needs it.

    Parameters
    ----------
    directory
        Folder of the workers' files; by default that of the server that this process belongs to, or else the metrics
        of this process.
    """
    encode, content_type = choose_encoder(accept.replace("escaping=dots", "escaping=underscores"))
    if directory is None and os.environ.get(DIRECTORY_VARIABLE):
        directory = Path(os.environ[DIRECTORY_VARIABLE])
    registry = CollectorRegistry()
    if directory is not None:
        registry.register(WorkerCountsCollector(directory))
        registry.register(WebProcessCollector(directory))
        PlatformCollector(registry=registry)  # registers itself
    else:
        registry.register(REGISTRY)
    registry.register(GpuCollector())
    registry.register(TaskQueueCollector())
    text = encode(registry)
    is_openmetrics = text.endswith(END_OF_OPENMETRICS)
    state = _state_text.render(openmetrics=is_openmetrics)
    return text.removesuffix(END_OF_OPENMETRICS) + state + END_OF_OPENMETRICS * is_openmetrics, content_type
