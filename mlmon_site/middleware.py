"""Middleware for all requests: timing, request id, NUL characters and the content security policy."""

import os
import re
import time
from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase

from mlmon_site.error_pages import bad_request

ADMIN_PATH = "/admin/"

ACCEPTED_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


def accepted_request_id(offered: str) -> str:
    """Return the id that a client offered if it is well formed, else a new one."""
    return offered if offered and ACCEPTED_REQUEST_ID.fullmatch(offered) else os.urandom(16).hex()


class _Middleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response


class RequestIdentityMiddleware(_Middleware):
    """Sets ``X-Process-Time`` (seconds) and ``X-Request-ID`` (the client's if it is well formed, else a new one)."""

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        request_id = accepted_request_id(request.META.get("HTTP_X_REQUEST_ID", ""))
        response = self.get_response(request)
        response["X-Request-ID"] = request_id
        response["X-Process-Time"] = f"{time.perf_counter() - started:.6f}"
        return response


class NulCheckMiddleware(_Middleware):
    """Rejects a NUL character in a cookie and in the query string of an admin page.

    PostgreSQL strings cannot contain it, and both are looked up there: the session key and the values of filters. The
    API validates its own parameters.
    """

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        is_admin_query = request.path.startswith(ADMIN_PATH) and "%00" in request.META.get("QUERY_STRING", "")
        if is_admin_query or any("\0" in value for value in request.COOKIES.values()):
            return bad_request(request)
        return self.get_response(request)


class ContentSecurityPolicyMiddleware(_Middleware):
    """Lets pages load from and send to this server only.

    Scripts may use `eval`, which Alpine needs for the admin's pages.
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

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if response.get("Content-Type", "").startswith("text/html"):
            response["Content-Security-Policy"] = self.POLICY
        return response
