"""The only map from an exception to an HTTP status; bodies are RFC 9457 problem details."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation, TooManyFieldsSent
from django.db import DatabaseError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from redis.exceptions import RedisError
from rest_framework.exceptions import APIException
from rest_framework.views import set_rollback

from inference.exceptions import (
    ArchivedVersionError,
    ItemError,
    NoVersionLoadedError,
    PayloadError,
    RowValueError,
)
from models_registry.api.problems import PROBLEM_JSON
from models_registry.exceptions import (
    ConflictError,
    PredictionFailedError,
    PredictionTimeoutError,
    UnknownModelError,
    UnknownVersionError,
)

logger = logging.getLogger(__name__)

LONGEST_DETAIL = 2000
RETRY_AFTER_SECONDS = 2  # where something that answers as a rule does not now
STATUS_OF_ERROR: dict[type[Exception], HTTPStatus] = {
    UnknownModelError: HTTPStatus.NOT_FOUND,
    UnknownVersionError: HTTPStatus.NOT_FOUND,
    Http404: HTTPStatus.NOT_FOUND,
    ArchivedVersionError: HTTPStatus.CONFLICT,
    ConflictError: HTTPStatus.CONFLICT,
    PayloadError: HTTPStatus.UNPROCESSABLE_ENTITY,
    RowValueError: HTTPStatus.UNPROCESSABLE_ENTITY,
    ItemError: HTTPStatus.UNPROCESSABLE_ENTITY,
    PermissionDenied: HTTPStatus.FORBIDDEN,
    RequestDataTooBig: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    TooManyFieldsSent: HTTPStatus.BAD_REQUEST,
    SuspiciousOperation: HTTPStatus.BAD_REQUEST,  # the base of the two above
    NoVersionLoadedError: HTTPStatus.SERVICE_UNAVAILABLE,
    PredictionTimeoutError: HTTPStatus.SERVICE_UNAVAILABLE,
    PredictionFailedError: HTTPStatus.INTERNAL_SERVER_ERROR,
    DatabaseError: HTTPStatus.SERVICE_UNAVAILABLE,
    RedisError: HTTPStatus.SERVICE_UNAVAILABLE,
}
DETAILS_THAT_ARE_OURS = {
    DatabaseError: "The database does not answer now.",
    RedisError: "Redis, which holds the live window, does not answer now.",
    RequestDataTooBig: "The body is larger than this server takes.",
    TooManyFieldsSent: "The address has more parameters than this server takes.",
    SuspiciousOperation: "The request cannot be read.",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem: its status, a sentence for the client, and members of its own."""

    status: HTTPStatus
    detail: str
    extra: dict[str, Any]

    def body(self) -> dict[str, Any]:
        return {
            "type": "about:blank",
            "title": self.status.phrase,
            "status": self.status.value,
            "detail": shortened(self.detail),
            **self.extra,
        }

    def response(self) -> HttpResponse:
        return HttpResponse(orjson.dumps(self.body()), status=self.status, content_type=PROBLEM_JSON)


def problem_response(error: Exception, context: dict[str, Any]) -> HttpResponse | None:
    """Return the response to an exception of an API view; REST framework's exception handler.

    It is JSON whatever the view's own renderers make (YAML, HTML), as its media type says.
    """
    problem = _problem(error)
    if problem is None:
        return None
    if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("%s: %s", type(error).__name__, error, exc_info=error)
    set_rollback()
    response = problem.response()
    if problem.status is HTTPStatus.SERVICE_UNAVAILABLE:
        response["Retry-After"] = str(RETRY_AFTER_SECONDS)
    if isinstance(error, APIException):
        if challenge := getattr(error, "auth_header", None):
            response["WWW-Authenticate"] = challenge
        if wait := getattr(error, "wait", None):
            response["Retry-After"] = str(int(wait) + 1)
    return response


def _problem(error: Exception) -> Problem | None:
    if isinstance(error, APIException):
        detail = error.detail if isinstance(error.detail, str) else orjson.dumps(error.detail).decode()
        return Problem(HTTPStatus(error.status_code), str(detail), {})
    for kind, status in STATUS_OF_ERROR.items():
        if isinstance(error, kind):
            detail = DETAILS_THAT_ARE_OURS.get(kind, str(error) or status.phrase)
            return Problem(status, detail, _members(error))
    return None


def shortened(text: str) -> str:
    """Return `text` without its middle where it is long: a client's own megabyte is not sent back to it."""
    if len(text) <= LONGEST_DETAIL:
        return text
    return f"{text[: LONGEST_DETAIL // 2]} … {text[-LONGEST_DETAIL // 4 :]}"


def _members(error: Exception) -> dict[str, Any]:
    if isinstance(error, RowValueError):
        feature = shortened(error.feature) or None
        return {"errors": [{"row": error.row, "feature": feature, "reason": shortened(error.reason)}]}
    if isinstance(error, ItemError):
        return {"errors": [{"field": shortened(error.field) or None, "reason": shortened(error.reason)}]}
    return {}


PATHS_OF_PEOPLE = ("/admin", "/models/", "/go/")


def _is_for_a_person(request: HttpRequest) -> bool:
    return request.path.startswith(PATHS_OF_PEOPLE) or request.path == "/"


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer an unknown address: a page in the admin, a problem elsewhere."""
    return _error_page(request, HTTPStatus.NOT_FOUND, "There is nothing at this address.")


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer who may not do what was asked."""
    detail = "Your role does not allow this. Who manages the accounts here can give you another one."
    return _error_page(request, HTTPStatus.FORBIDDEN, detail)


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer a request that Django refused before a view saw it."""
    return _error_page(request, HTTPStatus.BAD_REQUEST, "The request cannot be read.")


def method_not_allowed(method: str, *, allowed: Sequence[str]) -> HttpResponse:
    """Answer a method that the address does not take."""
    detail = f"{method} is not taken here; {' and '.join(allowed)} are."
    response = Problem(HTTPStatus.METHOD_NOT_ALLOWED, detail, {}).response()
    response["Allow"] = ", ".join(allowed)
    return response


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer when something of ours broke; the log has the traceback."""
    return _error_page(request, HTTPStatus.INTERNAL_SERVER_ERROR, "Something broke on our side; it is in the log.")


def _error_page(request: HttpRequest, status: HTTPStatus, detail: str) -> HttpResponse:
    if _is_for_a_person(request):
        return render(request, "error.html", {"status": status, "detail": detail}, status=status)
    return Problem(status, detail, {}).response()
