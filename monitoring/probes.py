"""Endpoints for programs: metrics and health."""

import functools
from collections.abc import Callable
from http import HTTPStatus

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import TokenScope, token_digest
from inference.api import open_inference_shapes as shapes
from inference.api.open_inference import OpenInferenceView
from inference.serving import serving
from inference.stream import redis_client
from monitoring.metrics.exposition import render_metrics
from rest.problems import method_not_allowed

READING_SCOPES = (TokenScope.READ, TokenScope.ALL)
READING_METHODS = ("GET", "HEAD")


def _read_only(view: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Allow only GET and HEAD; other methods get 405, not an error about a missing CSRF token."""

    @csrf_exempt
    @functools.wraps(view)
    def respond(request: HttpRequest) -> HttpResponse:
        if request.method in READING_METHODS:
            return view(request)
        return method_not_allowed(request.method or "", allowed=READING_METHODS)

    return respond


@_read_only
def metrics(request: HttpRequest) -> HttpResponse:
    """Return the metrics of all worker processes."""
    if settings.MLMON_METRICS_ACCESS == "token":
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        tokens = serving().snapshot().tokens if scheme.lower() == "bearer" else {}
        token = tokens.get(token_digest(text.strip()))
        if token is None or not token.is_valid() or token.scope not in READING_SCOPES:
            return HttpResponse(
                "A token with the scope read is required.\n",
                status=HTTPStatus.UNAUTHORIZED,
                content_type="text/plain",
                headers={"WWW-Authenticate": "Bearer"},
            )
    body, content_type = render_metrics(request.headers.get("Accept", ""))
    return HttpResponse(body, content_type=content_type)


@_read_only
def healthz(request: HttpRequest) -> JsonResponse:
    """Respond that this process is alive."""
    return JsonResponse({"status": "ok"})


@_read_only
def readyz(request: HttpRequest) -> JsonResponse:
    """Respond whether the database, Redis and the production models are available."""
    problems = _problems()
    status = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
    return JsonResponse({"status": "unavailable" if problems else "ok", "problems": problems}, status=status)


class LiveView(OpenInferenceView):
    """Responds that this process is alive."""

    authentication_classes = []
    permission_classes = []

    @extend_schema(
        tags=["Health"],
        summary="Is this process alive? (Open Inference Protocol)",
        description="Checks nothing else, as `/healthz`.",
        auth=[],
        responses=shapes.LiveSerializer,
        examples=[shapes.LIVE],
    )
    def get(self, request: Request) -> Response:
        return Response({"live": True})


class ServerReadyView(OpenInferenceView):
    """Responds whether the database, Redis and the production models are available."""

    authentication_classes = []
    permission_classes = []

    @extend_schema(
        tags=["Health"],
        summary="Can this process infer? (Open Inference Protocol)",
        description="Checks the database, Redis and the production models, as `/readyz`.",
        auth=[],
        responses={200: shapes.ReadySerializer, 503: shapes.ReadySerializer},
        examples=[shapes.READY, shapes.NOT_READY],
    )
    def get(self, request: Request) -> Response:
        if not (problems := _problems()):
            return Response({"ready": True})
        text = "; ".join(f"{name}: {problem}" for name, problem in problems.items())
        return Response({"ready": False, "error": text}, HTTPStatus.SERVICE_UNAVAILABLE)


def _problems() -> dict[str, str]:
    """Return what is not available, by name."""
    checks = {"database": _database_problem, "redis": _redis_problem, "models": _model_problem}
    return {name: problem for name, check in checks.items() if (problem := check())}


def _database_problem() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        connection.close()
        return f"unavailable: {type(error).__name__}"
    return ""


def _redis_problem() -> str:
    try:
        redis_client().ping()
    except redis.RedisError as error:
        return f"unavailable: {type(error).__name__}"
    return ""


def _model_problem() -> str:
    try:
        snapshot = serving().snapshot()
    except DatabaseError as error:
        return f"could not be read: {type(error).__name__}"
    if snapshot.generation < 0:
        return "not read yet"
    served = [version for model in snapshot.models.values() for version in model.production]
    return "; ".join(version.load_error for version in served if version.load_error)
