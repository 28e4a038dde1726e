"""Counts of a rollout's requests, on their way from the web processes through Redis to the controller.

A request is counted with the shares by which it was routed: they come from the snapshot that routed it, never from the
plan. A process adds up its counts and appends them to the rollout's stream once a second. An append whose reply was
lost is repeated unchanged, under the same number, so that Redis performs it once.
"""

import hashlib
import itertools
import os
import struct
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson
import redis

MOST_ENTRIES = 100_000  # of a stream, if no controller reads it
MOST_KEYED_EVENTS = 10_000  # of one append; later ones are not counted, whichever version they belong to
MOST_WAITING = 1_000  # appends of a process while Redis is unavailable; later counts are added up
ATTEMPT_SECONDS = 3600
KEEP_SECONDS = 7 * 86_400  # of a stream without new counts
ERRORS, LATENCY = "errors", "latency"
ROUTING_FORMAT = struct.Struct("<IHHq")
APPEND_SCRIPT = """
if redis.call('GET', KEYS[2]) == ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[4])
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', 'c', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[5])
return 1
"""


class Routing(NamedTuple):
    """How the traffic policy chose a version during a rollout; captured with the predictions.

    Attributes
    ----------
    rollout_id
        The rollout.
    champion_weight, challenger_weight
        The traffic weights by which the version was chosen; both 0 of a copy that a shadow predicted.
    unit
        Digest of the routing key, or a number of this request alone: rows of one unit share one version.
    """

    rollout_id: int
    champion_weight: int
    challenger_weight: int
    unit: int

    def packed(self) -> bytes:
        """Return 16 bytes."""
        return ROUTING_FORMAT.pack(*self)

    @classmethod
    def of(cls, packed: bytes) -> "Routing":
        """Return what `packed` returned as bytes."""
        return cls(*ROUTING_FORMAT.unpack(packed))


class RolloutRule(NamedTuple):
    """What serving must know of the active rollout of a model.

    Attributes
    ----------
    rollout_id, champion_id, challenger_id
        Primary keys.
    latency_limit_seconds
        A request that takes longer counts as an event; None without this guardrail.
    is_shadow
        Whether the challenger gets copies of the champion's requests; then pairs of predictions are counted.
    """

    rollout_id: int
    champion_id: int
    challenger_id: int
    latency_limit_seconds: float | None
    is_shadow: bool = False


@dataclass(frozen=True, slots=True)
class ServedRollout:
    """An active rollout with the traffic weights of one snapshot, both above 0; equal ones if there are pairs."""

    rule: RolloutRule
    champion_weight: int
    challenger_weight: int

    def routed(self, version_id: int, key: str | None) -> "RoutedRequest | None":
        """Return the request that the weights have sent to a version; None if it says nothing about the rollout."""
        if version_id != self.rule.challenger_id and version_id != self.rule.champion_id:
            return None
        return RoutedRequest(self, version_id == self.rule.challenger_id, None if key is None else unit_of_key(key))


PAIR_WEIGHT = 500  # of each version, if both predict every request
SHADOW_ROUTING = Routing(0, 0, 0, 0).packed()  # of a copy, whose prediction no client received


class RoutedRequest(NamedTuple):
    """A request to the champion or the challenger; `key_unit` is the digest of its routing key, if it has one."""

    rollout: ServedRollout
    is_challenger: bool
    key_unit: int | None

    def routing(self) -> bytes:
        """Return the packed `Routing` of the request's predictions."""
        unit = int.from_bytes(os.urandom(8), "little", signed=True) if self.key_unit is None else self.key_unit
        rollout = self.rollout
        return Routing(rollout.rule.rollout_id, rollout.champion_weight, rollout.challenger_weight, unit).packed()


