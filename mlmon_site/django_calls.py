"""Call Django's WSGI handler for a request that granian's RSGI interface has received."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

from rest.plain_responses import PlainResponse


class _FileBody:
    """Marks a response that is a file (PEP 3333, ``wsgi.file_wrapper``)."""

    def __init__(self, file: Any, block_size: int = 8192) -> None:
        self.file = file
        self.close = getattr(file, "close", lambda: None)

    def __iter__(self) -> Any:
        return iter(lambda: self.file.read(2**16), b"")


def call_django(handler: Callable[..., Iterable[bytes]], scope: Any, body: IO[bytes], length: int) -> PlainResponse:
    """Return Django's response. It runs in a thread, since views wait for the database.

    Parameters
    ----------
    handler
        Django's WSGI handler.
    scope
        The RSGI scope of the request.
    body, length
        The body, and its number of bytes.
    """
    begun: dict[str, Any] = {}

    def start_response(status: str, headers: list[tuple[str, str]], _error: Any = None) -> None:
        begun.update(status=int(status[:3]), headers=tuple((name.lower(), value) for name, value in headers))

    with body:
        result: Any = handler(_environ(scope, body, length), start_response)
        try:
            path = getattr(result.file, "name", None) if isinstance(result, _FileBody) else None
            if isinstance(path, str) and _is_whole_file(path, begun["headers"]):
                return PlainResponse(**begun, file=path, is_from_django=True)
            return PlainResponse(**begun, body=b"".join(result), is_from_django=True)
        finally:
            if hasattr(result, "close"):
                result.close()


def _is_whole_file(path: str, headers: tuple[tuple[str, str], ...]) -> bool:
    return Path(path).is_absolute() and dict(headers).get("content-length") == str(Path(path).stat().st_size)


def _environ(scope: Any, body: IO[bytes], length: int) -> dict[str, Any]:
    """Return the WSGI environment (PEP 3333) of a request."""
    host, _, port = scope.server.rpartition(":")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": scope.path.encode().decode("latin-1"),
        "QUERY_STRING": scope.query_string,
        "SERVER_NAME": host.strip("[]"),
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": scope.client.rpartition(":")[0].strip("[]"),
        "CONTENT_LENGTH": str(length) if length else "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": body,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": _FileBody,
    }
    for name, value in scope.headers.items():
        if name == "content-type":
            environ["CONTENT_TYPE"] = value
        elif name not in ("content-length", "transfer-encoding") and "_" not in name:
            environ[f"HTTP_{name.upper().replace('-', '_')}"] = value
    return environ
