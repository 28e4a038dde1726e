"""Hostile events: whatever their headers and bodies are, they are received, and decoding only refuses them."""

import contextlib
import json
import time
from typing import Any

import pytest
import redis
from django.test import Client
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from inference import stream
from inference.exceptions import EventError
from inference.kserve.events import ReceivedEvent, decode_event, prediction_id_of
from inference.kserve.payloads import predictions_of_response, rows_of_request
from inference.services.kserve_events import event_receiver, stop_receiving
from mlmon.schema import Feature, FeatureKind, TaskType, TensorType
from models_registry.models import ModelVersion
from models_registry.schema import ModelSchema
from tests.factories import version_served_elsewhere
from tests.inference.kserve import EVENTS_PATH, REQUEST, RESPONSE

FEATURES = tuple(
    Feature(name, FeatureKind.NUMERIC, True, "", column, TensorType.FLOAT64) for column, name in enumerate("ab")
)
SCHEMAS = [
    ModelSchema(TaskType.CLASSIFICATION, FEATURES, ("x", "y"), "", "", None),
    ModelSchema(TaskType.CLASSIFICATION, FEATURES, ("0", "1", "2"), "", "", None),
    ModelSchema(TaskType.REGRESSION, FEATURES, (), "", "", None),
    ModelSchema(TaskType.ANOMALY, FEATURES, ("-1", "1"), "", "", None),
]
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda nested: st.lists(nested, max_size=4) | st.dictionaries(st.text(max_size=3), nested, max_size=3),
    max_leaves=12,
)
tensors = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["a", "b", "label", "p"]) | values,
        "shape": st.lists(st.integers(-1, 4), max_size=3) | values,
        "datatype": st.sampled_from(["FP32", "INT64", "BOOL", "BYTES", "BF16"]) | values,
    },
    optional={
        "data": st.lists(values, max_size=6),
        "parameters": st.dictionaries(st.just("binary_data_size"), st.integers(-1, 40) | values) | values,
    },
)
documents = st.fixed_dictionaries(
    {},
    optional={
        "instances": st.lists(values, max_size=4) | values,
        "predictions": st.lists(values, max_size=4) | values,
        "inputs": st.lists(tensors, max_size=3) | values,
        "outputs": st.lists(tensors, max_size=3) | values,
    },
)
bodies = st.one_of(
    st.binary(max_size=60),
    st.builds(lambda document, tail: json.dumps(document).encode() + tail, documents, st.binary(max_size=40)),
    values.map(lambda value: json.dumps(value).encode()),
)
names = st.sampled_from(
    ["ce-id", "ce-type", "ce-namespace", "ce-inferenceservicename", "ce-component", "ce-time", "ce-annotations"]
)
headers = st.dictionaries(
    names, st.text(max_size=20) | st.sampled_from([REQUEST, RESPONSE, "predictor", "2026-03-01T12:00:00Z", "%ff%zz"])
) | st.just({"content-type": "application/cloudevents+json"})


@given(headers, bodies)
@example({"content-type": "application/cloudevents+json"}, b'{"type": "' + REQUEST.encode() + b'", "id": "\\ud800"}')
def test_decoding_an_event_only_refuses(given_headers: dict[str, str], body: bytes) -> None:
    try:
        event = decode_event(ReceivedEvent(given_headers, body))
    except EventError:
        return
    assert len(event.key) == len(prediction_id_of(event.id).bytes) == 16


@given(bodies, st.sampled_from(SCHEMAS), st.integers(1, 4))
def test_decoding_a_body_only_refuses(body: bytes, schema: ModelSchema, rows: int) -> None:
    with contextlib.suppress(EventError):
        assert 0 < len(rows_of_request(body, schema.features, most_rows=100)) <= 100
    with contextlib.suppress(EventError):
        assert len(predictions_of_response(body, schema, rows=rows)) == rows


@pytest.fixture
def clean_receiver() -> Any:
    stop_receiving()
    yield
    stop_receiving()


@pytest.mark.django_db
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(bodies, bodies), min_size=1, max_size=4))
def test_pairs_of_any_bodies_are_received_and_processed(
    client: Client, redis_client: redis.Redis, clean_receiver: None, pairs: list[tuple[bytes, bytes]]
) -> None:
    version = ModelVersion.objects.first() or version_served_elsewhere("iris")
    for number, halves in enumerate([*pairs, (b'{"instances": [[1, 2, 3, 4]]}', b'{"predictions": ["setosa"]}')]):
        event_id = f"{time.monotonic_ns()}-{number}"
        for kind, body in zip((REQUEST, RESPONSE), halves, strict=True):
            sent = {"ce-id": event_id, "ce-type": kind, "ce-namespace": "a", "ce-inferenceservicename": "iris"}
            response = client.post(EVENTS_PATH, body, content_type="application/json", headers=sent)
            assert response.status_code == 202
    before = stream.rows_seen(redis_client, [version.pk])[version.pk]
    event_receiver().flush()
    assert stream.rows_seen(redis_client, [version.pk])[version.pk] > before  # the good pair, whatever came before it


@pytest.mark.parametrize(
    "body",
    [
        b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": ' + b"[" * 200 + b"]" * 200 + b"}]}",
        b'{"instances": [' + b"[" * 50_000 + b"]" * 50_000 + b"]}",
        b'{"instances": [[' + b"9" * 500_000 + b", 1]]}",
        b'{"instances": ' + b"\x00" * 1_000_000,
        b"{" * 1_000_000,
        b'{"inputs": [' + b'{"name": "x"},' * 50_000 + b"{}]}",
        b'{"a": "' + b"\\u0000" * 150_000 + b'"}\xff',
    ],
    ids=["nested", "deep", "digits", "nul", "braces", "tensors", "escapes"],
)
def test_no_body_of_a_megabyte_is_slow(body: bytes) -> None:
    """The slowest takes a few hundredths of a second; the limit is for a busy machine."""
    begun = time.process_time()
    with contextlib.suppress(EventError):
        rows_of_request(body, FEATURES, most_rows=100)
    assert time.process_time() - begun < 2
