"""Archive the streams: each observation exactly once, even if a worker is killed at any point.

A batch is taken from the stream, merged, written and acknowledged. The stream's consumer group knows which entries are
acknowledged. Entries that were not written are delivered again. Entries that were written but not acknowledged are
delivered again too, and recognised by the archive position, which moved in the transaction that wrote them.

Requires Redis 7.0 or newer, whose consumer groups drop entries that were delivered and then trimmed.
"""

import hashlib
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pyarrow.compute as pc
import redis
from django.db import DatabaseError, transaction
from django.db.models import F
from django.dispatch import Signal
from redis.exceptions import LockError

from inference import selectors
from inference.archive_format import ChunkDraft, Merge, merge, readable_table
from inference.exceptions import ArchiveError
from inference.models import NO_ENTRY, ArchivePosition, ObservationChunk
from inference.prediction_ids import is_own_id
from inference.rollout_counts import SHADOW_ROUTING
from inference.stream import ROUTING, Entry, entry_of, id_order, redis_client, stream_key, to_bytes

logger = logging.getLogger(__name__)

# Sent after the commit of a batch, with ``version_id`` and ``drafts``, the chunks that were written.
observations_archived = Signal()

GROUP = "archive"
CONSUMER = "worker"  # shared by all workers: each takes every unacknowledged entry, whoever it was delivered to
LOCK_SECONDS = 15  # expires after a worker was killed; it saves work, but correctness does not depend on it
MOST_ENTRIES = 5_000  # of one batch
BATCH_BYTES = 32 * 2**20  # approximate size of one batch
FIRST_ENTRIES = 16  # of the first batch, before the size of an entry is known


def archive_observations(*, seconds: float) -> int:
    """Archive the streams for about `seconds` at most; return the number of entries.

    Versions take turns, one batch each, so that a busy version does not delay the others.

    Raises
    ------
    ArchiveError
        Some versions could not be archived; the others were.
    """
    deadline = time.monotonic() + seconds
    most_entries = dict.fromkeys(selectors.unarchived_versions(redis_client()), FIRST_ENTRIES)
    archived, failures = 0, {}
    while most_entries and time.monotonic() < deadline:
        for version_id, most in list(most_entries.items()):
            entries: list[Entry] = []
            try:
                entries = archive_batch(version_id=version_id, most_entries=most)
            except (redis.RedisError, DatabaseError) as error:
                failures[version_id] = error
            if not entries:
                del most_entries[version_id]
                continue
            archived += len(entries)
            # The next batch has about BATCH_BYTES by the mean size of this one, but grows eightfold at most.
            mean_bytes = sum(len(entry.payload) for entry in entries) / len(entries)
            most_entries[version_id] = max(1, min(MOST_ENTRIES, most * 8, int(BATCH_BYTES / mean_bytes)))
    if failures:
        reasons = "; ".join(f"version {version_id}: {error}" for version_id, error in failures.items())
        raise ArchiveError(f"Observations could not be archived and stay in Redis: {reasons}")
    return archived


def archive_batch(*, version_id: int, most_entries: int) -> list[Entry]:
    """Archive the oldest entries of a version's stream and return them.

    The list is empty if there are none, or if another worker is archiving the version.
    """
    client = redis_client()
    lock = client.lock(stream_key(version_id, GROUP), timeout=LOCK_SECONDS)
    if not lock.acquire(blocking=False):
        return []
    try:
        entries = _take(client, version_id, most_entries)
        if entries and write(version_id, entries):
            client.xack(stream_key(version_id), GROUP, *[entry.id for entry in entries])
        return entries
    finally:
        with suppress(LockError):  # expired: another worker may hold it now
            lock.release()


def first_unarchived(client: redis.Redis, version_id: int) -> str:
    """Return an entry id such that every earlier entry is archived."""
    key = stream_key(version_id)
    groups: Any = client.xinfo_groups(key) if client.exists(key) else []
    delivered = [group["last-delivered-id"].decode() for group in groups if group["name"] == GROUP.encode()]
    return (_first_pending(client, version_id) or str(delivered[0])) if delivered else NO_ENTRY


def _take(client: redis.Redis, version_id: int, most_entries: int) -> list[Entry]:
    """Return the oldest unacknowledged entries, without gaps.

    Only the holder of the version's lock calls this. If another worker is still busy after its lock expired, and taking
    entries now would leave a gap, nothing is returned, and the next call claims the entries of that worker.
    """
    key = stream_key(version_id)
    try:
        client.xgroup_create(key, GROUP, id="0")
    except redis.ResponseError as error:
        if not str(error).startswith("BUSYGROUP"):  # the group does not exist: there is no stream yet
            return []
    start = NO_ENTRY
    while True:  # entries that were delivered before and not acknowledged come first
        reply = client.xautoclaim(key, GROUP, CONSUMER, 0, start_id=start, count=most_entries)
        start = reply[0].decode()
        if claimed := [entry_of(item) for item in reply[1]]:
            return claimed
        if start == NO_ENTRY:
            break
    page: Any = client.xreadgroup(GROUP, CONSUMER, {key: ">"}, count=most_entries)
    new = [entry_of(item) for _, items in page for item in items]
    first_pending = _first_pending(client, version_id)
    if not new or first_pending is None or id_order(first_pending) < id_order(new[0].id):
        return []
    return new


