"""What versions predict, and how sure they are, over the page's time as a whole."""

from collections.abc import Sequence
from dataclasses import dataclass

from drift.models import DriftCheck
from inference.traffic import CONFIDENCE_EDGES
from inference.traffic_history import TrafficSeries
from mlmon.schema import TaskType
from models_registry.models import ModelVersion
from monitoring.pages.figures import Figure, ratio_figure

MOST_CLASSES = 12


@dataclass(frozen=True, slots=True)
class Bar:
    """A share, and how long its bar is: percent of the longest."""

    figure: Figure
    percent: float


@dataclass(frozen=True, slots=True)
class ShareRow:
    """One class or one bin of confidence: a bar for each column of the table; None where a column has no figures."""

    name: str
    bars: list[Bar | None]


@dataclass(frozen=True, slots=True)
class ShareTable:
    """Shares by class or by bin of confidence, a column for the reference and for each version."""

    columns: list[str]
    rows: list[ShareRow]
    left_out: int = 0


def class_table(
    versions: Sequence[ModelVersion], traffic: dict[int, TrafficSeries], check: DriftCheck | None
) -> ShareTable | None:
    """Return the classes' shares on the reference (of the newest check) and by version; None without any."""
    columns: dict[str, dict[str, float]] = {}
    is_classifier = any(version.task_type != TaskType.REGRESSION for version in versions)
    if is_classifier and check is not None and check.result is not None:
        columns["reference"] = _shares(dict(check.result.prediction.reference_dist))
    for version in versions:
        series = traffic.get(version.pk)
        if series is not None and series.class_counts.any():
            counts = series.class_counts.sum(axis=0).tolist()
            columns[version.version] = _shares(dict(zip(version.classes, counts, strict=False)))
    names = sorted(
        {name for shares in columns.values() for name in shares},
        key=lambda name: -max(shares.get(name, 0.0) for shares in columns.values()),
    )
    table = _table(columns, names[:MOST_CLASSES])
    return None if table is None else ShareTable(table.columns, table.rows, max(0, len(names) - MOST_CLASSES))


def confidence_table(versions: Sequence[ModelVersion], traffic: dict[int, TrafficSeries]) -> ShareTable | None:
    """Return how sure versions were: shares of predictions by confidence; None without any."""
    names = [f"up to {edge:g}" for edge in CONFIDENCE_EDGES] + [f"above {CONFIDENCE_EDGES[-1]:g}"]
    counts = {
        version.version: traffic[version.pk].confidence_counts.sum(axis=0)
        for version in versions
        if version.pk in traffic
    }
    columns = {
        version: _shares(dict(zip(names, of_bins.tolist(), strict=True)))
        for version, of_bins in counts.items()
        if of_bins.any()
    }
    return _table(columns, [name for name in names if any(shares[name] for shares in columns.values())])


def _shares(counts: dict[str, float]) -> dict[str, float]:
    total = sum(counts.values())
    return {name: count / total for name, count in counts.items()} if total else {}


def _table(columns: dict[str, dict[str, float]], names: Sequence[str]) -> ShareTable | None:
    longest = max((shares.get(name, 0.0) for shares in columns.values() for name in names), default=0.0)
    if not longest:
        return None
    rows = [
        ShareRow(name, [_bar(shares.get(name, 0.0), longest) if shares else None for shares in columns.values()])
        for name in names
    ]
    return ShareTable(list(columns), rows)


def _bar(share: float, longest: float) -> Bar:
    return Bar(ratio_figure(share), 100 * share / longest)
