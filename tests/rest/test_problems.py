"""Problem details: statuses, members and headers of the responses to exceptions."""

import json
from http import HTTPStatus
from typing import Any

import pytest
from django.core.exceptions import RequestDataTooBig
from django.db import OperationalError
from django.http import Http404, HttpResponse
from rest_framework.exceptions import NotAuthenticated, Throttled

from rest.problems import (
    LONGEST_DETAIL,
    PROBLEM_JSON,
    STATUS_OF_ERROR,
    method_not_allowed,
    problem_response,
    register_errors,
    shortened,
    status_of,
)


class FullError(Exception):
    """An error of an app."""

    def __init__(self, message: str, room: int) -> None:
        super().__init__(message)
        self.room = room


class NearlyFullError(FullError):
    """An error without a status of its own."""


@pytest.fixture(autouse=True)
def _registered() -> None:
    register_errors({FullError: HTTPStatus.CONFLICT}, {FullError: lambda error: {"room": error.room}})


def response_to(error: Exception) -> tuple[HttpResponse, dict[str, Any]]:
    response = problem_response(error, {})
    assert response is not None
    assert response["Content-Type"] == PROBLEM_JSON
    return response, json.loads(response.content)


def test_an_error_has_the_status_and_members_of_its_nearest_base_class() -> None:
    assert status_of(NearlyFullError("Full.", 3)) is HTTPStatus.CONFLICT
    assert STATUS_OF_ERROR[FullError] is HTTPStatus.CONFLICT
    response, body = response_to(NearlyFullError("The room is full.", 3))
    assert response.status_code == 409
    assert body == {
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "detail": "The room is full.",
        "room": 3,
    }


def test_an_unexpected_error_has_no_response() -> None:
    assert status_of(ZeroDivisionError()) is None
    assert problem_response(ZeroDivisionError(), {}) is None


def test_an_unavailable_database_is_reported_without_its_message(caplog: pytest.LogCaptureFixture) -> None:
    response, body = response_to(OperationalError("connection to 10.1.2.3 failed"))
    assert (response.status_code, response["Retry-After"]) == (503, "2")
    assert body["detail"] == "The database is unavailable. Try again later."
    assert "10.1.2.3" in caplog.text


@pytest.mark.parametrize(
    ("error", "status", "detail"),
    [
        (Http404("There is no model 'a'."), 404, "There is no model 'a'."),
        (Http404(), 404, "Not Found"),
        (RequestDataTooBig("internal"), 413, "The body is larger than this server accepts."),
    ],
)
def test_errors_of_django_have_a_status(error: Exception, status: int, detail: str) -> None:
    response, body = response_to(error)
    assert (response.status_code, body["status"], body["detail"]) == (status, status, detail)


def test_errors_of_rest_framework_keep_their_headers() -> None:
    unknown = NotAuthenticated()
    unknown.auth_header = "Bearer"  # type: ignore[attr-defined]
    response, _ = response_to(unknown)
    assert (response.status_code, response["WWW-Authenticate"]) == (401, "Bearer")
    response, _ = response_to(Throttled(wait=4.2))
    assert (response.status_code, response["Retry-After"]) == (429, "6")


def test_a_long_detail_is_shortened() -> None:
    text = f"start{'x' * 100_000}end"
    _, body = response_to(Http404(text))
    assert body["detail"] == shortened(text)
    assert len(body["detail"]) <= LONGEST_DETAIL
    assert body["detail"].startswith("start")
    assert body["detail"].endswith("end")


def test_a_wrong_method_is_answered_with_those_allowed() -> None:
    response = method_not_allowed("POST", allowed=["GET", "HEAD"])
    assert (response.status_code, response["Allow"]) == (405, "GET, HEAD")
    assert json.loads(response.content)["detail"] == "Method POST is not allowed. Use GET or HEAD."
