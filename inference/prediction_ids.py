"""Identities of predictions: UUID version 7 (RFC 9562), so that ids sort by time."""

import os
import time
import uuid


def new_prediction_ids(count: int) -> list[bytes]:
    """Return `count` new ids of 16 bytes.

    The first 48 bits are Unix milliseconds; the next 12 the fraction of the millisecond (RFC 9562, method 3); the
    other 62 are random.
    """
    milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
    head = (milliseconds << 16 | 0x7000 | nanoseconds * 4096 // 1_000_000).to_bytes(8, "big")
    tail = os.urandom(8 * count)
    return [head + bytes((tail[i] & 0x3F | 0x80,)) + tail[i + 1 : i + 8] for i in range(0, 8 * count, 8)]


def prediction_id_text(prediction_id: bytes) -> str:
    """Return the usual text of an id."""
    return str(uuid.UUID(bytes=prediction_id))
