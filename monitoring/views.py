"""What machines ask: metrics and health."""

import functools
from collections.abc import Callable
from http import HTTPStatus

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from accounts.models import TokenScope, token_digest
from inference.serving import serving
from monitoring.exposition import render_metrics
from monitoring.health import readiness_problems
from rest.problems import method_not_allowed

READING_SCOPES = (TokenScope.READ, TokenScope.ALL)
READING_METHODS = ("GET", "HEAD")


def _read_only(view: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Let only GET and HEAD through; others are told so, and not that they lack a form's CSRF token."""

    @csrf_exempt
    @functools.wraps(view)
    def answer(request: HttpRequest) -> HttpResponse:
        if request.method in READING_METHODS:
            return view(request)
        return method_not_allowed(request.method or "", allowed=READING_METHODS)

    return answer


@_read_only
def metrics(request: HttpRequest) -> HttpResponse:
    """Return the metrics of all worker processes."""
    if settings.MLMON_METRICS_ACCESS == "token" and not _has_reading_token(request):
        return HttpResponse(
            "A token with the scope read is needed.\n",
            status=HTTPStatus.UNAUTHORIZED,
            content_type="text/plain",
            headers={"WWW-Authenticate": "Bearer"},
        )
    body, content_type = render_metrics(request.headers.get("Accept", ""))
    return HttpResponse(body, content_type=content_type)


@_read_only
def healthz(request: HttpRequest) -> JsonResponse:
    """Answer that this process lives."""
    return JsonResponse({"status": "ok"})


@_read_only
def readyz(request: HttpRequest) -> JsonResponse:
    """Answer whether the database, Redis and the models in production answer."""
    problems = readiness_problems()
    status = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
    return JsonResponse({"status": "unavailable" if problems else "ok", "problems": problems}, status=status)


def _has_reading_token(request: HttpRequest) -> bool:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    known = serving().snapshot().tokens.get(token_digest(token.strip())) if scheme.lower() == "bearer" else None
    return known is not None and known.is_valid() and known.scope in READING_SCOPES
