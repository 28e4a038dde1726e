"""PromQL over the metrics of docs/metrics.md, and the alert thresholds that the dashboards draw.

Grafana replaces the variables, such as ``$job``, with the choices at the top of a dashboard.
"""

import re
from pathlib import Path

import yaml

RULES = Path(__file__).resolve().parents[1] / "prometheus" / "rules" / "alerts.yml"

JOB = 'job=~"$job"'
INSTANCE = 'instance=~"$instance"'
MODEL = 'model_name=~"$model_name"'
VERSION = f'{MODEL}, model_version=~"$model_version"'
FAILED = 'status="error"'
REJECTED = 'status="rejected"'
NOT_REJECTED = 'status!="rejected"'


def alert_limit(alert: str) -> float:
    """Return the first number that the expression of an alert in alerts.yml compares with."""
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    (expression,) = (rule["expr"] for rule in rules if rule["alert"] == alert)
    found = re.search(r"[<>] (\d+(?:\.\d+)?)\b", expression)
    if found is None:
        raise ValueError(f"{alert} compares with no number.")
    return float(found[1])


LATENCY_ALERT_SECONDS = alert_limit("HighPredictionLatency")
ERROR_ALERT_RATIO = alert_limit("HighErrorRate")
REJECTED_ALERT_RATIO = alert_limit("RequestsRejected")
CONFIDENCE_ALERT = alert_limit("LowConfidencePredictions")
JOB_AGE_ALERT_SECONDS = alert_limit("DriftJobStale")


def series(metric: str, *matchers: str) -> str:
    """Return the selector of a metric for the chosen jobs."""
    return f"{metric}{{{', '.join((JOB, *matchers))}}}"


def gauge(metric: str, *labels: str, matchers: tuple[str, ...] = (MODEL,)) -> str:
    """Return the value of a gauge that every replica reads from the same database: the maximum over the replicas."""
    return f"max by ({', '.join(labels or ('model_name',))}) ({series(metric, *matchers)})"


def rate(metric: str, *labels: str, matchers: tuple[str, ...] = (MODEL,)) -> str:
    """Return the increase per second of a counter, summed over the replicas."""
    return f"sum by ({', '.join(labels or ('model_name',))}) (rate({series(metric, *matchers)}[$__rate_interval]))"


def quantile(q: float, histogram: str, *labels: str, matchers: tuple[str, ...] = (MODEL,)) -> str:
    """Return a quantile of a histogram."""
    buckets = rate(f"{histogram}_bucket", "le", *(labels or ("model_name",)), matchers=matchers)
    return f"histogram_quantile({q:g}, {buckets})"


def ratio(part: str, whole: str) -> str:
    """Return a ratio without the points at which `whole` is 0, so that no panel draws NaN."""
    return f"{part} / ({whole} > 0)"
