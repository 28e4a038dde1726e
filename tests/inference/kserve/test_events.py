"""Decoding of events, which the `cloudevents` package has encoded as its specification says."""

import uuid
from typing import Any

import pytest

from inference.exceptions import EventError
from inference.kserve.events import EventOutcome, Half, LoggedEvent, ReceivedEvent, decode_event, prediction_id_of
from tests.inference.kserve import REQUEST, RESPONSE, half, made_events

DATA = {"instances": [[5.1, 3.5, 1.4, 0.2]]}


def decoded(specification: dict[str, Any]) -> LoggedEvent:
    (message,) = made_events([specification])
    return decode_event(ReceivedEvent(message.headers, message.body))


@pytest.mark.parametrize("mode", ["binary", "structured"])
@pytest.mark.parametrize(("kind", "expected"), [(REQUEST, Half.REQUEST), (RESPONSE, Half.RESPONSE)])
def test_attributes_in_both_modes(mode: str, kind: str, expected: Half) -> None:
    event = decoded(half(kind, DATA, event_id="e-1", mode=mode))
    assert (event.half, event.id, event.namespace, event.service) == (expected, "e-1", "team-a", "iris")
    assert (event.component, event.version) == ("predictor", "")
    assert event.time_us == 1_772_366_400_123_456  # date -d 2026-03-01T12:00:00.123456Z +%s%6N
    assert event.body.replace(b" ", b"") == b'{"instances":[[5.1,3.5,1.4,0.2]]}'


@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_an_id_of_any_characters(mode: str) -> None:
    event_id = 'order 4711 "größe" 100 %25 /\\'
    assert decoded(half(REQUEST, DATA, event_id=event_id, mode=mode)).id == event_id


@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_a_binary_body_stays_as_it_is(mode: str) -> None:
    body = b'{"inputs": []}\x00\xff\x80'
    event = decoded(half(REQUEST, body, event_id="e", mode=mode, datacontenttype="application/octet-stream"))
    assert event.body == body


def test_the_older_name_of_the_service_attribute() -> None:
    specification = half(REQUEST, DATA, event_id="e") | {"inferencesvcname": "old"}
    del specification["inferenceservicename"]
    assert decoded(specification).service == "old"


@pytest.mark.parametrize(
    ("annotations", "version"),
    [
        ('{"mlmon/version":"1.1.0"}', "1.1.0"),
        ('{"team":"a"}', ""),
        ("no JSON", ""),
        ("[1]", ""),
        ('{"mlmon/version":7}', ""),
        ('{"mlmon/version":"1\\n2"}', ""),
    ],
)
def test_the_version_in_the_annotations(annotations: str, version: str) -> None:
    assert decoded(half(REQUEST, DATA, event_id="e", annotations=annotations)).version == version


def test_headers_as_kserve_sends_them() -> None:
    """The Go SDK does not encode values, and sends nanoseconds; the names are those of KServe's worker.go."""
    headers = {
        "ce-specversion": "1.0",
        "ce-id": "9f0e1c5e-3b7f-4d53-9a3c-0d6d6f2a8f11",
        "ce-type": RESPONSE,
        "ce-source": "http://localhost:9081/",
        "ce-time": "2026-03-01T12:00:00.123456789Z",
        "ce-inferenceservicename": "sklearn-iris",
        "ce-namespace": "default",
        "ce-component": "predictor",
        "ce-endpoint": "",
        "ce-metadata": '{"X-Team":["a","b"]}',
        "ce-annotations": '{"mlmon/version":"2.0.0"}',
        "content-type": "application/json",
    }
    event = decode_event(ReceivedEvent(headers, b"{}"))
    assert (event.service, event.namespace, event.version) == ("sklearn-iris", "default", "2.0.0")
    assert event.time_us == 1_772_366_400_123_456


