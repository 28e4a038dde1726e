"""The drift calls."""

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
from drift.api.payloads import incident_body, report_body
from drift.api.serializers import (
    DriftHistorySerializer,
    DriftQuerySerializer,
    DriftReportSerializer,
    IncidentListSerializer,
    IncidentQuerySerializer,
    IncidentSerializer,
)
from drift.report import DriftReport
from drift.services.preview import latest_or_live_drift, without_production_version
from models_registry.models import Model, ModelVersion
from models_registry.selectors import feature_names, model_named, primary_version, version_of
from rest.codec import validated_query
from rest.problems import problem_responses


class DriftView(APIView):
    """Tells how far a model's current window is from its reference."""

    required_scope = TokenScope.READ

    @extend_schema(
        tags=["Drift"],
        summary="Drift of a model",
        description="The latest check, or a comparison made now where the next check is due; with history=N the stored "
        "checks, newest first.",
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
        model = model_named(model_name or settings.MLMON_DEFAULT_MODEL, Model.objects.select_related("drift_policy"))
        version, feature = _version(model, query.get("version")), query.get("feature")
        if feature is not None and feature not in feature_names(model):
            raise ParseError("Query parameter 'feature': No version of this model has this feature.")
        if "history" in query:
            return Response(_history_body(model, version, query["history"], _filter_of(query)))
        if version is None:
            return Response(report_body(without_production_version(model_name=model.name)))
        return Response(report_body(latest_or_live_drift(version=version), feature=feature))


class IncidentListView(APIView):
    """Tells which incidents a model has had."""

    required_scope = TokenScope.READ

    @extend_schema(
        operation_id="api_v1_models_incidents_list",
        tags=["Drift"],
        summary="Drift incidents of a model",
        description="One incident is one alarm of the verdict, from the check that raised it until three windows in a "
        "row show no sign of it. Newest first.",
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
        found = list(incidents[: query["limit"] + 1])  # one more than asked for tells whether there is a next page
        shown = found[: query["limit"]]
        body = {
            "model_name": model.name,
            "incidents": [incident_body(incident) for incident in shown],
            "next_before": shown[-1].pk if len(found) > len(shown) else None,
        }
        return Response(body)


class IncidentView(APIView):
    """Tells about one incident."""

    required_scope = TokenScope.READ

    @extend_schema(
        tags=["Drift"],
        summary="One drift incident of a model",
        description="Since when, which features, how often the alarm was raised, and who has taken note of it.",
        responses={200: IncidentSerializer, **problem_responses(401, 403, 404, 406, 503)},
        examples=[INCIDENT],
    )
    def get(self, request: Request, model_name: str, incident_id: int) -> Response:
        incident = selectors.incidents_of(model_named(model_name)).filter(pk=incident_id).first()
        if incident is None:
            raise NotFound(f"Model {model_name!r} has had no incident {incident_id}.")
        return Response(incident_body(incident))


def _filter_of(query: Mapping[str, Any]) -> selectors.HistoryFilter:
    return selectors.HistoryFilter(
        before=query.get("before"),
        since=query.get("since"),
        until=query.get("until"),
        only_drifted=query.get("drifted", False),
        only_alarms=query.get("alarm", False),
        feature=query.get("feature"),
    )


def _version(model: Model, version: str | None) -> ModelVersion | None:
    return primary_version(model) if version is None else version_of(model, version)


def _history_body(
    model: Model, version: ModelVersion | None, limit: int, wanted: selectors.HistoryFilter
) -> dict[str, Any]:
    reports: list[DriftReport] = []
    if version is not None:
        # One more than asked for tells whether there is a next page.
        checks = selectors.check_history(version, limit=limit + 1, wanted=wanted)
        reports = [selectors.report_of_check(check, version) for check in checks]
    return {
        "model_name": model.name,
        "model_version": version.version if version else None,
        "checks": [report_body(report, feature=wanted.feature) for report in reports[:limit]],
        "next_before": reports[limit - 1].check_id if len(reports) > limit else None,
    }
