"""Write the counts of traffic and of rejections of the web processes to the database."""

from contextlib import suppress
from datetime import UTC, datetime

from django.db import transaction
from redis.exceptions import LockNotOwnedError

from inference.models import RejectionCount, RollupSpan, TrafficRollup
from inference.rejections import RejectionCounts
from inference.stream import redis_client
from inference.traffic import (
    CHANGED_KEY,
    CONFIRM_SCRIPT,
    FIGURES,
    TrafficCounts,
    changed_minutes,
    counts_of_minute,
    rejections_of_minute,
)
from models_registry.models import Model, ModelVersion

LOCK_SECONDS = 60  # longer than the task's time limit


def roll_up_traffic() -> int:
    """Write the changed minutes and their hours; return how many minutes of versions were written.

    The minutes hold totals, and an hour changes by the difference of its minute in the same transaction, so a repeated
    run changes no figure. If another run is active, do nothing.
    """
    client = redis_client()
    lock = client.lock("mlmon:traffic:lock", timeout=LOCK_SECONDS)
    if not lock.acquire(blocking=False):  # a second run could overwrite new totals with older ones
        return 0
    written = 0
    try:
        for minute, writes in sorted(changed_minutes(client).items()):
            written += _write_minute(minute, counts_of_minute(client, minute))
            _write_rejections(minute, rejections_of_minute(client, minute))
            client.eval(CONFIRM_SCRIPT, 1, CHANGED_KEY, str(minute), writes)
    finally:
        with suppress(LockNotOwnedError):
            lock.release()
    return written


@transaction.atomic
def _write_minute(minute: int, totals: dict[int, TrafficCounts]) -> int:
    """Write the totals of a minute, and add the difference from its stored totals to its hour."""
    known = set(ModelVersion.objects.filter(pk__in=totals).values_list("pk", flat=True))
    totals = {pk: counts for pk, counts in totals.items() if pk in known}
    stored: dict[RollupSpan, dict[int, TrafficCounts]] = {}
    begins_at = {span: datetime.fromtimestamp(minute // span * span, UTC) for span in RollupSpan}
    for span in RollupSpan:
        rows = TrafficRollup.objects.filter(span_seconds=span, begins_at=begins_at[span], version__in=known)
        stored[span] = {
            row.version_id: TrafficCounts.of({name: getattr(row, name) for name in FIGURES})
            for row in rows.select_for_update()
        }
    hours = stored[RollupSpan.HOUR]
    for pk, counts in totals.items():
        hour = hours.setdefault(pk, TrafficCounts())
        hour.add(counts)
        hour.add(stored[RollupSpan.MINUTE].get(pk, TrafficCounts()), times=-1)
    for span, figures in ((RollupSpan.MINUTE, totals), (RollupSpan.HOUR, hours)):
        TrafficRollup.objects.bulk_create(
            [
                TrafficRollup(version_id=pk, span_seconds=span, begins_at=begins_at[span], **counts.figures())
                for pk, counts in figures.items()
            ],
            update_conflicts=True,
            unique_fields=["version", "span_seconds", "begins_at"],
            update_fields=FIGURES,
        )
    return len(totals)


def _write_rejections(minute: int, totals: dict[str, RejectionCounts]) -> None:
    """Write the totals of a minute in one statement; a repeated run changes nothing."""
    models = dict(Model.objects.filter(name__in=totals).values_list("name", "pk")) if totals else {}
    rows = [
        RejectionCount(
            model_id=models[name],
            begins_at=datetime.fromtimestamp(minute, UTC),
            feature_name=feature_name,
            reason=reason,
            count=one.count,
            last_at=datetime.fromtimestamp(one.last_at, UTC),
            example=one.example,
        )
        for name, counts in totals.items()
        if name in models
        for (feature_name, reason), one in counts.pairs.items()
    ]
    RejectionCount.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["model", "begins_at", "feature_name", "reason"],
        update_fields=["count", "last_at", "example"],
    )