@pytest.mark.parametrize("time", ["", "yesterday", "2026-03-01T12:00:00", "0001-01-01T00:00:00+23:59"])
def test_an_event_without_a_time_is_kept(time: str) -> None:
    (message,) = made_events([half(REQUEST, DATA, event_id="e")])
    assert decode_event(ReceivedEvent({**message.headers, "ce-time": time}, message.body)).time_us == 0


def test_both_halves_have_one_key_and_other_events_another() -> None:
    request, response, *others = (
        decoded(half(kind, DATA, event_id=event_id, **attributes)).key
        for kind, event_id, attributes in [
            (REQUEST, "e", {}),
            (RESPONSE, "e", {}),
            (REQUEST, "f", {}),
            (REQUEST, "e", {"namespace": "team-b"}),
            (REQUEST, "e", {"service": "wine"}),
            (REQUEST, "e", {"component": "transformer"}),
        ]
    )
    assert request == response
    assert len({request, *others}) == 5


REFUSED: list[tuple[dict[str, str], bytes, EventOutcome]] = [
    ({}, b"{}", EventOutcome.MALFORMED),
    ({"ce-type": "com.example.other"}, b"{}", EventOutcome.OTHER_TYPE),
    ({"ce-type": "request"}, b"{}", EventOutcome.OTHER_TYPE),
    ({"ce-type": "org.kubeflow.serving.inference.explain"}, b"{}", EventOutcome.OTHER_TYPE),
    ({"ce-type": REQUEST}, b"{}", EventOutcome.MALFORMED),
    ({"ce-type": REQUEST, "ce-namespace": "a", "ce-id": "e"}, b"{}", EventOutcome.MALFORMED),
    ({"ce-type": REQUEST, "ce-inferenceservicename": "a", "ce-id": "e"}, b"{}", EventOutcome.MALFORMED),
    ({"content-type": "application/cloudevents+json"}, b"not JSON", EventOutcome.MALFORMED),
    ({"content-type": "application/cloudevents+json"}, b"[]", EventOutcome.MALFORMED),
    ({"content-type": "application/cloudevents+json"}, b'{"type": 7}', EventOutcome.MALFORMED),
    ({"content-type": "application/cloudevents+json"}, b'{"data_base64": "!"}', EventOutcome.MALFORMED),
    (
        {"content-type": "application/cloudevents+json"},
        b'{"data": ' + b"[" * 300 + b"]" * 300 + b"}",
        EventOutcome.MALFORMED,
    ),
]


@pytest.mark.parametrize(("headers", "body", "outcome"), REFUSED)
def test_events_that_are_refused(headers: dict[str, str], body: bytes, outcome: EventOutcome) -> None:
    with pytest.raises(EventError) as refused:
        decode_event(ReceivedEvent(headers, body))
    assert refused.value.outcome == outcome


@pytest.mark.parametrize(
    "attributes", [{"event_id": "x" * 257}, {"event_id": "a\nb"}, {"event_id": "e", "namespace": "n" * 254}]
)
def test_names_that_are_refused(attributes: dict[str, str]) -> None:
    with pytest.raises(EventError) as refused:
        decoded(half(REQUEST, DATA, mode="structured", **attributes))
    assert refused.value.outcome == EventOutcome.MALFORMED


def test_an_explainers_events_are_no_predictions() -> None:
    with pytest.raises(EventError) as refused:
        decoded(half(REQUEST, DATA, event_id="e", component="explainer"))
    assert refused.value.outcome == EventOutcome.OTHER_TYPE


def test_ids_of_predictions() -> None:
    given = "9F0E1C5E-3b7f-4d53-9a3c-0d6d6f2a8f11"
    assert prediction_id_of(given) == uuid.UUID(given)
    assert prediction_id_of("order-4711").version == 5
    assert len({prediction_id_of(name) for name in (given, f"{given}/0", f"{given}/1", "order-4711")}) == 4
    assert prediction_id_of("order-4711") == uuid.UUID(
        "0d7cce85-383a-5582-ab56-77babd8dda00"
    )  # fixed: feedback may come weeks later
