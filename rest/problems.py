"""Problem details (RFC 9457): the only map from exceptions to HTTP statuses, and its OpenAPI description."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import orjson
from django.core.exceptions import (
    NON_FIELD_ERRORS,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    TooManyFieldsSent,
    ValidationError,
)
from django.db import DatabaseError
from django.http import Http404, HttpResponse
from drf_spectacular.utils import OpenApiExample, OpenApiResponse
from redis.exceptions import RedisError
from rest_framework import serializers
from rest_framework.exceptions import APIException
from rest_framework.views import set_rollback

logger = logging.getLogger(__name__)

PROBLEM_JSON = "application/problem+json"
LONGEST_DETAIL = 2000
RETRY_AFTER_SECONDS = 2  # of a 503
# The errors that callers are told about; `register_errors` adds those of the apps.
STATUS_OF_ERROR: dict[type[Exception], HTTPStatus] = {
    Http404: HTTPStatus.NOT_FOUND,
    PermissionDenied: HTTPStatus.FORBIDDEN,
    ValidationError: HTTPStatus.UNPROCESSABLE_ENTITY,
    RequestDataTooBig: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    TooManyFieldsSent: HTTPStatus.BAD_REQUEST,
    SuspiciousOperation: HTTPStatus.BAD_REQUEST,  # the base class of the two above
    DatabaseError: HTTPStatus.SERVICE_UNAVAILABLE,
    RedisError: HTTPStatus.SERVICE_UNAVAILABLE,
}
_MEMBERS_OF_ERROR: dict[type[Exception], Callable[[Any], dict[str, Any]]] = {}
# Errors whose own message is not meant for clients.
_DETAIL_OF_ERROR: dict[type, str] = {
    DatabaseError: "The database is unavailable. Try again later.",
    RedisError: "Redis, which holds the live window, is unavailable. Try again later.",
    RequestDataTooBig: "The body is larger than this server accepts.",
    TooManyFieldsSent: "The request has more parameters than this server accepts.",
    SuspiciousOperation: "The request is malformed.",
}


# --- from an exception to a response --------------------------------------------------------------------------------


def register_errors(
    statuses: Mapping[type[Exception], HTTPStatus],
    members: Mapping[type[Exception], Callable[[Any], dict[str, Any]]] | None = None,
) -> None:
    """Register the HTTP statuses of an app's errors; the errors themselves know nothing of HTTP.

    Parameters
    ----------
    statuses
        By error class. A subclass has the status of its nearest registered base class.
    members
        By error class: a function that returns the extra members of the problem details.
    """
    STATUS_OF_ERROR.update(statuses)
    _MEMBERS_OF_ERROR.update(members or {})


def status_of(error: Exception) -> HTTPStatus | None:
    """Return the status registered for an error, or None for an unexpected error."""
    return next((STATUS_OF_ERROR[kind] for kind in type(error).__mro__ if kind in STATUS_OF_ERROR), None)


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem: its status, a sentence for the client, and extra members."""

    status: HTTPStatus
    detail: str
    members: Mapping[str, Any] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        return {
            "type": "about:blank",
            "title": self.status.phrase,
            "status": self.status.value,
            "detail": shortened(self.detail),
            **self.members,
        }

    def response(self) -> HttpResponse:
        return HttpResponse(orjson.dumps(self.body()), status=self.status, content_type=PROBLEM_JSON)

    def open_inference_response(self) -> HttpResponse:
        """Return the response in the form of the Open Inference Protocol: ``{"error": "…"}``."""
        body = orjson.dumps({"error": shortened(self.detail)})
        return HttpResponse(body, status=self.status, content_type="application/json")


def problem_response(
    error: Exception, context: dict[str, Any], *, render: Callable[[Problem], HttpResponse] = Problem.response
) -> HttpResponse | None:
    """Return the response to an exception of an API view; this is REST framework's exception handler.

    The body is always JSON, as its media type says, whatever the view's renderers produce (YAML, HTML).

    Parameters
    ----------
    render
        Returns the response in the form of the view's protocol; by default problem details.
    """
    kinds = type(error).__mro__
    if isinstance(error, APIException):
        detail = error.detail if isinstance(error.detail, str) else orjson.dumps(error.detail).decode()
        problem = Problem(HTTPStatus(error.status_code), detail)
    elif isinstance(error, ValidationError):
        problem = _validation_problem(error)
    elif status := status_of(error):
        detail = next((_DETAIL_OF_ERROR[kind] for kind in kinds if kind in _DETAIL_OF_ERROR), str(error))
        members = next((_MEMBERS_OF_ERROR[kind](error) for kind in kinds if kind in _MEMBERS_OF_ERROR), {})
        problem = Problem(status, detail or status.phrase, members)
    else:
        return None
    if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("%s: %s", type(error).__name__, error, exc_info=error)
    set_rollback()
    response = render(problem)
    if problem.status is HTTPStatus.SERVICE_UNAVAILABLE:
        response["Retry-After"] = str(RETRY_AFTER_SECONDS)
    if isinstance(error, APIException):
        if challenge := getattr(error, "auth_header", None):
            response["WWW-Authenticate"] = challenge
        if wait := getattr(error, "wait", None):
            response["Retry-After"] = str(int(wait) + 1)
    return response


