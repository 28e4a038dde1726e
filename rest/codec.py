"""How requests are read and responses written: JSON bodies, query parameters and pages of a list."""

from collections.abc import Mapping
from typing import IO, Any

import orjson
from rest_framework.exceptions import ParseError
from rest_framework.pagination import LimitOffsetPagination
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.serializers import Serializer

from rest.json_bodies import MalformedJsonError, decoded_json


class OrjsonParser(BaseParser):
    """Decode a JSON body; raise RequestDataTooBig if it exceeds DATA_UPLOAD_MAX_MEMORY_SIZE."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        # `stream` is Django's request. Its `body` enforces the size limit; its `read` would not.
        body = stream.body if hasattr(stream, "body") else stream.read()
        try:
            return decoded_json(body)
        except MalformedJsonError as error:
            raise ParseError(str(error)) from None


class OrjsonRenderer(BaseRenderer):
    """Encode a response as JSON; NaN and infinity, which JSON cannot express, become null."""

    media_type = "application/json"
    format = "json"
    charset = None
    render_style = "binary"

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> bytes:
        return b"" if data is None else json_bytes(data)


def json_bytes(data: Any) -> bytes:
    """Return JSON; NaN and infinity become null."""
    return orjson.dumps(data, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS)


class BoundedPagination(LimitOffsetPagination):
    """``?limit=`` and ``?offset=`` with an upper bound: an unbounded limit could exceed the integers of SQL."""

    max_limit = 1000


def validated_query(request: Request, serializer_class: type[Serializer[object]]) -> dict[str, Any]:
    """Return the validated query parameters; raise ParseError naming the first invalid one."""
    serializer = serializer_class(data=request.query_params.dict())
    if not serializer.is_valid():
        name, reasons = next(iter(serializer.errors.items()))
        raise ParseError(f"Query parameter {name!r}: {reasons[0]}")
    return dict(serializer.validated_data)
