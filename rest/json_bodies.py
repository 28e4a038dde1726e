"""Decode JSON, without a framework; the message of an error is for the client."""

import re
from typing import Any

import orjson


class MalformedJsonError(ValueError):
    """The bytes are not JSON."""


def decoded_json(body: bytes | memoryview) -> Any:
    """Return the value of a JSON document; raise MalformedJsonError if it is none."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        # orjson stops at the word or behind its sign.
        number = re.match(r"[-+]?(NaN|Infinity)", error.doc[error.pos :], re.IGNORECASE)
        hint = f" {number[0]} is not JSON; for a missing value send null." if number else ""
        raise MalformedJsonError(f"The body is not valid JSON: {error}.{hint}") from None
