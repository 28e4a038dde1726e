"""Write counts of serving to the intervals of a rollout, each exactly once.

The position in the stream moves in the transaction that writes the counts, and only from the value that was read. A
worker that is killed before the commit has written nothing; after it, its entries are below the position.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime

import redis
from django.db import transaction
from django.db.models import F
from django.db.models.expressions import CombinedExpression

from inference.rollout_counts import CountedEntry, forget_counts, read_counts
from rollouts.models import ACTIVE_STATES, CountedUnit, Rollout, RolloutInterval
from rollouts.plan import Measure

ENTRIES_AT_ONCE = 500
COPY_FIELDS = ("dropped_copies", "failed_copies", "compared_rows", "different_rows")
MOST_KEYS = 200_000  # routing keys that had an event, of one measure; events of later ones are not counted


class IntervalCounts:
    """Units and events that are to be added to the intervals of a rollout."""

    def __init__(self, rollout: Rollout) -> None:
        self._rollout = rollout
        # By measure, both weights, start and end: units and events, each of champion and challenger.
        self._rows: dict[tuple[str, int, int, datetime, datetime], list[int]] = defaultdict(lambda: [0, 0, 0, 0])

    def add(
        self,
        measure: str,
        weights: tuple[int, int],
        at: datetime,
        *,
        units: Sequence[int] = (0, 0),
        events: Sequence[int] = (0, 0),
    ) -> None:
        """Add units and events of champion and challenger at a time."""
        counts = self._rows[measure, *weights, *self._rollout.interval_of(at)]
        for place, number in enumerate((*units, *events)):
            counts[place] += number

    def write(self) -> None:
        """Add the counts to the stored rows; the caller's transaction has locked the rollout."""
        for (measure, champion_weight, challenger_weight, start, end), counts in self._rows.items():
            key = {
                "measure": measure,
                "champion_weight": champion_weight,
                "challenger_weight": challenger_weight,
                "started_at": start,
            }
            names = ("champion_units", "challenger_units", "champion_events", "challenger_events")
            added = dict(zip(names, counts, strict=True))
            rows = RolloutInterval.objects.filter(rollout=self._rollout, **key)
            if not rows.update(**{name: F(name) + number for name, number in added.items()}):
                RolloutInterval.objects.create(rollout=self._rollout, ended_at=end, **key, **added)


def collect_counts(rollout: Rollout, client: redis.Redis) -> None:
    """Write all counts in the rollout's stream.

    Raises
    ------
    redis.RedisError, django.db.DatabaseError
        Redis or the database is unavailable; the remaining counts stay in the stream.
    """
    position = rollout.stream_position
    while entries := read_counts(client, rollout.pk, after=position, most=ENTRIES_AT_ONCE):
        if not _store(rollout, entries, position):
            return  # another worker is ahead, or the rollout has ended
        position = entries[-1].id
    if position != rollout.stream_position:
        rollout.stream_position = position
        forget_counts(client, rollout.pk, up_to=position)


@transaction.atomic
def _store(rollout: Rollout, entries: Sequence[CountedEntry], position: str) -> bool:
    """Write entries and move the position; return False if it is not `position` any more."""
    unchanged = Rollout.objects.filter(pk=rollout.pk, stream_position=position, state__in=ACTIVE_STATES)
    if not unchanged.update(stream_position=entries[-1].id, **_copies(entries)):
        return False
    # Requests are the units of errors, whether errors are a guardrail or not: a step needs their number.
    measures = {
        Measure.ERRORS.value,
        *(one.measure.value for one in rollout.guardrails if not one.measure.needs_labels),
    }
    counts = IntervalCounts(rollout)
    for entry in entries:
        weights, at = (entry.champion_weight, entry.challenger_weight), datetime.fromtimestamp(entry.at, UTC)
        for measure in measures:
            events = entry.counts.events.get(measure, (0, 0))
            counts.add(measure, weights, at, units=entry.counts.requests, events=events)
    for measure in measures:
        units = (unit for entry in entries for unit, _ in entry.counts.keyed.get(measure, ()))
        new = take_new_units(rollout, measure, units, most=MOST_KEYS)
        for entry in entries:
            weights, at = (entry.champion_weight, entry.challenger_weight), datetime.fromtimestamp(entry.at, UTC)
            for unit, side in entry.counts.keyed.get(measure, ()):
                if unit in new:
                    new.discard(unit)
                    counts.add(measure, weights, at, events=(1 - side, side))
    counts.write()
    return True


def _copies(entries: Sequence[CountedEntry]) -> dict[str, CombinedExpression]:
    """Return what happened to copies for a shadow, as changes of the rollout's row."""
    changes = {}
    for name in COPY_FIELDS:
        number = sum(entry.counts.events.get(name.partition("_")[0], (0, 0))[1] for entry in entries)
        if number:
            changes[name] = F(name) + number
    return changes


def take_new_units(rollout: Rollout, what: str, units: Iterable[int], *, most: int) -> set[int]:
    """Return the units that did not count yet, which count from now on; the caller has locked the rollout.

    Once `most` units of a kind have counted, no further ones do. This depends on the past alone, so the evidence stays
    valid.
    """
    candidates = set(units)
    if not candidates:
        return set()
    stored = CountedUnit.objects.filter(rollout=rollout, what=what)
    new = candidates - _stored_digests(rollout, what, candidates)
    if len(new) + stored.count() > most:
        return set()
    rows = [CountedUnit(rollout=rollout, what=what, digest=digest) for digest in sorted(new)]
    CountedUnit.objects.bulk_create(rows, batch_size=1000)
    return new


def _stored_digests(rollout: Rollout, what: str, digests: Collection[int]) -> set[int]:
    ordered, found = sorted(digests), set[int]()
    for start in range(0, len(ordered), 1000):  # SQLite limits the parameters of a query
        rows = CountedUnit.objects.filter(rollout=rollout, what=what, digest__in=ordered[start : start + 1000])
        found |= set(rows.values_list("digest", flat=True))
    return found
