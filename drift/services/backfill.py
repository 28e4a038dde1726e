"""Checks of the past: windows of archived observations, compared with the active reference.

Windows that an earlier edition of the verdict's rule has checked get a check of the present edition beside it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from django.db.models import Exists, OuterRef, QuerySet, Sum

from drift.models import CheckStatus, DriftCheck, DriftPolicy
from drift.selectors import policy_for
from drift.services.checks import store_check
from inference.archive import ArchivedRows, iterate_archive, read_observations
from inference.selectors import chunks_between
from inference.stream import OBSERVED_AT_TYPE, Window
from mlmon.verdict import RULE_EDITION
from models_registry.models import ModelVersion, ReferenceDataset


@dataclass(frozen=True, slots=True)
class BackfillRequest:
    """What to check.

    Attributes
    ----------
    reference
        The reference that every window is compared with.
    since, until
        Only windows that end at `since` or later, and before `until`. None: no limit.
    every_rows
        A window ends after every so many rows of the stream.
    """

    version: ModelVersion
    reference: ReferenceDataset
    every_rows: int
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class BackfillStep:
    """The outcome of one window, or of rows without the end of one.

    Attributes
    ----------
    rows
        Archived rows that were processed.
    check
        The new check, or None.
    was_there
        Whether an earlier run has already checked the window.
    earlier
        The check of the same window by an earlier edition of the rule.
    """

    rows: int
    check: DriftCheck | None = None
    was_there: bool = False
    earlier: DriftCheck | None = None


def rows_to_backfill(request: BackfillRequest) -> int:
    """Return how many archived rows a backfill processes."""
    chunks = chunks_between(request.version.pk, request.since, request.until)
    return chunks.aggregate(rows=Sum("rows"))["rows"] or 0


def backfill(request: BackfillRequest) -> Iterator[BackfillStep]:
    """Check the archived windows in the order of their rows, each once, and store each check before the next one.

    A backfill can be stopped at any time and continued later: the ends of the windows are places in the stream, so a
    second run finds the checks of the first.
    """
    policy, every_rows = policy_for(request.version.model), request.every_rows
    made = set(
        DriftCheck.objects.filter(version=request.version, is_backfilled=True, rule_edition=RULE_EDITION).values_list(
            "window_end", flat=True
        )
    )
    earlier = DriftCheck.objects.filter(version=request.version, is_backfilled=True, rule_edition__lt=RULE_EDITION)
    latest_earlier = {check.window_end: check for check in earlier.defer("result").order_by("rule_edition")}
    kept = pa.table({})
    for part in iterate_archive(request.version.pk, since=request.since, until=request.until):
        # A window has rows of one schema: those before a change are dropped.
        kept = pa.concat_tables([kept, part.table]) if kept.schema.equals(part.table.schema) else part.table
        processed = 0
        first_end = every_rows - (part.first.row - 1) % every_rows
        for rows in range(first_end, part.table.num_rows + 1, every_rows):
            window = _window_at(request, policy, kept, part, rows)
            step, processed = BackfillStep(rows - processed), rows
            ended_at: Any = part.table.column("observed_at")[rows - 1].as_py()
            is_wanted = (not request.since or ended_at >= request.since) and (
                not request.until or ended_at < request.until
            )
            if window.end_id in made:
                step = replace(step, was_there=True)
            elif is_wanted and window.table.num_rows >= policy.minimum_rows:
                check = store_check(request.version, request.reference, window, policy, is_backfilled=True)
                step = replace(step, check=check, was_there=check is None, earlier=latest_earlier.get(window.end_id))
            yield step
        yield BackfillStep(part.table.num_rows - processed)
        kept = kept.slice(max(0, kept.num_rows - policy.longest_window_rows))


def earlier_checks(request: BackfillRequest) -> QuerySet[DriftCheck]:
    """Return the live checks by earlier editions of the rule that have none by the present one, oldest first."""
    present = DriftCheck.objects.filter(
        version=request.version, window_end=OuterRef("window_end"), rule_edition=RULE_EDITION
    )
    found = DriftCheck.objects.filter(
        ~Exists(present),
        version=request.version,
        status=CheckStatus.SUCCEEDED,
        rule_edition__lt=RULE_EDITION,
        is_backfilled=False,
        window_ended_at__isnull=False,
    )
    if request.since:
        found = found.filter(window_ended_at__gte=request.since)
    if request.until:
        found = found.filter(window_ended_at__lt=request.until)
    return found.defer("result").order_by("window_ended_at", "id")


def check_again(request: BackfillRequest) -> Iterator[BackfillStep]:
    """Check the windows of `earlier_checks` under the present edition, with their own references.

    A window whose rows are not archived any more gets no check.
    """
    policy = policy_for(request.version.model)
    for earlier in earlier_checks(request).select_related("reference").iterator():
        ended_at = earlier.window_ended_at or earlier.created_at
        until = ended_at + timedelta(microseconds=1)
        table = read_observations(request.version.pk, rows=policy.longest_window_rows, until=until)
        table = _young_enough(table, policy, ended_at)
        step = BackfillStep(rows=1, earlier=earlier)
        if table.num_rows >= max(policy.minimum_rows, earlier.n_current):
            window = Window(table=table, end_id=earlier.window_end, rows_seen=earlier.rows_seen)
            check = store_check(request.version, earlier.reference, window, policy, is_backfilled=True)
            step = replace(step, check=check, was_there=check is None)
        yield step


def _window_at(request: BackfillRequest, policy: DriftPolicy, kept: pa.Table, part: ArchivedRows, rows: int) -> Window:
    """Return the window that ends after `rows` rows of `part`, which is the end of `kept`."""
    end = kept.num_rows - part.table.num_rows + rows
    table = kept.slice(max(0, end - policy.longest_window_rows), min(end, policy.longest_window_rows))
    ended_at: Any = table.column("observed_at")[-1].as_py()
    table = _young_enough(table, policy, ended_at)
    row = part.first.row + rows - 1
    end_id = f"archive-{part.first.stream_number}-{row}-reference-{request.reference.pk}"
    return Window(table=table, end_id=end_id, rows_seen=row)


def _young_enough(table: pa.Table, policy: DriftPolicy, ended_at: datetime) -> pa.Table:
    """Return the rows that a window with this end may have under `policy`."""
    oldest = policy.oldest_observed_at(ended_at)
    if oldest is None:
        return table
    return table.filter(pc.greater_equal(table.column("observed_at"), pa.scalar(oldest, OBSERVED_AT_TYPE)))