def _first_pending(client: redis.Redis, version_id: int) -> str | None:
    pending: Any = client.xpending(stream_key(version_id), GROUP)
    return pending["min"].decode() if pending["min"] else None


def write(version_id: int, entries: Sequence[Entry]) -> bool:
    """Write the new ones of `entries`; return whether all of them are in the archive now.

    If another worker has moved the position meanwhile, write nothing and return False.
    """
    position = selectors.archive_position(version_id) or ArchivePosition(version_id=version_id)
    new = _new_entries(position, entries)
    if not new:
        return True
    if not position.continues_with(new[0]):
        position = ArchivePosition(
            version_id=version_id, stream_number=position.stream_number + 1, rows_seen=new[0].rows_before
        )
        logger.warning("Version %d has a new stream in Redis, number %d.", version_id, position.stream_number)
    merged = merge(new, position.rows_seen)
    chunks = [chunk_of_draft(version_id, position.stream_number, draft) for draft in merged.drafts]
    with transaction.atomic():
        if not _move_position(position, merged, new[-1].id):
            return False
        ObservationChunk.objects.bulk_create(chunks)
    observations_archived.send(sender=ObservationChunk, version_id=version_id, drafts=merged.drafts)
    return True


def _new_entries(position: ArchivePosition, entries: Sequence[Entry]) -> Sequence[Entry]:
    """Return `entries` from the first one that is not archived.

    An entry that is not after the position was delivered twice, or Redis has begun a new stream. The prediction ids in
    the archive decide.
    """
    ids: dict[str, set[bytes]] = {}
    for entry in entries:
        if not position.continues_with(entry):
            table = readable_table(entry)
            found: list[Any] = table.column("prediction_id").to_pylist() if table else []
            ids[entry.id] = {one for one in found if one is not None}
    if not ids:
        return entries
    archived = selectors.archived_prediction_ids(position.version_id, set().union(*ids.values()))
    for index, entry in enumerate(entries):
        if position.continues_with(entry) or not ids[entry.id] <= archived:
            return entries[index:]
    return []


def _move_position(position: ArchivePosition, merged: Merge, last_entry_id: str) -> bool:
    """Move the position to the end of `merged`; return False if another worker has moved it."""
    rows_archived = sum(draft.table.num_rows for draft in merged.drafts)
    if position.pk is None:
        _, created = ArchivePosition.objects.get_or_create(
            version_id=position.version_id,
            stream_number=position.stream_number,
            defaults={
                "last_entry_id": last_entry_id,
                "rows_seen": merged.rows_seen,
                "rows_archived": rows_archived,
                "rows_lost": merged.rows_lost,
            },
        )
        return created
    found = ArchivePosition.objects.filter(pk=position.pk, last_entry_id=position.last_entry_id)
    changed = found.update(
        last_entry_id=last_entry_id,
        rows_seen=merged.rows_seen,
        rows_archived=F("rows_archived") + rows_archived,
        rows_lost=F("rows_lost") + merged.rows_lost,
    )
    return bool(changed)


def chunk_of_draft(version_id: int, stream_number: int, draft: ChunkDraft) -> ObservationChunk:
    """Return the unsaved chunk of a draft."""
    payload = to_bytes(draft.table, compression="zstd")
    columns = str([(field.name, str(field.type)) for field in draft.table.schema])
    first_prediction_id, last_prediction_id = draft.prediction_ids
    times: Any = pc.min_max(draft.table.column("observed_at")).as_py()
    has_copies = ROUTING in draft.table.column_names and SHADOW_ROUTING in draft.table.column(ROUTING).to_pylist()
    ids: list[Any] = [] if has_copies else draft.table.column("prediction_id").to_pylist()
    return ObservationChunk(
        version_id=version_id,
        stream_number=stream_number,
        first_row=draft.first_row,
        last_row=draft.first_row + draft.table.num_rows - 1,
        rows=draft.table.num_rows,
        first_entry_id=draft.first_entry_id,
        last_entry_id=draft.last_entry_id,
        first_prediction_id=first_prediction_id,
        last_prediction_id=last_prediction_id,
        first_observed_at=times["min"],
        last_observed_at=times["max"],
        schema_fingerprint=hashlib.sha256(columns.encode()).hexdigest(),
        has_given_ids=not all(is_own_id(one, version_id) for one in ids),
        payload=payload,
        payload_bytes=len(payload),
        memory_bytes=draft.table.nbytes,
    )
