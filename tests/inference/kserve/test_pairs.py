"""How halves wait in Redis for each other, within bounds."""

import itertools
import random
import time

import pytest
import redis

from inference.kserve.events import Half, LoggedEvent
from inference.kserve.pairs import KEYS, HalfPair, PairStore


def half_of(event_id: str, half: Half, body: bytes = b"{}") -> tuple[LoggedEvent, HalfPair]:
    event = LoggedEvent(half, "team-a", "iris", "predictor", event_id, 0, "", body)
    return event, HalfPair(half, "iris", "", 1_000, body)


def store_of(client: redis.Redis, **bounds: float) -> PairStore:
    chosen = {"wait_seconds": 60.0, "most_halves": 1000, "most_bytes": 10**6, **bounds}
    return PairStore(
        client,
        wait_seconds=chosen["wait_seconds"],
        most_halves=int(chosen["most_halves"]),
        most_bytes=int(chosen["most_bytes"]),
    )


def test_every_order_of_repeated_halves_gives_one_pair(redis_client: redis.Redis) -> None:
    store = store_of(redis_client)
    halves = [
        half_of("", Half.REQUEST),
        half_of("", Half.REQUEST),
        half_of("", Half.RESPONSE),
        half_of("", Half.RESPONSE),
    ]
    for number, order in enumerate(itertools.permutations(range(4))):
        pairs = again = 0
        for place in order:
            joined = store.join([half_of(f"e{number}", halves[place][0].half)])
            store.finish(joined.pairs)
            pairs += len(joined.pairs)
            again += len(joined.again)
        assert (pairs, again) == (1, 2)
    assert store.join([]).waiting == 0


def test_bodies_and_times_arrive_as_they_were_sent(redis_client: redis.Redis) -> None:
    store = store_of(redis_client)
    body = bytes(range(256)) + b"\n\n\n"
    event = half_of("e", Half.REQUEST)[0]
    request = HalfPair(Half.REQUEST, "iris", "1.0.0", 1_772_366_400_123_456, body)
    response = HalfPair(Half.RESPONSE, "iris", "", 1_772_366_400_163_456, b"")
    store.join([(event, request)])
    (pair,) = store.join([(half_of("e", Half.RESPONSE)[0], response)]).pairs
    assert (pair.request, pair.response, pair.event_id) == (request, response, "e")
    assert (pair.latency_ms, pair.version) == (40, "1.0.0")


def test_a_repeated_call_loses_no_pair(redis_client: redis.Redis) -> None:
    store = store_of(redis_client)
    halves = [half_of("a", Half.REQUEST), half_of("a", Half.RESPONSE), half_of("b", Half.REQUEST)]
    first, second = store.join(halves), store.join(halves)  # as if the first reply was lost
    assert [pair.event_id for pair in first.pairs] == ["a"]
    assert [pair.event_id for pair in second.pairs] == ["a"]
    store.finish(second.pairs)
    assert [pair.event_id for pair in store.join([half_of("b", Half.RESPONSE)]).pairs] == ["b"]


def test_a_half_that_waited_too_long_is_returned_with_its_model(redis_client: redis.Redis) -> None:
    store = store_of(redis_client, wait_seconds=0.05)
    assert store.join([half_of("a", Half.REQUEST), half_of("b", Half.RESPONSE)]).waiting == 2
    deadline = time.monotonic() + 5
    expired = list(store.join([]).expired)
    while len(expired) < 2 and time.monotonic() < deadline:
        expired += store.join([]).expired
    assert sorted(expired) == [(Half.REQUEST, "iris"), (Half.RESPONSE, "iris")]
    assert redis_client.get(KEYS[2]) == b"0"
    assert store.join([half_of("a", Half.RESPONSE)]).pairs == []


@pytest.mark.parametrize(("bounds", "kept"), [({"most_halves": 3}, 3), ({"most_bytes": 5 * 115}, 5)])
def test_beyond_a_bound_the_oldest_make_room(redis_client: redis.Redis, bounds: dict[str, float], kept: int) -> None:
    store = store_of(redis_client, **bounds)
    size = len(half_of("", Half.REQUEST, b"x" * 80)[1].packed())
    if "most_bytes" in bounds:
        store = store_of(redis_client, most_bytes=kept * size)
    expired = 0
    for number in range(10):
        joined = store.join([half_of(f"e{number}", Half.REQUEST, b"x" * 80)])
        expired += len(joined.expired)
        time.sleep(0.002)  # entries of one millisecond have no order
    assert (expired, joined.waiting) == (10 - kept, kept)
    assert redis_client.get(KEYS[2]) == str(kept * size).encode()
    responses = [half_of(f"e{number}", Half.RESPONSE) for number in range(10 - kept, 10)]
    if "most_halves" in bounds:
        assert len(store.join(responses).pairs) == kept


def test_nothing_stays_behind(redis_client: redis.Redis) -> None:
    store = store_of(redis_client)
    store.finish(
        store.join([half_of("a", Half.REQUEST), half_of("a", Half.RESPONSE), half_of("b", Half.REQUEST)]).pairs
    )
    left = set(redis_client.keys("*"))
    assert left == {key.encode() for key in KEYS}
    assert all(0 < redis_client.pttl(key) <= 180_000 for key in left)


def test_two_processes_and_a_random_order(redis_client: redis.Redis) -> None:
    stores = [store_of(redis_client), store_of(redis_client)]
    halves = [half_of(f"e{number}", half) for number in range(500) for half in Half]
    halves += halves[::7]
    rng = random.Random(3)  # noqa: S311 -- an order that can be repeated
    rng.shuffle(halves)
    found: list[str] = []
    again = 0
    while halves:
        batch, halves = halves[:50], halves[50:]
        store = rng.choice(stores)
        joined = store.join(batch)
        store.finish(joined.pairs)
        found += [pair.event_id for pair in joined.pairs]
        again += len(joined.again)
    assert sorted(set(found)) == sorted(f"e{number}" for number in range(500))
    assert len(found) + again == 500 + len(range(0, 1000, 7))
