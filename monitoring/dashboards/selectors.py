"""PromQL over the declared metrics (docs/metrics.md), with the dashboards' variables filled in by Grafana."""

JOB = 'job=~"$job"'
MODEL = 'model_name=~"$model_name"'
VERSION = f'{MODEL}, model_version=~"$model_version"'
RATE = "[$__rate_interval]"


def of(metric: str, *matchers: str) -> str:
    """Return the selector of a metric's series at the chosen jobs."""
    chosen = ", ".join((JOB, *matchers))
    return f"{metric}{{{chosen}}}"


def state(metric: str, *labels: str, matchers: tuple[str, ...] = (MODEL,)) -> str:
    """Return a state gauge: every replica shows the same rows, so one of them is enough."""
    return f"max by ({', '.join(labels or ('model_name',))}) ({of(metric, *matchers)})"


def rate(metric: str, *labels: str, matchers: tuple[str, ...] = (MODEL,)) -> str:
    """Return how fast a counter grows, per second, over all replicas."""
    return f"sum by ({', '.join(labels or ('model_name',))}) (rate({of(metric, *matchers)}{RATE}))"


def quantile(share: float, histogram: str, *labels: str, matchers: tuple[str, ...] = (MODEL,)) -> str:
    """Return a quantile of what a histogram has counted."""
    buckets = rate(f"{histogram}_bucket", "le", *(labels or ("model_name",)), matchers=matchers)
    return f"histogram_quantile({share:g}, {buckets})"


def ratio(part: str, whole: str) -> str:
    """Return a share, and nothing where there is no whole: 0/0 is no number that a panel should draw."""
    return f"{part} / ({whole} > 0)"
