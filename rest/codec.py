"""JSON in and out by orjson; the body is bounded before it is decoded."""

from collections.abc import Mapping
from typing import IO, Any

import orjson
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer


class OrjsonParser(BaseParser):
    """Decodes a JSON body; RequestDataTooBig where it is larger than DATA_UPLOAD_MAX_MEMORY_SIZE."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        # `stream` is Django's request: its `body` is checked against the bound, its `read` would not be.
        body = stream.body if hasattr(stream, "body") else stream.read()
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise ParseError(f"The body is not valid JSON: {error}.") from None


class OrjsonRenderer(BaseRenderer):
    """Encodes a response; NaN and infinities become null, as JSON knows neither."""

    media_type = "application/json"
    format = "json"
    charset = None
    render_style = "binary"

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> bytes:
        if data is None:
            return b""
        return orjson.dumps(data, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS)


class ProblemRenderer(OrjsonRenderer):
    """RFC 9457 problem details."""

    media_type = "application/problem+json"
