"""Moving what web processes counted into the database."""

from contextlib import suppress
from datetime import UTC, datetime

import redis
from django.db import transaction
from redis.exceptions import LockNotOwnedError

from inference.models import RollupSpan, TrafficRollup
from inference.traffic import FIGURES, TrafficCounts, changed_minutes, counts_of_minute, settle
from models_registry.models import ModelVersion

LOCK_SECONDS = 60  # longer than the task may take


def roll_up_traffic(*, client: redis.Redis) -> int:
    """Write the minutes that changed, and their hours; return how many minutes of versions were written.

    The minutes hold totals, and an hour changes by what its minute changed in the same transaction: a run that dies, or
    is repeated, changes no figure. Where another run is at it, nothing is done.
    """
    lock = client.lock("mlmon:traffic:lock", timeout=LOCK_SECONDS)
    if not lock.acquire(blocking=False):  # a second run could write older totals over newer ones
        return 0
    try:
        return _rolled_up(client)
    finally:
        with suppress(LockNotOwnedError):
            lock.release()


def _rolled_up(client: redis.Redis) -> int:
    written = 0
    for minute, writes in sorted(changed_minutes(client).items()):
        written += _write_minute(minute, counts_of_minute(client, minute))
        settle(client, minute, writes)
    return written


@transaction.atomic
def _write_minute(minute: int, totals: dict[int, TrafficCounts]) -> int:
    """Write the totals of a minute, and add to its hour what they are more than was known."""
    known = set(ModelVersion.objects.filter(pk__in=totals).values_list("pk", flat=True))
    totals = {pk: counts for pk, counts in totals.items() if pk in known}
    minutes = _stored_counts(RollupSpan.MINUTE, minute, known)
    hours = _stored_counts(RollupSpan.HOUR, minute, known)
    for pk, counts in totals.items():
        hour = hours.setdefault(pk, TrafficCounts())
        hour.add(counts)
        hour.add(minutes.get(pk, TrafficCounts()), times=-1)
    _store(RollupSpan.MINUTE, minute, totals)
    _store(RollupSpan.HOUR, minute, hours)
    return len(totals)


def _begin(span: RollupSpan, second: int) -> datetime:
    return datetime.fromtimestamp(second // span * span, UTC)


def _stored_counts(span: RollupSpan, second: int, versions: set[int]) -> dict[int, TrafficCounts]:
    rows = TrafficRollup.objects.filter(span_seconds=span, begins_at=_begin(span, second), version__in=versions)
    return {
        row.version_id: TrafficCounts.of({name: getattr(row, name) for name in FIGURES})
        for row in rows.select_for_update()
    }


def _store(span: RollupSpan, second: int, counts: dict[int, TrafficCounts]) -> None:
    rows = [
        TrafficRollup(version_id=pk, span_seconds=span, begins_at=_begin(span, second), **one.figures())
        for pk, one in counts.items()
    ]
    TrafficRollup.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["version", "span_seconds", "begins_at"], update_fields=FIGURES
    )
