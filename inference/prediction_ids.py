"""Identities of predictions: UUID version 7 (RFC 9562), so that ids sort by time; they also tell their version."""

import os
import time
import uuid

VERSION_BITS = 16  # of the model version's number; the ground truth that comes for an id need not be looked for in all
COUNTED_BITS = 46
VARIANT = 0b10  # of RFC 9562


def new_prediction_ids(count: int, version_id: int) -> list[bytes]:
    """Return `count` new ids of 16 bytes for answers of a model version.

    The first 48 bits are Unix milliseconds; the next 12 the fraction of the millisecond (RFC 9562, method 3); the last
    16 the lower bits of the version's number. The other 46 count on from a random number, so that ids of one call are
    never the same, and those of two calls within a quarter of a microsecond hardly ever.
    """
    milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
    head = milliseconds << 16 | 0x7000 | nanoseconds * 4096 // 1_000_000
    tail = VARIANT << 62 | version_id % (1 << VERSION_BITS)
    start = int.from_bytes(os.urandom(6), "big")
    return [(head << 64 | tail | (start + i) % (1 << COUNTED_BITS) << VERSION_BITS).to_bytes(16) for i in range(count)]


def prediction_id_text(prediction_id: bytes) -> str:
    """Return the usual text of an id."""
    return str(uuid.UUID(bytes=prediction_id))


def version_bits(prediction_id: bytes) -> int:
    """Return the lower bits of the number of the version that made an id; anything for an id that a client gave."""
    return int.from_bytes(prediction_id[-2:], "big")


def milliseconds_of(prediction_id: bytes) -> int:
    """Return the Unix milliseconds at which an id was made; anything for an id that a client gave."""
    return int.from_bytes(prediction_id[:6], "big")


def is_own_id(prediction_id: bytes, version_id: int) -> bool:
    """Return whether an id is of the form that the version's own ids have."""
    return prediction_id[6] >> 4 == 7 and version_bits(prediction_id) == version_id % (1 << VERSION_BITS)
