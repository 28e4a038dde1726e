"""Batches of numbers are read as the standard library reads them, or not at all."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.plain_batches import plain_batch

NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
LEAVES = NUMBERS | st.none() | st.booleans() | st.text('[]{},:"\\ax', max_size=3)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("rx", max_size=2), inner, max_size=2)
)
MATRICES = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(NUMBERS, min_size=width, max_size=width), min_size=1, max_size=4)
)


def is_plain(rows: Any) -> bool:
    """Return whether rows are lists of numbers of one length; bool is a subclass of int."""
    return (
        isinstance(rows, list)
        and all(isinstance(row, list) and {type(value) for value in row} <= {int, float} for row in rows)
        and len({len(row) for row in rows}) == 1
    )


@given(MATRICES, st.none() | st.text(max_size=5))
@settings(max_examples=300)
def test_plain_rows_become_the_same_numbers(rows: list[list[float]], key: str | None) -> None:
    body = json.dumps({"rows": rows} if key is None else {"routing_key": key, "rows": rows})
    batch = plain_batch(body.encode())
    if key is not None and ("[" in json.dumps(key) or "{" in json.dumps(key)):
        assert batch is None  # the usual decoder takes it
        return
    assert batch is not None
    np.testing.assert_array_equal(batch.matrix, np.array(json.loads(body)["rows"], dtype=np.float64))
    assert batch.routing_key == key


@given(st.dictionaries(st.sampled_from(["rows", "routing_key", "features", "x"]), VALUES, max_size=3))
@settings(max_examples=500)
def test_no_other_body_is_read(document: dict[str, Any]) -> None:
    batch = plain_batch(json.dumps(document).encode())
    if batch is not None:
        assert set(document) <= {"rows", "routing_key"}
        assert is_plain(document["rows"])
        np.testing.assert_array_equal(batch.matrix, np.array(document["rows"], dtype=np.float64))


@pytest.mark.parametrize(
    "body",
    [
        '{"rows": [[1, 2], [3, [4]]]}',  # which flatten to 2 x 2
        '{"rows": [[1, 2], [3], [4, 5, 6]]}',
        '{"rows": [[1, {"a": 2}]]}',
        '{"rows": [[1], {"a": 2}]}',
        '{"rows": [[9]], "rows": [[1]]}',  # the last one counts
        '{"rows": [[1e999]]}',
        '{"rows": [[NaN]]}',
        '{"rows": [[1, null]]}',
        '{"rows": [[true]]}',
        '{"rows": [["1"]]}',
        '{"rows": [[123456789012345678901234567890]]}',
        '{"rows": []}',
        '{"rows": {}}',
        '{"rows": 1}',
        "[[1]]",
        "1",
        "",
        '{"rows": [[1]]',
        '{"rows": [[1]]} x',
        '{"rows": [[1]], "other": 1}',
    ],
)
def test_bodies_that_need_a_closer_look_are_left_alone(body: str) -> None:
    assert plain_batch(body.encode()) is None
