"""Pairs of events: a half waits in Redis for the other one, which another web process may receive.

A hash holds the waiting halves within bounds of number, bytes and time. A sorted set holds the keys of recent pairs, so
that a repeated event is known. All keys expire when no event arrives, so nothing stays behind.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis

from inference.kserve.events import Half, LoggedEvent

KEYS = [f"mlmon:{{kserve}}:{name}" for name in ("halves", "deadlines", "bytes", "paired")]
MOST_EXPIRED_AT_ONCE = 1000
# Both scripts call this: it removes a half, and returns how its value begins.
FORGET = """
local function forget(key)
    local value = redis.call('HGET', KEYS[1], key)
    redis.call('ZREM', KEYS[2], key)
    if not value then return nil end
    redis.call('HDEL', KEYS[1], key)
    redis.call('DECRBY', KEYS[3], #value)
    return string.match(value, '^[^\\n]*\\n[^\\n]*')
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""
JOIN_SCRIPT = (
    FORGET
    + """
local wait, most_halves, most_bytes = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local expired, joined = {}, {}
for _, key in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, ARGV[4])) do
    expired[#expired + 1] = forget(key)
end
for i = 5, #ARGV, 3 do
    local key, half, value = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    local other = redis.call('HGET', KEYS[1], key)
    if other then
        joined[#joined + 1] = string.sub(other, 1, #half) == half and 'again' or other
    elseif redis.call('ZSCORE', KEYS[4], key) then
        joined[#joined + 1] = 'again'
    else
        local size = redis.call('INCRBY', KEYS[3], #value)
        while size > most_bytes or redis.call('HLEN', KEYS[1]) >= most_halves do
            local oldest = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
            if not oldest then break end
            expired[#expired + 1] = forget(oldest)
            size = tonumber(redis.call('GET', KEYS[3]))
        end
        redis.call('HSET', KEYS[1], key, value)
        redis.call('ZADD', KEYS[2], now + wait, key)
        joined[#joined + 1] = 'waits'
    end
end
for i = 1, 4 do redis.call('PEXPIRE', KEYS[i], 2 * wait + 60000) end
return {redis.call('HLEN', KEYS[1]), expired, joined}
"""
)
FINISH_SCRIPT = (
    FORGET
    + """
for i = 3, #ARGV do
    forget(ARGV[i])
    redis.call('ZADD', KEYS[4], now, ARGV[i])
end
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', now - ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[4], 0, -(ARGV[2] + 1))
redis.call('PEXPIRE', KEYS[4], 2 * ARGV[1] + 60000)
"""
)
_TIME = struct.Struct("<q")


@dataclass(frozen=True, slots=True)
class HalfPair:
    """The part of an event that waits: what is needed when the other half arrives, or does not.

    Attributes
    ----------
    model_name, version
        The model to which the event belongs, and the version that was named for it; "" for none.
    """

    half: Half
    model_name: str
    version: str
    time_us: int
    body: bytes

    def packed(self) -> bytes:
        return b"\n".join(
            (self.half.encode(), self.model_name.encode(), self.version.encode(), _TIME.pack(self.time_us) + self.body)
        )

    @classmethod
    def unpacked(cls, value: bytes) -> "HalfPair":
        half, model_name, version, rest = value.split(b"\n", 3)
        (time_us,) = _TIME.unpack_from(rest)
        return cls(Half(half.decode()), model_name.decode(), version.decode(), time_us, rest[_TIME.size :])


@dataclass(frozen=True, slots=True)
class Pair:
    """A request and its response."""

    key: bytes
    event_id: str
    request: HalfPair
    response: HalfPair

    @property
    def version(self) -> str:
        """The version that was named for one of the halves; "" for none."""
        return self.response.version or self.request.version

    @property
    def latency_ms(self) -> float | None:
        """Time between the two events; None if it is unknown."""
        if not self.request.time_us or self.response.time_us < self.request.time_us:
            return None
        return (self.response.time_us - self.request.time_us) / 1000


@dataclass(frozen=True, slots=True)
class Joined:
    """What became of some events.

    Attributes
    ----------
    pairs
        Those whose other half waited; it still waits until `PairStore.finish`.
    again
        Models of the events that were received before.
    expired
        Half and model of each event that waited in vain.
    waiting
        Number of events that wait now.
    """

    pairs: Sequence[Pair]
    again: Sequence[str]
    expired: Sequence[tuple[Half, str]]
    waiting: int


class PairStore:
    """The waiting events of all web processes.

    Parameters
    ----------
    wait_seconds
        How long a half waits.
    most_halves, most_bytes
        Bounds of all that wait. Beyond them, the oldest are removed as if their time had ended.
    """

    def __init__(self, client: redis.Redis, *, wait_seconds: float, most_halves: int, most_bytes: int) -> None:
        self._client = client
        self._wait_ms = int(wait_seconds * 1000)
        self._most_halves = most_halves
        self._most_bytes = most_bytes

    def join(self, events: Sequence[tuple[LoggedEvent, HalfPair]]) -> Joined:
        """Join events with their other halves, let the others wait, and remove those whose time has ended.

        If the reply is lost, the call can be repeated: no pair is lost.
        """
        args: list[bytes | int | str] = [self._wait_ms, self._most_halves, self._most_bytes, MOST_EXPIRED_AT_ONCE]
        for event, half in events:
            args += [event.key, half.half.value, half.packed()]
        reply: Any = self._client.register_script(JOIN_SCRIPT)(keys=KEYS, args=args)
        waiting, expired, results = reply
        pairs, again = [], []
        for (event, half), result in zip(events, results, strict=True):
            if result == b"again":
                again.append(half.model_name)
            elif result != b"waits":
                other = HalfPair.unpacked(result)
                request, response = (half, other) if half.half is Half.REQUEST else (other, half)
                pairs.append(Pair(event.key, event.id, request, response))
        names = [begin.decode().split("\n") for begin in expired]
        return Joined(pairs, again, [(Half(half), model_name) for half, model_name in names], int(waiting))

    def finish(self, pairs: Sequence[Pair]) -> None:
        """Remove the halves of captured pairs, and keep the keys as long as a half waits."""
        if pairs:
            args: list[bytes | int] = [self._wait_ms, self._most_halves, *(pair.key for pair in pairs)]
            self._client.register_script(FINISH_SCRIPT)(keys=KEYS, args=args)
