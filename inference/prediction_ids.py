"""Prediction ids: UUIDs of version 7 (RFC 9562), which sort by time and contain the model version."""

import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self, overload

import numpy as np
from numpy.typing import NDArray

ID_BYTES = 16
VERSION_BITS = 16  # of the model version's primary key: an id leads to a few versions instead of all of them
COUNTED_BITS = 46
VARIANT = 0b10  # of RFC 9562


@dataclass(frozen=True, slots=True)
class PredictionIds(Sequence[bytes]):
    """Ids of 16 bytes, in one buffer: a thousand objects for each batch until the next flush would cost more than it.

    Attributes
    ----------
    buffer
        The ids one after the other.
    """

    buffer: bytes

    @classmethod
    def of(cls, ids: Iterable[bytes]) -> Self:
        """Return the ids as a sequence of this type."""
        return cls(b"".join(ids))

    @classmethod
    def joined(cls, parts: Sequence["PredictionIds"]) -> "PredictionIds":
        """Return several sequences as one."""
        return parts[0] if len(parts) == 1 else cls(b"".join([part.buffer for part in parts]))

    def __len__(self) -> int:
        return len(self.buffer) // ID_BYTES

    def __iter__(self) -> Iterator[bytes]:
        buffer = self.buffer
        return (buffer[place : place + ID_BYTES] for place in range(0, len(buffer), ID_BYTES))

    @overload
    def __getitem__(self, place: int) -> bytes: ...
    @overload
    def __getitem__(self, place: slice) -> "PredictionIds": ...
    def __getitem__(self, place: int | slice) -> "bytes | PredictionIds":
        found = self._array()[place]
        return PredictionIds(found.tobytes()) if isinstance(place, slice) else found.tobytes()

    def selected(self, rows: NDArray[np.bool_]) -> "PredictionIds":
        """Return the ids at which the mask `rows`, shape (n,), is true."""
        return PredictionIds(self._array()[rows].tobytes())

    def texts(self) -> list[str]:
        """Return the ids in the form of a UUID."""
        digits = self.buffer.hex()
        if len(self) == 1:
            return [f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"]
        texts = np.full((len(self), 37), ord("-"), dtype=np.uint8)
        texts[:, 36] = ord("\n")
        table = np.frombuffer(digits.encode(), dtype=np.uint8).reshape(-1, 32)
        for place, (begin, end) in zip((0, 9, 14, 19, 24), pairwise((0, 8, 12, 16, 20, 32)), strict=True):
            texts[:, place : place + end - begin] = table[:, begin:end]
        return texts.tobytes().decode("ascii").split()

    def _array(self) -> NDArray[np.void]:
        return np.frombuffer(self.buffer, dtype=f"V{ID_BYTES}")


def new_prediction_ids(count: int, version_id: int) -> PredictionIds:
    """Return `count` new ids for predictions of a model version.

    The first 48 bits are Unix milliseconds, the next 12 the fraction of the millisecond (RFC 9562, method 3), and the
    last 16 the lower bits of the version's primary key. The other 46 count up from a random number, so ids of one call
    are always distinct, and ids of two calls within a quarter of a microsecond almost always.
    """
    milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
    head = milliseconds << 16 | 0x7000 | nanoseconds * 4096 // 1_000_000
    tail = VARIANT << 62 | version_id % (1 << VERSION_BITS)
    start = int.from_bytes(os.urandom(6), "big")
    if count == 1:
        return PredictionIds((head << 64 | tail | start % (1 << COUNTED_BITS) << VERSION_BITS).to_bytes(ID_BYTES))
    ids = np.empty((count, 2), dtype=">u8")
    ids[:, 0] = head
    counted = (np.uint64(start) + np.arange(count, dtype=np.uint64)) % np.uint64(1 << COUNTED_BITS)
    ids[:, 1] = np.uint64(tail) | counted << np.uint64(VERSION_BITS)
    return PredictionIds(ids.tobytes())


def version_bits(prediction_id: bytes) -> int:
    """Return the lower bits of the version's primary key; an arbitrary number for an id that a client gave."""
    return int.from_bytes(prediction_id[-2:], "big")


def is_own_id(prediction_id: bytes, version_id: int) -> bool:
    """Return whether an id has the form of the ids that `new_prediction_ids` makes for the version."""
    return prediction_id[6] >> 4 == 7 and version_bits(prediction_id) == version_id % (1 << VERSION_BITS)


def sampled(prediction_ids: Iterable[bytes], rate: float) -> NDArray[np.bool_]:
    """Return which ids are in the sample, shape (n,): a share `rate` of them.

    The sample depends on a hash of the id alone. An id that is sampled at one rate is sampled at every higher rate.
    """
    limit = int(rate * 2**64)
    digests = (hashlib.blake2b(one, digest_size=8).digest() for one in prediction_ids)
    return np.array([int.from_bytes(digest, "big") < limit for digest in digests], dtype=np.bool_)
