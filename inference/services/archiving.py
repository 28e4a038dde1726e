"""From the streams into the archive: each observation exactly once, whatever happens on the way.

Entries are taken from the queue, merged, written, acknowledged; a worker may be killed between any two of these steps.
What was not written is delivered again. What was written and not acknowledged is delivered again too, and is known by
the position that moved with it.
"""

import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import redis
from django.db import DatabaseError, transaction
from django.db.models import F
from redis.exceptions import LockError

from inference import archive_queue, selectors
from inference.archive_format import (
    ChunkDraft,
    Merge,
    has_given_ids,
    merge,
    readable_table,
    schema_fingerprint,
    to_bytes,
)
from inference.exceptions import ArchiveError
from inference.models import ArchivePosition, ObservationChunk
from inference.redis_client import redis_client
from inference.signals import observations_archived
from inference.stream import Entry

logger = logging.getLogger(__name__)

LOCK_SECONDS = 15  # falls by itself where a worker was killed; nothing relies on it but the saving of work
MOST_ENTRIES = 5_000  # of one batch
BATCH_BYTES = 32 * 2**20  # about how much one batch holds
FIRST_ENTRIES = 16  # of the first batch, before the size of an entry is known


@dataclass(slots=True)
class _Pace:
    """How many entries the next batch of a version takes, so that it has about `BATCH_BYTES`."""

    entries: int = FIRST_ENTRIES

    def learn(self, taken: Sequence[Entry]) -> None:
        """Take the mean size of the last batch for that of the next, but grow eightfold at most."""
        mean_bytes = sum(len(entry.payload) for entry in taken) / len(taken)
        self.entries = max(1, min(MOST_ENTRIES, self.entries * 8, int(BATCH_BYTES / mean_bytes)))


def archive_observations(*, seconds: float) -> int:
    """Archive what waits in the streams, for about `seconds` at most; return how many entries were handled.

    Versions take turns, a batch each, so that a busy one does not keep the others waiting.

    Raises
    ------
    ArchiveError
        Some version could not be archived; the others were.
    """
    deadline = time.monotonic() + seconds
    client = redis_client()
    waiting = {version_id: _Pace() for version_id in selectors.unarchived_versions(client)}
    handled, failures = 0, {}
    while waiting and time.monotonic() < deadline:
        for version_id, pace in list(waiting.items()):
            try:
                taken = archive_batch(version_id=version_id, most_entries=pace.entries)
            except (redis.RedisError, DatabaseError) as error:
                failures[version_id] = error
                taken = []
            if taken:
                pace.learn(taken)
                handled += len(taken)
            else:
                del waiting[version_id]
    if failures:
        reasons = "; ".join(f"version {version_id}: {error}" for version_id, error in failures.items())
        raise ArchiveError(f"Observations wait on, as they could not be archived: {reasons}")
    return handled


def archive_batch(*, version_id: int, most_entries: int) -> list[Entry]:
    """Archive the oldest entries of a version's stream; return them.

    None where there are none, or where another worker is at that version.
    """
    client = redis_client()
    lock = client.lock(f"mlmon:{{{version_id}}}:archive", timeout=LOCK_SECONDS)
    if not lock.acquire(blocking=False):
        return []
    try:
        if not archive_queue.open_group(client, version_id):
            return []
        entries = archive_queue.take(client, version_id, most_entries=most_entries)
        if entries and write(version_id, entries):
            archive_queue.acknowledge(client, version_id, entries)
        return entries
    finally:
        with suppress(LockError):  # expired: another worker may hold it by now
            lock.release()


def write(version_id: int, entries: Sequence[Entry]) -> bool:
    """Write what is new in `entries`; return whether all of them are in the archive now.

    They are not where another worker has moved the position meanwhile: then nothing is written.
    """
    position = selectors.archive_position(version_id) or ArchivePosition(version_id=version_id)
    new = _new_entries(position, entries)
    if not new:
        return True
    if not position.continues_with(new[0]):
        position = ArchivePosition(
            version_id=version_id, stream_number=position.stream_number + 1, rows_seen=new[0].rows_before
        )
        logger.warning("Version %d has a new stream in Redis, the %d. one.", version_id, position.stream_number)
    merged = merge(new, position.rows_seen)
    if not _commit(position, merged, last_entry_id=new[-1].id):
        return False
    observations_archived.send(sender=ObservationChunk, version_id=version_id, drafts=merged.drafts)
    return True


def _new_entries(position: ArchivePosition, entries: Sequence[Entry]) -> Sequence[Entry]:
    """Return `entries` from the first one that is not archived.

    One that is not after the position was delivered twice, or Redis has begun a new stream: its ids tell.
    """
    doubtful = [entry for entry in entries if not position.continues_with(entry)]
    if not doubtful:
        return entries
    ids = {entry.id: _prediction_ids(entry) for entry in doubtful}
    archived = selectors.archived_prediction_ids(position.version_id, set().union(*ids.values()))
    for place, entry in enumerate(entries):
        if position.continues_with(entry) or not ids[entry.id] <= archived:
            return entries[place:]
    return []


def _prediction_ids(entry: Entry) -> set[bytes]:
    table = readable_table(entry)
    return set() if table is None else {one for one in table.column("prediction_id").to_pylist() if one is not None}


def _commit(position: ArchivePosition, merged: Merge, *, last_entry_id: str) -> bool:
    """Move the position and write the chunks, all or nothing; return False where the position is another by now."""
    chunks = [chunk_row(position.version_id, position.stream_number, draft) for draft in merged.drafts]
    with transaction.atomic():
        if not _moved(position, merged, last_entry_id):
            return False
        ObservationChunk.objects.bulk_create(chunks)
    return True


def _moved(position: ArchivePosition, merged: Merge, last_entry_id: str) -> bool:
    if position.pk is None:
        _, created = ArchivePosition.objects.get_or_create(
            version_id=position.version_id,
            stream_number=position.stream_number,
            defaults={
                "last_entry_id": last_entry_id,
                "rows_seen": merged.rows_seen,
                "rows_archived": merged.rows,
                "rows_lost": merged.rows_lost,
            },
        )
        return created
    found = ArchivePosition.objects.filter(pk=position.pk, last_entry_id=position.last_entry_id)
    changed = found.update(
        last_entry_id=last_entry_id,
        rows_seen=merged.rows_seen,
        rows_archived=F("rows_archived") + merged.rows,
        rows_lost=F("rows_lost") + merged.rows_lost,
    )
    return bool(changed)


def chunk_row(version_id: int, stream_number: int, draft: ChunkDraft) -> ObservationChunk:
    """Return the unsaved row of a draft."""
    payload = to_bytes(draft.table)
    first_prediction_id, last_prediction_id = draft.prediction_ids
    first_observed_at, last_observed_at = draft.observed_at
    return ObservationChunk(
        version_id=version_id,
        stream_number=stream_number,
        first_row=draft.first_row,
        last_row=draft.last_row,
        rows=draft.table.num_rows,
        first_entry_id=draft.first_entry_id,
        last_entry_id=draft.last_entry_id,
        first_prediction_id=first_prediction_id,
        last_prediction_id=last_prediction_id,
        first_observed_at=first_observed_at,
        last_observed_at=last_observed_at,
        schema_fingerprint=schema_fingerprint(draft.table.schema),
        has_given_ids=has_given_ids(draft.table, version_id),
        payload=payload,
        payload_bytes=len(payload),
        memory_bytes=draft.table.nbytes,
    )
