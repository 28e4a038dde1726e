"""Responses to errors outside API views: a page for people, for programs problem details or the protocol's errors."""

from functools import partial
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from rest.problems import SERVER_ERROR, Problem

OPEN_INFERENCE_PREFIX = "/v2/"  # errors of this protocol have a form of their own
PREFIXES_OF_PAGES = ("/admin", "/models/", "/go/")


def error_response(
    request: HttpRequest, exception: Exception | None = None, *, status: HTTPStatus, detail: str
) -> HttpResponse:
    """Return the response to an error. The handlers below give it to Django, which passes the exception."""
    if request.path.startswith(PREFIXES_OF_PAGES) or request.path == "/":
        return render(request, "error.html", {"status": status, "detail": detail}, status=status)
    return problem_for_program(request.path, Problem(status, detail))


def problem_for_program(path: str, problem: Problem) -> HttpResponse:
    """Return the response with a problem in the form of the API that the path belongs to."""
    is_open_inference = f"{path}/".startswith(OPEN_INFERENCE_PREFIX)
    return problem.open_inference_response() if is_open_inference else problem.response()


# Requests that Django refuses before they reach a view.
bad_request = partial(error_response, status=HTTPStatus.BAD_REQUEST, detail="The request is malformed.")
forbidden = partial(
    error_response,
    status=HTTPStatus.FORBIDDEN,
    detail="Your role does not allow this. Ask an administrator for another role.",
)
not_found = partial(error_response, status=HTTPStatus.NOT_FOUND, detail="There is no page at this URL.")
server_error = partial(
    error_response,
    status=HTTPStatus.INTERNAL_SERVER_ERROR,
    detail=SERVER_ERROR.detail,
)
