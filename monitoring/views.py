"""What machines ask: metrics and health."""

from http import HTTPStatus

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from inference.models import TokenScope, token_digest
from inference.serving import serving
from monitoring.exposition import render_metrics
from monitoring.health import readiness_problems

READING_SCOPES = (TokenScope.READ, TokenScope.ALL)


@require_safe
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


@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """Answer that this process lives."""
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Answer whether the database, Redis and the models in production answer."""
    problems = readiness_problems()
    status = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
    return JsonResponse({"status": "unavailable" if problems else "ok", "problems": problems}, status=status)


def _has_reading_token(request: HttpRequest) -> bool:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    known = serving().snapshot().tokens.get(token_digest(token.strip())) if scheme.lower() == "bearer" else None
    return known is not None and known.is_valid() and known.scope in READING_SCOPES
