"""CloudEvents of KServe's payload logger, in binary or structured mode, and the ids of their predictions.

The attributes are those that `pkg/logger/worker.go` of KServe sets (2021 to 2026). The logger sends binary mode;
structured mode comes from brokers between the logger and this server.
"""

import base64
import binascii
import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from urllib.parse import unquote

import orjson

from inference.exceptions import EventError
from inference.observation_items import EPOCH, MICROSECOND, given_uuid

STRUCTURED = "application/cloudevents+json"
TYPE_PREFIX = "org.kubeflow.serving.inference."
SERVICE_NAMES = ("inferenceservicename", "inferencesvcname")
VERSION_ANNOTATION = "mlmon/version"
COMPONENTS = frozenset({"", "predictor", "transformer"})  # an explainer's response is no prediction
LONGEST_NAME = 253  # of a namespace or a service in Kubernetes
LONGEST_ID = 256
EVENT_IDS = uuid.UUID("5a0dbb9e-6a0c-5b5a-9d0f-6f1d3e0c4b11")  # the name space of ids that are not UUIDs (RFC 9562)


class EventOutcome(StrEnum):
    """What became of an event; the label `outcome` of ml_kserve_events_total."""

    PAIRED = "paired"
    DUPLICATE = "duplicate"
    NO_RESPONSE = "no_response"  # a request whose response did not arrive in time
    NO_REQUEST = "no_request"  # a response whose request did not arrive in time
    UNDECODABLE = "undecodable"  # a pair whose bodies are not a request and a response of the model
    QUEUE_FULL = "queue_full"
    TOO_LARGE = "too_large"
    NOT_PERMITTED = "not_permitted"
    MALFORMED = "malformed"  # not an event of an InferenceService
    OTHER_TYPE = "other_type"  # an event of another type or component
    UNKNOWN_SERVICE = "unknown_service"
    NO_VERSION = "no_version"


class Half(StrEnum):
    """Which half of a pair an event is, as the last part of its type."""

    REQUEST = "request"
    RESPONSE = "response"

    @property
    def alone(self) -> EventOutcome:
        """What becomes of this half if the other one does not arrive."""
        return EventOutcome.NO_RESPONSE if self is Half.REQUEST else EventOutcome.NO_REQUEST


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """An event as it was received: its headers, with names in lower case, and its body."""

    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """A request or a response of an InferenceService.

    Attributes
    ----------
    time_us
        Unix time in microseconds at which KServe sent it; 0 if unknown.
    version
        The model version that an annotation of the InferenceService names; "" if none does.
    body
        The body of the request or response.
    """

    half: Half
    namespace: str
    service: str
    component: str
    id: str
    time_us: int
    version: str
    body: bytes

    @property
    def key(self) -> bytes:
        """16 bytes that both halves of a pair have in common."""
        parts = "\0".join((self.namespace, self.service, self.component, self.id))
        return hashlib.blake2b(parts.encode(), digest_size=16).digest()


def decode_event(received: ReceivedEvent) -> LoggedEvent:
    """Return the event of an InferenceService.

    Raises
    ------
    EventError
        It is not a CloudEvent, an attribute is missing or invalid, or it has another type.
    """
    if received.headers.get("content-type", "").lower().startswith(STRUCTURED):
        attributes, body = _structured(received.body)
    else:
        attributes, body = _binary(received.headers), received.body
    kind = attributes.get("type", "")
    half = kind.removeprefix(TYPE_PREFIX)
    if half not in tuple(Half) or half == kind:
        if not kind:
            raise EventError(EventOutcome.MALFORMED, 'The attribute "type" is missing: this is not a CloudEvent.')
        raise EventError(EventOutcome.OTHER_TYPE, f'The type must be "{TYPE_PREFIX}request" or "….response".')
    service = next((attributes[name] for name in SERVICE_NAMES if attributes.get(name)), "")
    component = attributes.get("component", "")
    if component not in COMPONENTS:
        raise EventError(EventOutcome.OTHER_TYPE, "Only a predictor's or transformer's events are predictions.")
    return LoggedEvent(
        half=Half(half),
        namespace=_required("namespace", attributes.get("namespace", ""), LONGEST_NAME),
        service=_required(SERVICE_NAMES[0], service, LONGEST_NAME),
        component=component,
        id=_required("id", attributes.get("id", ""), LONGEST_ID),
        time_us=_microseconds(attributes.get("time", "")),
        version=_annotated_version(attributes.get("annotations", "")),
        body=body,
    )


def prediction_name(event_id: str, row: int, rows: int) -> str:
    """Return the name of a row's prediction: the event's id if the event has one row, else "{id}/{row}"."""
    return event_id if rows == 1 else f"{event_id}/{row}"


def prediction_id_of(name: str) -> uuid.UUID:
    """Return the prediction id for a `prediction_name`: the same UUID, or a UUID of version 5 for another string."""
    return given_uuid(name) or uuid.uuid5(EVENT_IDS, name)


def _binary(headers: Mapping[str, str]) -> dict[str, str]:
    # The specification has values percent-encoded. Go's SDK sends them as they are, which decoding leaves alone.
    return {name[3:]: unquote(value) for name, value in headers.items() if name.startswith("ce-")}


def _structured(body: bytes) -> tuple[dict[str, str], bytes]:
    try:
        document = orjson.loads(body)
        if not isinstance(document, dict):
            raise EventError(EventOutcome.MALFORMED, "An event in structured mode must be a JSON object.")
        attributes = {name: value for name, value in document.items() if isinstance(value, str) and name != "data"}
        if "data_base64" in attributes:
            return attributes, base64.b64decode(attributes.pop("data_base64"), validate=True)
        data: Any = document.get("data")
        return attributes, data.encode() if isinstance(data, str) else orjson.dumps(data)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError, binascii.Error) as error:
        raise EventError(EventOutcome.MALFORMED, f"The event in structured mode cannot be decoded: {error}.") from None


def _required(name: str, value: str, longest: int) -> str:
    if not 0 < len(value) <= longest or not value.isprintable():
        reason = f'The attribute "{name}" must be a string of 1 to {longest} printable characters.'
        raise EventError(EventOutcome.MALFORMED, reason)
    return value


def _microseconds(text: str) -> int:
    """Return an RFC 3339 time as Unix microseconds; 0 if it is none, since events are useful without a time."""
    try:
        time = datetime.fromisoformat(text)
        return max(0, (time - EPOCH) // MICROSECOND)
    except (TypeError, ValueError, OverflowError):  # no time, or one without an offset
        return 0


def _annotated_version(annotations: str) -> str:
    """Return the version in the annotations, which are a JSON object in a string; "" if there is none."""
    if not annotations:
        return ""
    try:
        version = orjson.loads(annotations).get(VERSION_ANNOTATION)
    except (orjson.JSONDecodeError, AttributeError):
        return ""
    return version if isinstance(version, str) and len(version) <= LONGEST_NAME and version.isprintable() else ""
