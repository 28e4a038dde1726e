"""Parsing an item of ground truth: valid items, and the errors of invalid ones."""

import uuid
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from performance.exceptions import GroundTruthError
from performance.services.ground_truth import parse_item

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PREDICTION_ID = "0199f0c2-7a40-7c1e-9d3b-5f0a4f2b0001"


def item(**fields: Any) -> dict[str, Any]:
    return {"prediction_id": PREDICTION_ID, "actual": "setosa"} | fields


def test_an_item_has_an_id_a_label_and_a_time() -> None:
    parsed = parse_item(item(observed_at="2026-03-01T12:00:00+01:00"), now=NOW)
    assert parsed.prediction_id == uuid.UUID(PREDICTION_ID)
    assert parsed.actual == "setosa"
    assert parsed.observed_at == NOW - timedelta(hours=1)
    assert parse_item(item(), now=NOW).observed_at is None


@pytest.mark.parametrize(
    ("actual", "text"),
    [("a b", "a b"), (1, "1"), (1.0, "1"), (-0.0, "0"), (1.5, "1.5"), (True, "true"), (1e300, "1e+300")],
)
def test_a_label_is_stored_as_a_string(actual: Any, text: str) -> None:
    assert parse_item(item(actual=actual), now=NOW).actual == text


BAD_ITEMS: list[tuple[Any, str, str]] = [
    (None, "", "must be an object"),
    ([], "", "must be an object"),
    ("setosa", "", "must be an object"),
    ({}, "prediction_id", "is required"),
    (item(prediction_id=None), "prediction_id", "is required"),
    (item(prediction_id=7), "prediction_id", "must be a UUID"),
    (item(prediction_id=""), "prediction_id", "must be a UUID"),
    (item(prediction_id="x" * 36), "prediction_id", "must be a UUID"),
    (item(prediction_id=PREDICTION_ID + "\n"), "prediction_id", "must be a UUID"),
    (item(prediction_id="{" + PREDICTION_ID + "}"), "prediction_id", "must be a UUID"),
    ({"prediction_id": PREDICTION_ID}, "actual", "is required"),
    (item(actual=None), "actual", "is required"),
    (item(actual=[]), "actual", "must be a string, a number"),
    (item(actual={"label": 1}), "actual", "must be a string, a number"),
    (item(actual=""), "actual", "1 to 255 characters"),
    (item(actual="  "), "actual", "1 to 255 characters"),
    (item(actual="x" * 256), "actual", "1 to 255 characters"),
    (item(actual="a\0b"), "actual", "1 to 255 characters"),
    (item(observed_at="yesterday"), "observed_at", "must be an ISO 8601 time"),
    (item(observed_at=1772366400), "observed_at", "must be an ISO 8601 time"),
    (item(observed_at="2026-03-01"), "observed_at", "must have a UTC offset"),
    (item(observed_at="2026-03-01T12:00:00"), "observed_at", "must have a UTC offset"),
    (item(observed_at="2999-03-01T12:06:00Z"), "observed_at", "is in the future"),
    (item(observed_at="9999-12-31T23:59:59-23:59"), "observed_at", "is in the future"),
    (item(observed_at="0001-01-01T00:00:00+23:59"), "observed_at", "is before 1970"),
    (item(label="setosa"), "label", "is not a known field"),
]


UNLIKE_JSON: list[tuple[Any, str, str]] = [
    (item(actual=float("nan")), "actual", "must be a finite number"),
    (item(actual=float("inf")), "actual", "must be a finite number"),
    (item(observed_at=datetime(2026, 3, 1, 12)), "observed_at", "must have a UTC offset"),  # noqa: DTZ001
    (item(observed_at=NOW + timedelta(minutes=6)), "observed_at", "is in the future"),
]


@pytest.mark.parametrize(("bad", "field", "reason"), BAD_ITEMS + UNLIKE_JSON)
def test_an_error_names_the_field_and_the_reason(bad: Any, field: str, reason: str) -> None:
    with pytest.raises(GroundTruthError, match=reason) as refused:
        parse_item(bad, now=NOW)
    assert refused.value.field == field


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers(-(2**63), 2**64 - 1) | st.text(), st.lists))
def test_every_json_value_is_parsed_or_refused(value: Any) -> None:
    parsed = []
    for name in ("prediction_id", "actual", "observed_at"):
        with suppress(GroundTruthError):
            parse_item(orjson.loads(orjson.dumps(item(**{name: value}))), now=NOW)
            parsed.append(name)
    assert "prediction_id" not in parsed  # none of these strings is an id
