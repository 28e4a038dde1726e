"""What every response carries: how long it took, and an identity to find it by."""

import contextlib
import re
import time
import uuid
from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase, UnreadablePostError

from rest.errors import bad_request

MOST_UNREAD_BYTES = 2**20
READ_BYTES = 2**16

ADMIN_PATH = "/admin/"

ACCEPTED_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


class RequestIdentityMiddleware:
    """Sets ``X-Process-Time`` (seconds) and ``X-Request-ID`` (the client's where it is well formed, else a new one)."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        offered = request.META.get("HTTP_X_REQUEST_ID", "")
        request_id = offered if ACCEPTED_REQUEST_ID.fullmatch(offered) else uuid.uuid4().hex
        response = self.get_response(request)
        response["X-Request-ID"] = request_id
        response["X-Process-Time"] = f"{time.perf_counter() - started:.6f}"
        return response


class UnreadBodyMiddleware:
    """Reads what a refused request still has to send, up to a megabyte.

    The server closes a connection whose request was not read to its end: a client that is still sending sees a broken
    pipe in place of the answer, and one that keeps its connection sees its next request fail.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        length = request.META.get("CONTENT_LENGTH") or "0"
        if length.isdigit() and int(length) <= MOST_UNREAD_BYTES:
            with contextlib.suppress(UnreadablePostError):  # the client has gone
                while request.read(READ_BYTES):
                    continue
        return response


class NulCheckMiddleware:
    """Refuses a NUL in a cookie, which a quoted one can hold, and in the query of a page of the admin.

    PostgreSQL's texts hold none: the session's would be looked for there, and a filter's value. The API names what is
    wrong with its own parameters.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if _asks_admin_for_nul(request) or any("\0" in value for value in request.COOKIES.values()):
            return bad_request(request)
        return self.get_response(request)


def _asks_admin_for_nul(request: HttpRequest) -> bool:
    return request.path.startswith(ADMIN_PATH) and "%00" in request.META.get("QUERY_STRING", "")


class ContentSecurityPolicyMiddleware:
    """Lets the browser load and send nothing but from and to this server, on every page.

    Alpine, which the admin's pages are made with, evaluates its attributes: scripts of this server's pages may do that.
    """

    POLICY = "; ".join(
        (
            "default-src 'self'",
            "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data:",
            "font-src 'self' data:",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if response.get("Content-Type", "").startswith("text/html"):
            response["Content-Security-Policy"] = self.POLICY
        return response
