"""Prediction ids."""

import itertools
import time
import uuid

import numpy as np
import pytest

from inference.prediction_ids import PredictionIds, is_own_id, new_prediction_ids, version_bits


def test_ids_are_version_7_of_rfc_9562_and_contain_the_time() -> None:
    before = time.time_ns() // 1_000_000
    (raw,) = new_prediction_ids(1, 5)
    after = time.time_ns() // 1_000_000
    parsed = uuid.UUID(bytes=raw)
    assert parsed.version == 7
    assert parsed.variant == uuid.RFC_4122
    assert before <= parsed.int >> 80 <= after


def test_ids_contain_the_version() -> None:
    (raw,) = new_prediction_ids(1, 2**16 + 7)
    assert version_bits(raw) == 7
    assert is_own_id(raw, 7)
    assert is_own_id(raw, 2**16 + 7)
    assert not is_own_id(raw, 8)
    random_id = uuid.UUID("8c9f2c5e-4d1a-4c1e-9d3b-5f0a4f2b0007").bytes  # version 4, with the same end by chance
    assert not is_own_id(random_id, 7)


def test_ids_of_a_large_call_are_distinct() -> None:
    ids = new_prediction_ids(100_000, 1)
    assert len(set(ids)) == 100_000
    assert {uuid.UUID(bytes=one).variant for one in ids[::997]} == {uuid.RFC_4122}


def test_ids_are_distinct_and_sort_by_time_between_calls() -> None:
    batches = []
    for _ in range(50):
        batches.append(new_prediction_ids(100, 1))
        made_at = time.time_ns()
        while time.time_ns() - made_at < 1000:  # ids of one quarter of a microsecond need not sort
            pass
    flat = [one for batch in batches for one in batch]
    assert len(set(flat)) == len(flat)
    assert all(max(earlier) < min(later) for earlier, later in itertools.pairwise(batches))


@pytest.mark.parametrize("count", [0, 1, 2, 1000])
def test_ids_are_a_sequence_whose_texts_are_uuids(count: int) -> None:
    ids = new_prediction_ids(count, 5)
    assert len(ids) == count
    assert ids.texts() == [str(uuid.UUID(bytes=one)) for one in ids]
    assert [ids[place] for place in range(-count, count)] == [*ids, *ids]
    assert PredictionIds.of(ids) == ids
    assert list(PredictionIds.joined([ids, ids])) == [*ids, *ids]
    kept = np.arange(count) % 3 == 0
    assert list(ids.selected(kept)) == list(ids)[::3] == list(ids[::3])
