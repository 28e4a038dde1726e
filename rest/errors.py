"""The only map from an exception to an HTTP status; bodies are RFC 9457 problem details."""

import logging
from collections.abc import Callable, Mapping, Sequence
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

from rest.problems import PROBLEM_JSON

logger = logging.getLogger(__name__)

LONGEST_DETAIL = 2000
RETRY_AFTER_SECONDS = 2  # where something that answers as a rule does not now
_STATUS_OF_ERROR: dict[type[Exception], HTTPStatus] = {
    Http404: HTTPStatus.NOT_FOUND,
    PermissionDenied: HTTPStatus.FORBIDDEN,
    RequestDataTooBig: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    TooManyFieldsSent: HTTPStatus.BAD_REQUEST,
    SuspiciousOperation: HTTPStatus.BAD_REQUEST,  # the base of the two above
    DatabaseError: HTTPStatus.SERVICE_UNAVAILABLE,
    RedisError: HTTPStatus.SERVICE_UNAVAILABLE,
}
_MEMBERS_OF_ERROR: dict[type[Exception], Callable[[Any], dict[str, Any]]] = {}
DETAILS_THAT_ARE_OURS: dict[type, str] = {
    DatabaseError: "The database does not answer now.",
    RedisError: "Redis, which holds the live window, does not answer now.",
    RequestDataTooBig: "The body is larger than this server takes.",
    TooManyFieldsSent: "The address has more parameters than this server takes.",
    SuspiciousOperation: "The request cannot be read.",
}


def register_errors(
    statuses: Mapping[type[Exception], HTTPStatus],
    members: Mapping[type[Exception], Callable[[Any], dict[str, Any]]] | None = None,
) -> None:
    """Let an app say which HTTP status its errors have; the errors themselves know nothing of HTTP.

    Parameters
    ----------
    statuses
        By the error's class; a subclass has the status of its nearest registered base.
    members
        By the error's class: what its problem details hold beside the standard members.
    """
    _STATUS_OF_ERROR.update(statuses)
    _MEMBERS_OF_ERROR.update(members or {})


def status_of(error: Exception) -> HTTPStatus | None:
    """Return the status that was registered for an error; None for one that nobody expects."""
    return next((_STATUS_OF_ERROR[kind] for kind in type(error).__mro__ if kind in _STATUS_OF_ERROR), None)


def registered_statuses() -> set[HTTPStatus]:
    """Return every status that a registered error has."""
    return set(_STATUS_OF_ERROR.values())


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
    status = status_of(error)
    if status is None:
        return None
    kinds = type(error).__mro__
    detail = next((DETAILS_THAT_ARE_OURS[kind] for kind in kinds if kind in DETAILS_THAT_ARE_OURS), str(error))
    members = next((_MEMBERS_OF_ERROR[kind](error) for kind in kinds if kind in _MEMBERS_OF_ERROR), {})
    return Problem(status, detail or status.phrase, members)


def shortened(text: str) -> str:
    """Return `text` without its middle where it is long: a client's own megabyte is not sent back to it."""
    if len(text) <= LONGEST_DETAIL:
        return text
    return f"{text[: LONGEST_DETAIL // 2]} … {text[-LONGEST_DETAIL // 4 :]}"


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
