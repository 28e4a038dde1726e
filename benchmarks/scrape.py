"""A scrape of 100,000 state gauges: our text, with its queries, beside prometheus_client's own ways.

``python -m benchmarks.scrape [--json FILE]`` starts a PostgreSQL of its own and fills it with the newest checks of many
models. docs/benchmarks.md has the details.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from benchmarks.machine import library_versions, machine
from benchmarks.report import progress, seconds_text, table, write_json
from benchmarks.services import own_services
from benchmarks.timing import PairedTimes, paired, timed
from tests.services.postgresql import DURABLE

MODELS, FEATURES = 1_000, 25  # four gauges of each feature: 100,000
PAIRS = 15
BUDGET_SECONDS = 60.0
REQUIRED_RATIO = 0.15
ESTIMATE = "About a minute and a half."


@dataclass(frozen=True, slots=True)
class Figures:
    """What was found.

    Attributes
    ----------
    series
        Lines of the scrape that are no comments.
    first_seconds
        Of the first scrape of a process, which reads all rows.
    """

    series: int
    text_bytes: int
    first_seconds: float
    times: dict[str, PairedTimes]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parsed = _parser().parse_args(arguments)
    progress(ESTIMATE)
    with own_services(postgresql_settings=DURABLE):
        from benchmarks.scrape_rows import put_checks_in_place  # only now: it declares nothing before Django is set up

        progress(f"Storing a check of {parsed.features} features for each of {parsed.models:,} models …")
        put_checks_in_place(parsed.models, parsed.features)
        figures = measured(pairs=parsed.pairs)
    sys.stdout.write(text_of(figures))
    write_json(parsed.json, figures_of(figures))


def measured(*, pairs: int = PAIRS) -> Figures:
    """Return what a scrape takes; each side in turn, in pairs with ours."""
    from monitoring.state_text import StateText

    ours = StateText()
    first, text = timed(ours.render)
    rivals = {"families": _from_families(), "gauges": _from_gauges(text)}
    for rival in rivals.values():
        _check_same_series(text, rival())
    times = {
        name: paired(
            lambda: timed(ours.render)[0],
            lambda rival=rival: timed(rival)[0],  # type: ignore[misc]  # mypy takes the default for an argument
            pairs=pairs,
            budget_seconds=BUDGET_SECONDS,
        )
        for name, rival in rivals.items()
    }
    return Figures(len(_series(text)), len(text), first.seconds, times)


class _Families(Collector):
    """The families of a collector that reads its rows anew, as prometheus_client's guide shows."""

    def collect(self) -> Iterator[Metric]:
        from benchmarks.scrape_rows import newest_samples

        families: dict[str, GaugeMetricFamily] = {}
        for metric, labels, value in newest_samples():
            if value is None:
                continue
            family = families.get(metric.name)
            if family is None:
                family = GaugeMetricFamily(metric.name, metric.documentation, labels=metric.labels)
                families[metric.name] = family
            family.add_metric(labels, value)
        yield from families.values()

    def describe(self) -> list[Metric]:
        return []


def _from_families() -> Callable[[], bytes]:
    registry = CollectorRegistry()
    registry.register(_Families())
    return lambda: generate_latest(registry)


def _from_gauges(text: bytes) -> Callable[[], bytes]:
    """Return the writing of gauges that hold the same values in memory: no row is read at all."""
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


def _check_same_series(ours: bytes, theirs: bytes) -> None:
    missing = _series(ours) ^ _series(theirs)
    if missing:
        raise RuntimeError(f"The sides differ by {len(missing)} series, such as {min(missing)!r}.")


def figures_of(figures: Figures) -> dict[str, Any]:
    """Return the figures as they are written."""
    return {
        "series": figures.series,
        "text_bytes": figures.text_bytes,
        "first_seconds": figures.first_seconds,
        "ratios": {name: times.ratio.median for name, times in figures.times.items()},
        "required_ratio": REQUIRED_RATIO,
        "spreads": {name: asdict(times.ratio) for name, times in figures.times.items()},
        "ours_seconds": {name: asdict(times.ours_seconds) for name, times in figures.times.items()},
        "theirs_seconds": {name: asdict(times.theirs_seconds) for name, times in figures.times.items()},
        "machine": machine(),
        "libraries": library_versions("django", "prometheus-client", "psycopg"),
    }


def text_of(figures: Figures) -> str:
    """Return the figures for a person."""
    rows = [_row(name, times) for name, times in figures.times.items()]
    headers = ["beside prometheus_client's", "ours", "theirs", "ratio", "quartiles", f"at most {REQUIRED_RATIO:g}"]
    return (
        f"{figures.series:,} series, {figures.text_bytes / 1e6:.1f} MB of text; the first scrape of a process took "
        f"{seconds_text(figures.first_seconds)}\n\n{table(headers, rows)}\n\n"
        "families: a collector that reads the rows at each scrape. gauges: values that lie in memory.\n"
        "Ours includes its queries.\n"
    )


def _row(name: str, times: PairedTimes) -> list[str]:
    ratio = times.ratio
    return [
        name,
        seconds_text(times.ours_seconds.median),
        seconds_text(times.theirs_seconds.median),
        f"{ratio.median:.3g}",
        f"{ratio.lower_quartile:.3g} to {ratio.upper_quartile:.3g}",
        "met" if ratio.median <= REQUIRED_RATIO else "missed",
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scrape", description=__doc__, epilog=ESTIMATE)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--models", type=int, default=MODELS, help="%(default)s")
    parser.add_argument("--features", type=int, default=FEATURES, help="of each model (%(default)s)")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="of each comparison (%(default)s)")
    return parser


if __name__ == "__main__":
    main()
