"""How long a scrape of 100,000 state gauges takes: our text with its queries, compared with prometheus_client.

``python -m benchmarks.scrape [--json FILE]`` starts PostgreSQL and fills it with the latest checks of many models.
docs/benchmarks.md has the details.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from benchmarks.report import argument_parser, conditions, progress, seconds_text, table, write_json
from benchmarks.services import own_services
from benchmarks.timing import PairedTimes, paired_calls, spread_text, timed
from tests.services.postgresql import DURABLE

MODELS, FEATURES = 1_000, 25  # each feature has four gauges: 100,000
PAIRS = 15
BUDGET_SECONDS = 60.0
REQUIRED_RATIO = 0.15
DURATION = "Takes about a minute and a half."


@dataclass(frozen=True, slots=True)
class Results:
    """Results of the benchmark.

    Attributes
    ----------
    series
        Number of samples in a scrape.
    first_seconds
        Duration of the first scrape of a process, which reads all rows.
    """

    series: int
    text_bytes: int
    first_seconds: float
    times: dict[str, PairedTimes]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argument_parser("scrape", __doc__, DURATION)
    parser.add_argument("--models", type=int, default=MODELS, help="%(default)s")
    parser.add_argument("--features", type=int, default=FEATURES, help="of each model (%(default)s)")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="at most, for each comparison (%(default)s)")
    parsed = parser.parse_args(arguments)
    progress(DURATION)
    with own_services(postgresql_settings=DURABLE):
        from benchmarks.scrape_rows import create_checks

        progress(f"Storing a check of {parsed.features} features for each of {parsed.models:,} models …")
        create_checks(parsed.models, parsed.features)
        results = measured(pairs=parsed.pairs)
    sys.stdout.write(text_of(results))
    write_json(parsed.json, figures_of(results))


def measured(*, pairs: int = PAIRS) -> Results:
    """Return the durations of our scrape in pairs with each of the others."""
    from monitoring.metrics.exposition import StateText

    ours = StateText()
    first, text = timed(ours.render)
    times = {}
    for name, other in {"families": _families_renderer(), "gauges": _gauges_renderer(text)}.items():
        difference = _series(text) ^ _series(other())
        if difference:
            raise RuntimeError(f"{name} differs in {len(difference)} series, such as {min(difference)!r}.")
        times[name] = paired_calls(ours.render, other, pairs=pairs, budget_seconds=BUDGET_SECONDS)
    return Results(len(_series(text)), len(text), first.seconds, times)


class _Families(Collector):
    """A collector that reads its rows at each scrape, as in the guide of prometheus_client."""

    def collect(self) -> Iterator[Metric]:
        from benchmarks.scrape_rows import latest_samples

        families: dict[str, GaugeMetricFamily] = {}
        for metric, group, labels, value in latest_samples():
            if value is None:
                continue
            family = families.get(metric.name)
            if family is None:
                family = GaugeMetricFamily(metric.name, metric.documentation, labels=group.labels)
                families[metric.name] = family
            family.add_metric(labels, value)
        yield from families.values()

    def describe(self) -> list[Metric]:
        return []


def _families_renderer() -> Callable[[], bytes]:
    registry = CollectorRegistry()
    registry.register(_Families())
    return lambda: generate_latest(registry)


def _gauges_renderer(text: bytes) -> Callable[[], bytes]:
    """Return the rendering of gauges that hold the values of `text` in memory, without any query."""
    registry = CollectorRegistry()
    for family in text_string_to_metric_families(text.decode()):
        if not family.samples:
            continue
        gauge = Gauge(family.name, family.documentation, sorted(family.samples[0].labels), registry=registry)
        for sample in family.samples:
            (gauge.labels(**sample.labels) if sample.labels else gauge).set(sample.value)
    return lambda: generate_latest(registry)


def _series(text: bytes) -> set[bytes]:
    return {line for line in text.splitlines() if not line.startswith(b"#")}


def figures_of(results: Results) -> dict[str, Any]:
    """Return the results for the JSON file."""
    return {
        "series": results.series,
        "text_bytes": results.text_bytes,
        "first_seconds": results.first_seconds,
        "ratios": {name: times.ratio.median for name, times in results.times.items()},
        "required_ratio": REQUIRED_RATIO,
        "spreads": {name: asdict(times.ratio) for name, times in results.times.items()},
        "ours_seconds": {name: asdict(times.ours_seconds) for name, times in results.times.items()},
        "theirs_seconds": {name: asdict(times.theirs_seconds) for name, times in results.times.items()},
        **conditions("django", "prometheus-client", "psycopg"),
    }


def text_of(results: Results) -> str:
    """Return the results for a person."""
    headings = ["prometheus_client's", "ours", "theirs", "ratio", "quartiles", f"at most {REQUIRED_RATIO:g}"]
    rows = [
        [
            name,
            seconds_text(times.ours_seconds.median),
            seconds_text(times.theirs_seconds.median),
            f"{times.ratio.median:.3g}",
            spread_text(times.ratio),
            "met" if times.ratio.median <= REQUIRED_RATIO else "missed",
        ]
        for name, times in results.times.items()
    ]
    return (
        f"{results.series:,} series, {results.text_bytes / 1e6:.1f} MB of text; the first scrape of a process took "
        f"{seconds_text(results.first_seconds)}\n\n{table(headings, rows)}\n\n"
        "families: a collector that reads the rows at each scrape. gauges: values in memory.\n"
        "Ours includes its queries.\n"
    )


if __name__ == "__main__":
    main()
