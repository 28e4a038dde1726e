"""PromQL over the metrics of docs/metrics.md, and the alert thresholds that the dashboards draw.

Grafana replaces the variables, such as ``$job``, with the choices at the top of a dashboard.
"""

JOB = 'job=~"$job"'
INSTANCE = 'instance=~"$instance"'
MODEL = 'model_name=~"$model_name"'
VERSION = f'{MODEL}, model_version=~"$model_version"'
FAILED = 'status="error"'
NOT_REJECTED = 'status!="rejected"'

# As in the rules of monitoring/prometheus/rules/alerts.yml.
LATENCY_ALERT_SECONDS = 0.5
ERROR_ALERT_RATIO = 0.05
CONFIDENCE_ALERT = 0.6
JOB_AGE_ALERT_SECONDS = 600


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
