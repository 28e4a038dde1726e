"""Read request bodies on the event loop, within limits of size and time.

A slow client costs a connection and what it has sent, but no thread. Large bodies are written to a temporary file.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from io import BytesIO
from typing import IO, Any, Protocol

from rest.problems import Problem

READ_AT_ONCE_BYTES = 2**18  # each chunk of a body costs a turn of the event loop
IN_MEMORY_BYTES = 2_621_440  # as in Django: from here on, a body is in a temporary file
MOST_DISCARDED_BYTES = 2**26  # of a body that is too large, so that its client reads the response


class BodyError(Exception):
    """The body was not received: it is too large or too slow."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.problem = Problem(status, detail)


class Transport(Protocol):
    """The part of granian's RSGI protocol that reads the body."""

    async def __call__(self) -> bytes:
        """Return the whole body."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the body in chunks."""


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """How large a body may be and how long it may take.

    Attributes
    ----------
    most_bytes
        Of a body that is no form.
    most_upload_bytes
        Of a form with files.
    seconds
        From the request's headers to the end of the body.
    bytes_per_second
        Each so many bytes that have been received allow another second.
    """

    most_bytes: int
    most_upload_bytes: int
    seconds: float
    bytes_per_second: float

    async def read(self, headers: Any, transport: Transport) -> IO[bytes]:
        """Return the body as a file at its begin.

        Raises
        ------
        BodyError
            It is too large, or was not received in time.
        """
        declared = headers.get("content-length")
        if declared is None and headers.get("transfer-encoding") is None:
            return BytesIO()
        is_upload = headers.get("content-type", "").lower().startswith("multipart/form-data")
        most_bytes = self.most_upload_bytes if is_upload else self.most_bytes
        length = int(declared) if declared is not None else None  # the server has checked that it is a number
        if length is not None and length > most_bytes and headers.get("expect") is not None:
            raise self._too_large(most_bytes)  # the client has not sent it yet
        try:
            async with asyncio.timeout(self.seconds) as limit:
                # The fixed time must be enough for a client that is just fast enough.
                at_once = min(READ_AT_ONCE_BYTES, most_bytes, self.seconds * self.bytes_per_second)
                if length is not None and length <= at_once:
                    return BytesIO(await transport())
                return await self._read_chunks(transport, limit, most_bytes)
        except TimeoutError:
            raise BodyError(
                HTTPStatus.REQUEST_TIMEOUT,
                f"The body was not received in time: send it within {self.seconds:g} s, or faster than "
                f"{self.bytes_per_second / 1024:g} KiB/s.",
            ) from None

    async def _read_chunks(self, transport: Transport, limit: asyncio.Timeout, most_bytes: int) -> IO[bytes]:
        begun, received = asyncio.get_running_loop().time(), 0
        with contextlib.ExitStack() as stack:
            body = stack.enter_context(tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES))
            async for chunk in transport:
                received += len(chunk)
                if received <= most_bytes:
                    body.write(chunk)
                elif received > most_bytes + MOST_DISCARDED_BYTES:
                    break
                limit.reschedule(begun + self.seconds + received / self.bytes_per_second)
            if received > most_bytes:
                raise self._too_large(most_bytes)
            body.seek(0)
            stack.pop_all()  # whoever responds closes it
            return body

    def _too_large(self, most_bytes: int) -> BodyError:
        return BodyError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is larger than this server accepts: {most_bytes:,} bytes."
        )
