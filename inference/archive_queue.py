"""The stream as the archive's queue: a consumer group that knows which entries are archived.

An entry is acknowledged only after it is in the database. What a worker was handed and has not acknowledged, because it
was killed, is claimed by the next one. Redis 7.0 or newer: it forgets by itself what was handed out and then trimmed.
"""

from collections.abc import Sequence
from typing import Any

import redis

from inference.stream import Entry, entry_of, id_order, stream_key

GROUP = "archive"
CONSUMER = "worker"  # one name for all: a worker takes whatever is not acknowledged, whoever was handed it


def open_group(client: redis.Redis, version_id: int) -> bool:
    """Make the version's group where there is none; return whether there is a stream."""
    try:
        client.xgroup_create(stream_key(version_id), GROUP, id="0")
    except redis.ResponseError as error:
        return str(error).startswith("BUSYGROUP")  # the other reason is that there is no stream yet
    return True


def take(client: redis.Redis, version_id: int, *, most_entries: int) -> list[Entry]:
    """Return the oldest entries that are not acknowledged: every one of them up to the last that is returned.

    Only the holder of the version's lock calls this. Should another worker still be at it, whose lock has expired, then
    nothing is returned where it would leave a gap, and the next call claims what that worker holds.
    """
    claimed = _claimed(client, version_id, most_entries)
    if claimed:
        return claimed
    page: Any = client.xreadgroup(GROUP, CONSUMER, {stream_key(version_id): ">"}, count=most_entries)
    fresh = [entry_of(item) for _, items in page for item in items]
    first_pending = _first_pending(client, version_id)
    if not fresh or first_pending is None or id_order(first_pending) < id_order(fresh[0].id):
        return []
    return fresh


def acknowledge(client: redis.Redis, version_id: int, entries: Sequence[Entry]) -> None:
    """Note that `entries` are archived."""
    client.xack(stream_key(version_id), GROUP, *[entry.id for entry in entries])


def first_unarchived(client: redis.Redis, version_id: int) -> str:
    """Return an id such that every entry before it is archived."""
    groups: Any = client.xinfo_groups(stream_key(version_id)) if client.exists(stream_key(version_id)) else []
    delivered = [group["last-delivered-id"].decode() for group in groups if group["name"] == GROUP.encode()]
    if not delivered:
        return "0-0"
    return _first_pending(client, version_id) or str(delivered[0])


def _claimed(client: redis.Redis, version_id: int, most_entries: int) -> list[Entry]:
    start = "0-0"
    while True:
        answer = client.xautoclaim(stream_key(version_id), GROUP, CONSUMER, 0, start_id=start, count=most_entries)
        start = answer[0].decode()
        entries = [entry_of(item) for item in answer[1]]
        if entries or start == "0-0":
            return entries


def _first_pending(client: redis.Redis, version_id: int) -> str | None:
    pending: Any = client.xpending(stream_key(version_id), GROUP)
    return pending["min"].decode() if pending["min"] else None
