"""Checks of the past: the windows of archived observations, compared with the reference in force."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from drift.models import DriftCheck, DriftPolicy
from drift.selectors import policy_for
from drift.services.checks import store_check
from inference.archive import ArchivedRows, iterate_archive
from inference.selectors import archived_rows
from inference.stream import OBSERVED_AT_TYPE, Window
from models_registry.models import ModelVersion, ReferenceDataset


@dataclass(frozen=True, slots=True)
class BackfillRequest:
    """What to check.

    Attributes
    ----------
    reference
        That every window is compared with, whenever its rows were observed.
    since, until
        Only windows that end between these times; `until` is not included. None: without that bound.
    every_rows
        A window ends at each so-manieth row of the stream.
    """

    version: ModelVersion
    reference: ReferenceDataset
    every_rows: int
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class BackfillStep:
    """What one window, or a stretch of rows without the end of one, came to.

    Attributes
    ----------
    rows
        Archived rows that were passed.
    check
        The new check; None where there was none to make.
    was_there
        Whether an earlier run has made it.
    """

    rows: int
    check: DriftCheck | None = None
    was_there: bool = False


def rows_to_backfill(request: BackfillRequest) -> int:
    """Return how many archived rows a backfill passes."""
    return archived_rows(request.version.pk, since=request.since, until=request.until)


def backfill(request: BackfillRequest) -> Iterator[BackfillStep]:
    """Check the archived windows in the order of their rows, each once; a check is stored before the next one starts.

    So it can be stopped at any time, and goes on where it stopped. The ends of the windows are places in the stream,
    not times of running: a second run finds what the first has made.
    """
    policy = policy_for(request.version.model)
    made = set(
        DriftCheck.objects.filter(version=request.version, is_backfilled=True).values_list("window_end", flat=True)
    )
    kept = pa.table({})
    for part in iterate_archive(request.version.pk, since=request.since, until=request.until):
        kept = _joined(kept, part.table)
        passed = 0
        for rows in _ends_in(part, request.every_rows):
            yield _step(request, policy, made, _window_at(request, policy, kept, part, rows), rows - passed)
            passed = rows
        yield BackfillStep(part.table.num_rows - passed)
        kept = kept.slice(max(0, kept.num_rows - policy.longest_window_rows))


def _step(request: BackfillRequest, policy: DriftPolicy, made: set[str], window: Window, rows: int) -> BackfillStep:
    if window.end_id in made:
        return BackfillStep(rows, was_there=True)
    if window.table.num_rows < policy.minimum_rows or not _is_wanted(request, window):
        return BackfillStep(rows)
    check = store_check(request.version, request.reference, window, policy, is_backfilled=True)
    return BackfillStep(rows, check, was_there=check is None)


def _joined(kept: pa.Table, newer: pa.Table) -> pa.Table:
    """Return both; without the older rows where these have other columns."""
    return pa.concat_tables([kept, newer]) if kept.schema.equals(newer.schema) else newer


def _ends_in(part: ArchivedRows, every_rows: int) -> range:
    """Return after how many of a part's rows a window ends."""
    before = part.first.row - 1
    return range(every_rows - before % every_rows, part.table.num_rows + 1, every_rows)


def _window_at(request: BackfillRequest, policy: DriftPolicy, kept: pa.Table, part: ArchivedRows, rows: int) -> Window:
    """Return the window that ends after `rows` of the part that `kept` ends with."""
    end = kept.num_rows - part.table.num_rows + rows
    table = kept.slice(max(0, end - policy.longest_window_rows), min(end, policy.longest_window_rows))
    observed_at = table.column("observed_at")
    newest: Any = observed_at[-1].as_py()
    oldest = policy.oldest_observed_at(newest)
    if oldest is not None:
        table = table.filter(pc.greater_equal(observed_at, pa.scalar(oldest, OBSERVED_AT_TYPE)))
    row = part.first.row + rows - 1
    end_id = f"archive-{part.first.stream_number}-{row}-reference-{request.reference.pk}"
    return Window(table=table, end_id=end_id, rows_seen=row)


def _is_wanted(request: BackfillRequest, window: Window) -> bool:
    ended_at: Any = window.table.column("observed_at")[-1].as_py()
    return (request.since is None or ended_at >= request.since) and (request.until is None or ended_at < request.until)
