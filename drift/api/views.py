"""The calls of the drift API."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema
from rest_framework.exceptions import NotFound, ParseError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import TokenScope
from drift import selectors
from drift.api.examples import DRIFT, HISTORY, INCIDENT, INCIDENTS, TOO_FEW_ROWS
from drift.api.serializers import (
    DriftHistorySerializer,
    DriftQuerySerializer,
    DriftReportSerializer,
    IncidentListSerializer,
    IncidentQuerySerializer,
    IncidentSerializer,
)
from drift.report import DriftReport, ReportStatus, report_body, report_of_check
from drift.services.latest import latest_drift, report_without_result
from models_registry.models import Model, ModelVersion
from models_registry.selectors import feature_names, model_named, version_of
from rest.codec import validated_query
from rest.problems import problem_responses


class DriftView(APIView):
    """How far a model's current window is from its reference."""

    required_scope = TokenScope.READ

    @extend_schema(
        tags=["Drift"],
        summary="Drift of a model",
        description="The latest check or, if the next check is due, a comparison made now. With history=N: the stored "
        "checks, the latest first.",
        parameters=[DriftQuerySerializer],
        responses={
            200: PolymorphicProxySerializer(
                component_name="Drift",
                serializers=[DriftReportSerializer, DriftHistorySerializer],
                resource_type_field_name=None,
            ),
            **problem_responses(400, 401, 403, 404, 406, 503),
        },
        examples=[DRIFT, TOO_FEW_ROWS, HISTORY],
    )
    def get(self, request: Request, model_name: str | None = None) -> Response:
        query = validated_query(request, DriftQuerySerializer)
        name, feature = model_name or settings.MLMON_DEFAULT_MODEL, query.get("feature")
        model, version = selectors.monitored_version(name, query.get("version"))
        if feature is not None and feature not in feature_names(model):
            raise ParseError("Query parameter 'feature': no version of this model has this feature.")
        if "history" in query:
            return Response(_history_body(model, version, query))
        if version is None:
            return Response(report_body(report_without_result(model.name, None, ReportStatus.NO_PRODUCTION_VERSION)))
        return Response(report_body(latest_drift(version=version), feature=feature))


class IncidentListView(APIView):
    """The incidents of a model."""

    required_scope = TokenScope.READ

    @extend_schema(
        operation_id="api_v1_models_incidents_list",
        tags=["Drift"],
        summary="Drift incidents of a model",
        description="An incident is an alarm of the verdict, from the check that raised it until three windows in a "
        "row are quiet. The latest first.",
        parameters=[IncidentQuerySerializer],
        responses={200: IncidentListSerializer, **problem_responses(400, 401, 403, 404, 406, 503)},
        examples=[INCIDENTS],
    )
    def get(self, request: Request, model_name: str) -> Response:
        query = validated_query(request, IncidentQuerySerializer)
        model = model_named(model_name)
        incidents = selectors.incidents_of(model)
        if "version" in query:
            incidents = incidents.filter(version=version_of(model, query["version"]))
        if "open" in query:
            incidents = incidents.filter(closed_at__isnull=query["open"])
        if "before" in query:
            incidents = incidents.filter(pk__lt=query["before"])
        found = list(incidents[: query["limit"] + 1])  # one more shows whether there is a next page
        shown = found[: query["limit"]]
        body = {
            "model_name": model.name,
            "incidents": IncidentSerializer(shown, many=True).data,
            "next_before": shown[-1].pk if len(found) > len(shown) else None,
        }
        return Response(body)


class IncidentView(APIView):
    """One incident of a model."""

    required_scope = TokenScope.READ

    @extend_schema(
        tags=["Drift"],
        summary="One drift incident of a model",
        description="When it opened, what drifted, how often the alarm was raised, and who acknowledged it.",
        responses={200: IncidentSerializer, **problem_responses(401, 403, 404, 406, 503)},
        examples=[INCIDENT],
    )
    def get(self, request: Request, model_name: str, incident_id: int) -> Response:
        incident = selectors.incidents_of(model_named(model_name)).filter(pk=incident_id).first()
        if incident is None:
            raise NotFound(f"Model {model_name!r} has no incident {incident_id}.")
        return Response(IncidentSerializer(incident).data)


def _history_body(model: Model, version: ModelVersion | None, query: Mapping[str, Any]) -> dict[str, Any]:
    wanted = selectors.HistoryFilter(
        before=query.get("before"),
        since=query.get("since"),
        until=query.get("until"),
        only_drifted=query.get("drifted", False),
        only_alarms=query.get("alarm", False),
        feature=query.get("feature"),
    )
    limit, reports = query["history"], list[DriftReport]()
    if version is not None:
        checks = selectors.check_history(version, limit=limit + 1, wanted=wanted)  # one more shows if there is a page
        reports = [report_of_check(check, version) for check in checks]
    return {
        "model_name": model.name,
        "model_version": version.version if version else None,
        "checks": [report_body(report, feature=wanted.feature) for report in reports[:limit]],
        "next_before": reports[limit - 1].check_id if len(reports) > limit else None,
    }