def unit_of_key(key: str) -> int:
    """Return the digest of a routing key, of 64 bits."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little", signed=True)


RuleSource = Callable[[], Mapping[int, RolloutRule]]
_rule_source: RuleSource = dict


def set_rule_source(source: RuleSource) -> None:
    """Let `source` return the rules of active rollouts by model id; the app above this one calls it once."""
    global _rule_source  # noqa: PLW0603 -- set once, when the apps start
    _rule_source = source


def active_rules() -> Mapping[int, RolloutRule]:
    """Return the rules of active rollouts by the id of their model; raise DatabaseError if they cannot be read."""
    return _rule_source()


@dataclass(slots=True)
class RolloutCounts:
    """Requests and events of both versions under one pair of shares; each pair is champion, challenger.

    Attributes
    ----------
    requests
        Routed requests.
    events
        By measure: events of requests without a routing key, one for each request.
    keyed
        By measure: events of requests with a routing key, as (digest of the key, 1 for the challenger).
    """

    requests: list[int] = field(default_factory=lambda: [0, 0])
    events: dict[str, list[int]] = field(default_factory=dict)
    keyed: dict[str, list[tuple[int, int]]] = field(default_factory=dict)

    def add(self, request: RoutedRequest, measures: tuple[str, ...]) -> None:
        """Count a request and its events."""
        self.requests[request.is_challenger] += 1
        for measure in measures:
            if request.key_unit is None:
                self.events.setdefault(measure, [0, 0])[request.is_challenger] += 1
            else:
                keyed = self.keyed.setdefault(measure, [])
                if len(keyed) < MOST_KEYED_EVENTS:
                    keyed.append((request.key_unit, int(request.is_challenger)))


@dataclass(frozen=True, slots=True)
class CountedEntry:
    """One entry of a rollout's stream.

    Attributes
    ----------
    id
        The id that Redis assigned.
    at
        Unix time in seconds at which the process wrote it.
    champion_weight, challenger_weight
        The weights by which the requests were routed.
    counts
        What was counted.
    """

    id: str
    at: float
    champion_weight: int
    challenger_weight: int
    counts: RolloutCounts


class RolloutTally:
    """The counts of this process that are not in Redis yet."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._producer = uuid.uuid4().hex
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()  # guards the counts
        self._flush_lock = threading.Lock()  # one flush at a time
        self._counts: dict[tuple[int, int, int], RolloutCounts] = {}  # by rollout, champion's and challenger's weight
        self._unconfirmed: list[tuple[int, int, bytes]] = []  # rollout, number and content of appends without a reply

    def count(self, request: RoutedRequest, *, is_error: bool, latency_seconds: float) -> None:
        """Count a request that was routed during a rollout."""
        rollout = request.rollout
        limit = rollout.rule.latency_limit_seconds
        measures: tuple[str, ...] = (ERRORS,) if is_error else ()
        if limit is not None and latency_seconds > limit:
            measures += (LATENCY,)
        key = rollout.rule.rollout_id, rollout.champion_weight, rollout.challenger_weight
        with self._lock:
            counts = self._counts.get(key)
            if counts is None:
                counts = self._counts[key] = RolloutCounts()
            counts.add(request, measures)

    def count_copies(self, rollout_id: int, **copies: int) -> None:
        """Count copies of requests for the shadow of a rollout.

        Parameters
        ----------
        copies
            How many were ``predicted``, ``dropped`` or ``failed``, and of how many rows the predictions of both
            versions were ``compared`` and ``different``.
        """
        key = rollout_id, PAIR_WEIGHT, PAIR_WEIGHT
        with self._lock:
            counts = self._counts.setdefault(key, RolloutCounts())
            predicted = copies.pop("predicted", 0)
            counts.requests = [number + predicted for number in counts.requests]
            for name, number in copies.items():
                counts.events.setdefault(name, [0, 0])[1] += number

    def flush(self, client: redis.Redis) -> None:
        """Append the counts to the streams.

        Raises
        ------
        redis.RedisError
            Redis is unavailable; the counts are kept for the next call.
        """
        with self._flush_lock:
            self._unconfirmed += self._taken()
            while self._unconfirmed:
                rollout_id, number, content = self._unconfirmed[0]
                client.register_script(APPEND_SCRIPT)(
                    keys=[stream_key(rollout_id), f"{stream_key(rollout_id)}:{self._producer}"],
                    args=[number, content, MOST_ENTRIES, ATTEMPT_SECONDS, KEEP_SECONDS],
                )
                del self._unconfirmed[0]

    def _taken(self) -> list[tuple[int, int, bytes]]:
        """Take the counts as the contents of appends, unless too many wait already: then they grow further."""
        if len(self._unconfirmed) >= MOST_WAITING:
            return []
        with self._lock:
            taken, self._counts = self._counts, {}
        at = self._clock()
        return [
            (
                rollout_id,
                next(self._numbers),
                orjson.dumps([at, champion, challenger, counts.requests, counts.events, counts.keyed]),
            )
            for (rollout_id, champion, challenger), counts in taken.items()
        ]


def stream_key(rollout_id: int) -> str:
    """Return the key of a rollout's stream; the braces keep its keys on one node of a cluster."""
    return f"mlmon:{{rollout-{rollout_id}}}:counts"


def read_counts(client: redis.Redis, rollout_id: int, *, after: str, most: int) -> list[CountedEntry]:
    """Return the oldest entries of a rollout after `after`; raise redis.RedisError if Redis is unavailable."""
    entries: Any = client.xrange(stream_key(rollout_id), min=f"({after}", count=most)
    return [_entry_of(entry_id.decode(), fields[b"c"]) for entry_id, fields in entries]


def forget_counts(client: redis.Redis, rollout_id: int, *, up_to: str) -> None:
    """Delete the entries before `up_to`, which are in the database."""
    client.xtrim(stream_key(rollout_id), minid=up_to, approximate=True)


def delete_counts(client: redis.Redis, rollout_id: int) -> None:
    """Delete the stream of a rollout that has ended."""
    client.delete(stream_key(rollout_id))


def _entry_of(entry_id: str, content: bytes) -> CountedEntry:
    at, champion, challenger, requests, events, keyed = orjson.loads(content)
    pairs = {measure: [(int(unit), int(side)) for unit, side in found] for measure, found in keyed.items()}
    return CountedEntry(entry_id, at, champion, challenger, RolloutCounts(requests, events, pairs))