def _validation_problem(error: ValidationError) -> Problem:
    """Return the problem of invalid fields: each with the reason; a reason without a field is about all of them."""
    fields = error.message_dict if hasattr(error, "error_dict") else {NON_FIELD_ERRORS: error.messages}
    reasons = {None if name == NON_FIELD_ERRORS else name: " ".join(texts) for name, texts in fields.items()}
    detail = " ".join(f"{name}: {reason}" if name else reason for name, reason in reasons.items())
    errors = [{"field": name, "reason": shortened(reason)} for name, reason in reasons.items()]
    return Problem(STATUS_OF_ERROR[ValidationError], detail, {"errors": errors})


SERVER_ERROR = Problem(
    HTTPStatus.INTERNAL_SERVER_ERROR, "The server failed to handle the request. Its log has the details."
)


def method_not_allowed(method: str, *, allowed: Sequence[str]) -> HttpResponse:
    """Return the response to a request whose method the URL does not support."""
    detail = f"Method {method} is not allowed. Use {' or '.join(allowed)}."
    response = Problem(HTTPStatus.METHOD_NOT_ALLOWED, detail).response()
    response["Allow"] = ", ".join(allowed)
    return response


def shortened(text: str) -> str:
    """Return `text`, without its middle if it is long: a client's own megabyte is not sent back to it."""
    if len(text) <= LONGEST_DETAIL:
        return text
    return f"{text[: LONGEST_DETAIL // 2]} … {text[-LONGEST_DETAIL // 4 :]}"


# --- the OpenAPI description ----------------------------------------------------------------------------------------


class ProblemErrorSerializer(serializers.Serializer[object]):
    row = serializers.IntegerField(required=False, help_text="Number of the row, starting at 0.")
    feature = serializers.CharField(required=False, allow_null=True)
    field = serializers.CharField(required=False, allow_null=True, help_text="Member of the item that is invalid.")
    reason = serializers.CharField()


class ProblemSerializer(serializers.Serializer[object]):
    type = serializers.CharField()
    title = serializers.CharField(help_text="The status as a phrase.")
    status = serializers.IntegerField()
    detail = serializers.CharField(help_text="What is wrong, in one sentence.")
    errors = ProblemErrorSerializer(  # type: ignore[assignment]  # a field; the metaclass removes it from the class
        many=True, required=False, help_text="Each invalid value, if it can be named."
    )


MEANINGS = {
    400: "The body is not valid JSON, or a query parameter is invalid.",
    401: "The token is missing, unknown, revoked or expired.",
    403: "The token's scope, or the user's role, does not allow this call.",
    404: "The model, version, incident or job does not exist.",
    406: "The client does not accept JSON.",
    409: "The version is archived or served elsewhere, or the request contradicts what is stored.",
    408: "The body was not received in time.",
    413: "The body, or an uploaded file, is larger than this server accepts.",
    415: "The Content-Type is not application/json, or multipart/form-data for an upload.",
    422: "A value or a file is not accepted, or the body has the wrong shape. Nothing was done.",
    500: "The model failed on these values. The server's log has the reason.",
    503: "No version is loaded, the model took too long, or the database or Redis is unavailable. Try again later.",
}
# Responses of the API; tests/mlmon_site/test_openapi.py provokes them.
DETAILS: dict[int, list[tuple[str, dict[str, Any]]]] = {
    400: [("The body is not valid JSON: unexpected end of data: line 1 column 15 (char 14).", {})],
    401: [("Authentication credentials were not provided.", {})],
    403: [("The token's scope does not allow this call.", {})],
    404: [("There is no model named 'absent'.", {})],
    406: [("Could not satisfy the request Accept header.", {})],
    409: [("Version 1.0.0 of classifier is archived.", {})],
    408: [("The body was not received in time: send it within 10 s, or faster than 32 KiB/s.", {})],
    413: [("The body is larger than this server accepts.", {})],
    415: [('Unsupported media type "text/csv" in request.', {})],
    422: [
        (
            "row 0, feature 'sepal_width': expected a number, got \"much\"",
            {"errors": [{"row": 0, "feature": "sepal_width", "reason": 'expected a number, got "much"'}]},
        ),
        (
            "prediction_id must be a UUID, as in the response of the predict call",
            {
                "errors": [
                    {"field": "prediction_id", "reason": "must be a UUID, as in the response of the predict call"}
                ]
            },
        ),
    ],
    500: [(SERVER_ERROR.detail, {})],
    503: [("Model 'classifier' has no version in production.", {})],
}


def problem_responses(*statuses: int) -> dict[tuple[int, str], OpenApiResponse]:
    """Return the OpenAPI description of a call's error responses, by status and media type."""
    return {
        (status, PROBLEM_JSON): OpenApiResponse(
            ProblemSerializer,
            description=MEANINGS[status],
            examples=[
                OpenApiExample(
                    f"{HTTPStatus(status).phrase} {number}" if number > 1 else HTTPStatus(status).phrase,
                    Problem(HTTPStatus(status), detail, members).body(),
                    response_only=True,
                    media_type=PROBLEM_JSON,
                    status_codes=[str(status)],
                )
                for number, (detail, members) in enumerate(DETAILS[status], start=1)
            ],
        )
        for status in statuses
    }
