"""Moving what web processes counted into the database."""

from contextlib import suppress
from datetime import UTC, datetime

import redis
from redis.exceptions import LockNotOwnedError

from inference.models import TrafficRollup
from inference.traffic import TrafficCounts, changed_minutes, counts_of_minute, settle
from models_registry.models import ModelVersion

LOCK_SECONDS = 60  # longer than the task may take
FIGURES = ["success", "error", "rejected", "latency_seconds", "latency_counts"]


def roll_up_traffic(*, client: redis.Redis) -> int:
    """Write the minutes that changed; return how many rows were written, none where another run is at it.

    The rows hold totals, not sums of what came: a run that dies, or is repeated, changes no figure.
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
    known = set(ModelVersion.objects.values_list("pk", flat=True))
    written = 0
    for minute, writes in sorted(changed_minutes(client).items()):
        counts = {pk: one for pk, one in counts_of_minute(client, minute).items() if pk in known}
        written += len(_written_rows(minute, counts))
        settle(client, minute, writes)
    return written


def _written_rows(minute: int, counts: dict[int, TrafficCounts]) -> list[TrafficRollup]:
    begins_at = datetime.fromtimestamp(minute, UTC)
    rows = [
        TrafficRollup(version_id=pk, begins_at=begins_at, **{name: getattr(one, name) for name in FIGURES})
        for pk, one in counts.items()
    ]
    return TrafficRollup.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["version", "begins_at"], update_fields=FIGURES
    )
