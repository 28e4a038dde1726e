"""Responses to errors outside API views: a page for people, problem details for programs."""

from http import HTTPStatus

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from rest.problems import Problem

PREFIXES_OF_PAGES = ("/admin", "/models/", "/go/")


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Return 400 for a request that Django refused before it reached a view."""
    return _error_response(request, HTTPStatus.BAD_REQUEST, "The request is malformed.")


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Return 403 for an action that the user's role does not include."""
    detail = "Your role does not allow this. Ask an administrator for another role."
    return _error_response(request, HTTPStatus.FORBIDDEN, detail)


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Return 404 for an unknown URL."""
    return _error_response(request, HTTPStatus.NOT_FOUND, "There is no page at this URL.")


def server_error(request: HttpRequest) -> HttpResponse:
    """Return 500 for an unexpected error, whose traceback is in the log."""
    detail = "The server failed to handle the request. Its log has the details."
    return _error_response(request, HTTPStatus.INTERNAL_SERVER_ERROR, detail)


def _error_response(request: HttpRequest, status: HTTPStatus, detail: str) -> HttpResponse:
    if request.path.startswith(PREFIXES_OF_PAGES) or request.path == "/":
        return render(request, "error.html", {"status": status, "detail": detail}, status=status)
    return Problem(status, detail).response()
