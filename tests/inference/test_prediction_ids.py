"""Identities of predictions."""

import itertools
import time
import uuid

from inference.prediction_ids import new_prediction_ids, prediction_id_text


def test_ids_are_version_7_of_rfc_9562_and_carry_the_time() -> None:
    before = time.time_ns() // 1_000_000
    (raw,) = new_prediction_ids(1)
    after = time.time_ns() // 1_000_000
    parsed = uuid.UUID(prediction_id_text(raw))
    assert parsed.version == 7
    assert parsed.variant == uuid.RFC_4122
    assert before <= parsed.int >> 80 <= after


def test_ids_are_distinct_and_sort_by_time_between_calls() -> None:
    batches = []
    for _ in range(50):
        batches.append(new_prediction_ids(100))
        time.sleep(0.0005)
    flat = [one for batch in batches for one in batch]
    assert len(set(flat)) == len(flat)
    assert all(max(earlier) < min(later) for earlier, later in itertools.pairwise(batches))
