"""Join small consecutive chunks into larger ones: fewer rows in the database, and better compression.

Chunks grow by tiers of eight, so each row is rewritten a few times in total instead of in every run.
"""

import time
from collections.abc import Iterator, Sequence
from datetime import timedelta

import pyarrow as pa
from django.db import transaction
from django.db.models import Count

from inference.archive_format import MOST_CHUNK_MEMORY_BYTES, MOST_CHUNK_ROWS, ChunkDraft, from_bytes
from inference.models import ObservationChunk
from inference.services.archiving import chunk_of_draft

GROWTH = 8
TIERS = 5
SMALL_ROWS = MOST_CHUNK_ROWS // GROWTH  # chunks with more rows are not joined
LONGEST_SPAN = timedelta(days=1)  # of one chunk: retention deletes whole chunks


def compact_archive(*, seconds: float) -> int:
    """Compact the chunks of all versions for about `seconds` at most; return how many chunks were replaced."""
    deadline = time.monotonic() + seconds
    replaced = 0
    small = ObservationChunk.objects.filter(rows__lte=SMALL_ROWS).order_by().values("version")
    for version_id in small.annotate(chunks=Count("pk")).filter(chunks__gt=1).values_list("version", flat=True):
        for group in _groups_of_version(version_id):
            if time.monotonic() >= deadline:
                return replaced
            if not replace(group):
                break  # another worker is compacting this version
            replaced += len(group)
    return replaced


def plan(chunks: Sequence[ObservationChunk]) -> list[list[ObservationChunk]]:
    """Return which chunks to join: disjoint groups of the smallest tier that has any.

    Parameters
    ----------
    chunks
        Chunks of one version, in the order of their rows, without payloads.
    """
    for tier in range(TIERS, 0, -1):
        if groups := list(_groups_of_tier(chunks, tier)):
            return groups
    return []


def replace(group: Sequence[ObservationChunk]) -> bool:
    """Replace `group` by one chunk in one transaction; return False if some of them no longer exist."""
    found = ObservationChunk.objects.filter(pk__in=[chunk.pk for chunk in group]).order_by("first_row")
    chunks = list(found)
    if len(chunks) != len(group):
        return False
    joined = ChunkDraft(
        table=pa.concat_tables([from_bytes(chunk.payload) for chunk in chunks]).combine_chunks(),
        first_row=chunks[0].first_row,
        first_entry_id=chunks[0].first_entry_id,
        last_entry_id=chunks[-1].last_entry_id,
    )
    row = chunk_of_draft(group[0].version_id, group[0].stream_number, joined)
    with transaction.atomic():
        # All workers lock in the same order, so that none waits for another one that waits for it.
        if len(found.select_for_update().values_list("pk", flat=True)) != len(group):
            return False
        found.delete()
        row.save(force_insert=True)
    return True


def _groups_of_version(version_id: int) -> Iterator[list[ObservationChunk]]:
    """Yield groups until none is left: the joined chunks of one tier may be joined in the next tier."""
    small = ObservationChunk.objects.filter(version_id=version_id, rows__lte=SMALL_ROWS).defer("payload")
    while groups := plan(list(small.order_by("stream_number", "first_row"))):
        yield from groups


def _groups_of_tier(chunks: Sequence[ObservationChunk], tier: int) -> Iterator[list[ObservationChunk]]:
    """Yield runs that fill a chunk of the next tier; in the largest tier also runs that end with their day."""
    largest = GROWTH**-tier
    group: list[ObservationChunk] = []
    for chunk in chunks:
        follows = bool(group) and (
            chunk.stream_number == group[-1].stream_number
            and chunk.first_row == group[-1].last_row + 1
            and chunk.schema_fingerprint == group[-1].schema_fingerprint
        )
        if _size(chunk) > largest or not follows:
            group = []
        if _size(chunk) > largest:
            continue
        is_full = sum(map(_size, group)) + _size(chunk) > largest * GROWTH
        is_another_day = bool(group) and chunk.last_observed_at - group[0].first_observed_at > LONGEST_SPAN
        if is_full or is_another_day:
            if len(group) > 1 and (tier == 1 or not is_another_day):
                yield group
            group = []
        group.append(chunk)


def _size(chunk: ObservationChunk) -> float:
    """Return the size of a chunk as a share of the limit, by rows or by memory, whichever is larger."""
    return max(chunk.rows / MOST_CHUNK_ROWS, chunk.memory_bytes / MOST_CHUNK_MEMORY_BYTES)
