"""The performance call."""

from collections.abc import Sequence
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import TokenScope
from models_registry.models import ModelVersion
from models_registry.selectors import model_named, primary_version, version_of
from performance import selectors
from performance.api.examples import MEASURED, NOT_MEASURED
from performance.api.serializers import PerformanceQuerySerializer, PerformanceReportSerializer, PerformanceSerializer
from performance.models import PerformanceReport, Period
from performance.services.reports import baseline_of, performance_between
from rest.problems import problem_responses
from rest.queries import validated_query

NO_PRODUCTION_VERSION = "No version of this model is in production; name one with version=."
NO_FIGURES = "Nothing was measured yet. Send ground truth to /api/v1/feedback under the ids of predictions."


class PerformanceView(APIView):
    """Tells how right a model is: by its ground truth, and as estimated without it."""

    required_scope = TokenScope.READ

    @extend_schema(
        tags=["Performance"],
        summary="Performance of a model",
        description="By its ground truth, and as estimated without it (CBPE): of the newest predictions, day by day, "
        "and with since= and until= of a span.",
        parameters=[PerformanceQuerySerializer],
        responses={200: PerformanceSerializer, **problem_responses(400, 401, 403, 404, 406, 503)},
        examples=[MEASURED, NOT_MEASURED],
    )
    def get(self, request: Request, model_name: str) -> Response:
        query = validated_query(request, PerformanceQuerySerializer)
        model = model_named(model_name)
        version = version_of(model, query["version"]) if "version" in query else primary_version(model)
        body: dict[str, Any] = {
            "model_name": model.name,
            "model_version": version.version if version else None,
            "detail": NO_PRODUCTION_VERSION,
            "reference": None,
            "latest": None,
            "span": None,
            "days": [],
            "estimate_error": None,
        }
        return Response(body if version is None else body | _figures(version, query))


def _figures(version: ModelVersion, query: dict[str, Any]) -> dict[str, Any]:
    baseline = baseline_of(version)
    latest = selectors.newest_report(version, Period.LATEST)
    days = selectors.newest_days(version, query["days"])
    span = None
    if "since" in query:
        span = performance_between(version, since=query["since"], until=query["until"])
    return {
        "detail": "" if latest or span else NO_FIGURES,
        "reference": baseline.figures,
        "latest": _body(latest),
        "span": _body(span),
        "days": [_body(day) for day in days],
        "estimate_error": _estimate_error(days, (baseline.figures or {}).get("accuracy")),
    }


def _body(report: PerformanceReport | None) -> dict[str, Any] | None:
    return None if report is None else dict(PerformanceReportSerializer(report).data)


def _estimate_error(days: Sequence[PerformanceReport], reference_accuracy: float | None) -> dict[str, Any] | None:
    """Return how far the estimates of these days were from what was realised."""
    both = [
        (day.realised["accuracy"], day.estimated_of_labelled["accuracy"])
        for day in days
        if day.realised and day.estimated_of_labelled
    ]
    if not both or reference_accuracy is None:
        return None
    return {
        "days": len(both),
        "estimated_accuracy": sum(abs(realised - estimated) for realised, estimated in both) / len(both),
        "no_change": sum(abs(realised - reference_accuracy) for realised, _ in both) / len(both),
    }
