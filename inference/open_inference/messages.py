"""Take the body of an infer request apart: its compression, the JSON header, and the bytes behind it."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inference.exceptions import LargeBodyError, PayloadError, UnreadableBodyError, UnsupportedEncodingError
from inference.open_inference.members import flag_of, object_of, objects_of
from inference.open_inference.tensors import columns_of_inputs
from mlmon.feature_columns import FeatureColumns
from mlmon.schema import Feature
from mlmon.values import shown
from rest.json_bodies import MalformedJsonError, decoded_json

HEADER_LENGTH = "Inference-Header-Content-Length"
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32  # whichever the first bytes show
_MOST_DIGITS = 18


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """An output of the response, and whether its values are binary or JSON."""

    name: str
    is_binary: bool


@dataclass(frozen=True, slots=True)
class InferMessage:
    """A request whose members and tensors have not been read yet.

    Attributes
    ----------
    header
        The decoded JSON; of a valid request an object with ``inputs``, and optionally ``id``, ``parameters`` and
        ``outputs``.
    binary
        The bytes behind it.
    """

    header: object
    binary: memoryview

    @classmethod
    def of(cls, body: bytes, *, header_length: str | None, encoding: str, most_bytes: int) -> "InferMessage":
        """Return the message in a body.

        Parameters
        ----------
        header_length
            The header `HEADER_LENGTH` as it was sent; None if all of the body is JSON.
        encoding
            The header Content-Encoding as it was sent, or "".
        most_bytes
            The limit of the decompressed body.

        Raises
        ------
        UnreadableBodyError, LargeBodyError, UnsupportedEncodingError
            The body cannot be taken apart, or is too large.
        """
        whole = memoryview(_decompressed(body, encoding.strip().lower(), most_bytes))
        length = len(whole) if header_length is None else _length(header_length)
        if length > len(whole):
            raise UnreadableBodyError(f"{HEADER_LENGTH} is {length}, but the body has {len(whole)} bytes.")
        if not length:
            raise UnreadableBodyError("The body is empty; send a JSON object with inputs.")
        try:
            return cls(header=decoded_json(whole[:length]), binary=whole[length:])
        except MalformedJsonError as error:
            raise UnreadableBodyError(str(error)) from None

    @property
    def id(self) -> str | None:
        """The request's own id, if it has one."""
        given = self._members.get("id")
        if given is not None and not isinstance(given, str):
            raise PayloadError(f'"id" must be a string, got {shown(given, 60)}.')
        return given

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The parameters of the whole request."""
        return object_of(self._members.get("parameters"), '"parameters"')

    def requested_outputs(self, names: Sequence[str]) -> list[RequestedOutput]:
        """Return the outputs that the request asks for, by default all of `names`.

        Raises
        ------
        PayloadError
            An output does not exist, is named twice, or is asked for in a form that is not supported.
        """
        is_binary = flag_of(self.parameters, "binary_data_output", "The request", default=False)
        requested: dict[str, RequestedOutput] = {}
        for each in objects_of(self._members.get("outputs"), "outputs"):
            name = each.get("name")
            place = f"Output {shown(name, 60)}"
            if not isinstance(name, str) or name not in names:
                raise PayloadError(f"{place}: the model has no such output. Its outputs are {', '.join(names)}.")
            if name in requested:
                raise PayloadError(f"{place} is requested twice.")
            parameters = object_of(each.get("parameters"), f"{place}: parameters")
            if "classification" in parameters:
                raise PayloadError(f"{place}: class_count is not supported; request the scores of all classes.")
            if "shared_memory_region" in parameters:
                raise PayloadError(f"{place}: shared memory is not supported; read the output from the response.")
            requested[name] = RequestedOutput(name, flag_of(parameters, "binary_data", place, default=is_binary))
        return list(requested.values()) or [RequestedOutput(name, is_binary) for name in names]

    def columns(self, features: Sequence[Feature], *, most_rows: int) -> FeatureColumns:
        """Return the input tensors as one array for each feature; see `columns_of_inputs`."""
        return columns_of_inputs(features, self._members, self.binary, most_rows=most_rows)

    @property
    def _members(self) -> Mapping[str, Any]:
        return object_of(self.header, "The body")


def _decompressed(body: bytes, encoding: str, most_bytes: int) -> bytes:
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "deflate"):
        raise UnsupportedEncodingError(f"Content-Encoding {shown(encoding, 60)} is not supported; use gzip or deflate.")
    stream = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        whole = stream.decompress(body, most_bytes + 1)
    except zlib.error:
        raise UnreadableBodyError(f"The body is not {encoding} data, although Content-Encoding says so.") from None
    if len(whole) > most_bytes:
        raise LargeBodyError(f"The body is larger than {most_bytes:,} bytes after decompression. Send fewer rows.")
    if not stream.eof or stream.unused_data:
        raise UnreadableBodyError("The compressed body is cut off, or bytes follow it.")
    return whole


def _length(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > _MOST_DIGITS:
        raise UnreadableBodyError(f"{HEADER_LENGTH} must be the number of bytes of the JSON, got {shown(text, 60)}.")
    return int(text)
