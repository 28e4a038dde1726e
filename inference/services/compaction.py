"""Small chunks that follow each other become larger ones: fewer rows in the database, better compressed.

Chunks grow by tiers of eight, so that a row is rewritten a handful of times in all, not at each run.
"""

import time
from collections.abc import Iterator, Sequence
from datetime import timedelta

from django.db import transaction

from inference import selectors
from inference.archive_format import (
    MOST_CHUNK_MEMORY_BYTES,
    MOST_CHUNK_ROWS,
    ChunkDraft,
    from_bytes,
    joined,
)
from inference.models import ObservationChunk
from inference.services.archiving import chunk_row

GROWTH = 8
TIERS = 5
SMALL_ROWS = MOST_CHUNK_ROWS // GROWTH  # larger ones are not joined
LONGEST_SPAN = timedelta(days=1)  # of one chunk: retention deletes whole chunks


def compact_archive(*, seconds: float) -> int:
    """Compact the chunks of all versions, for about `seconds` at most; return how many chunks were replaced."""
    deadline = time.monotonic() + seconds
    replaced = 0
    for version_id in selectors.versions_with_small_chunks(most_rows=SMALL_ROWS):
        for group in _groups_of_version(version_id):
            if time.monotonic() >= deadline:
                return replaced
            if not replace(group):
                break  # another worker is at this version; the next run looks anew
            replaced += len(group)
    return replaced


def plan(chunks: Sequence[ObservationChunk]) -> list[list[ObservationChunk]]:
    """Return which chunks to join, smallest first: groups of one tier, which have chunks in common with no other.

    Parameters
    ----------
    chunks
        Of one version, in the order of their rows, without payloads.
    """
    for tier in range(TIERS, 0, -1):
        groups = list(_groups_of_tier(chunks, tier))
        if groups:
            return groups
    return []


def replace(group: Sequence[ObservationChunk]) -> bool:
    """Put one chunk in the place of `group`, all or nothing; return False where they are not all there any more."""
    found = ObservationChunk.objects.filter(pk__in=[chunk.pk for chunk in group])
    drafts = [_draft(chunk) for chunk in found.order_by("first_row")]
    if len(drafts) != len(group):
        return False
    row = chunk_row(group[0].version_id, group[0].stream_number, joined(drafts))
    with transaction.atomic():
        # In one order in all workers, so that two of them do not wait for each other.
        locked = found.select_for_update().order_by("first_row").values_list("pk", flat=True)
        if len(locked) != len(group):
            return False
        found.delete()
        row.save(force_insert=True)
    return True


def _groups_of_version(version_id: int) -> Iterator[list[ObservationChunk]]:
    """Yield groups until there is nothing to join: a tier's groups may be joined into the next tier's."""
    while groups := plan(selectors.small_chunks(version_id, most_rows=SMALL_ROWS)):
        yield from groups


def _groups_of_tier(chunks: Sequence[ObservationChunk], tier: int) -> Iterator[list[ObservationChunk]]:
    """Yield runs that fill a chunk of the next tier; of the largest tier also those that end with their day."""
    largest = GROWTH**-tier
    group: list[ObservationChunk] = []
    for chunk in chunks:
        if _size(chunk) > largest or (group and not _follows(chunk, group[-1])):
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
    """Return a chunk's size as a share of the largest: by rows or by memory, whichever is more."""
    return max(chunk.rows / MOST_CHUNK_ROWS, chunk.memory_bytes / MOST_CHUNK_MEMORY_BYTES)


def _follows(chunk: ObservationChunk, other: ObservationChunk) -> bool:
    return (
        chunk.stream_number == other.stream_number
        and chunk.first_row == other.last_row + 1
        and chunk.schema_fingerprint == other.schema_fingerprint
    )


def _draft(chunk: ObservationChunk) -> ChunkDraft:
    return ChunkDraft(
        table=from_bytes(chunk.payload),
        first_row=chunk.first_row,
        first_entry_id=chunk.first_entry_id,
        last_entry_id=chunk.last_entry_id,
    )
