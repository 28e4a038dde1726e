"""Encode events with the `cloudevents` package: JSON on standard input and output (`tests.inference.kserve`)."""

import base64
import json
import sys
from datetime import datetime

from cloudevents.core.bindings.http import to_binary, to_structured  # type: ignore[import-not-found]
from cloudevents.core.formats.json import JSONFormat  # type: ignore[import-not-found]
from cloudevents.core.v1.event import CloudEvent  # type: ignore[import-not-found]

encoded = []
for attributes in json.load(sys.stdin):
    data, mode = attributes.pop("data"), attributes.pop("mode", "binary")
    if isinstance(data, dict) and data.keys() == {"base64"}:
        data = base64.b64decode(data["base64"])
    if "time" in attributes:
        attributes["time"] = datetime.fromisoformat(attributes["time"])
    event = CloudEvent(attributes={"specversion": "1.0", **attributes}, data=data)
    message = (to_binary if mode == "binary" else to_structured)(event, JSONFormat())
    encoded.append({"headers": dict(message.headers), "body": base64.b64encode(message.body).decode()})
json.dump(encoded, sys.stdout)
