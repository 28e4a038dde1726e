"""The call that takes predictions which another server made."""

from collections import Counter
from typing import Any

from drf_spectacular.utils import OpenApiExample, PolymorphicProxySerializer, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import TokenScope
from inference.api.serializers import (
    ObservationAnswerSerializer,
    ObservationItemSerializer,
    ObservationRowsSerializer,
    ObservationsAnswerSerializer,
)
from inference.services.observations import (
    ObservationOutcome,
    ObservationStatus,
    ObservedElsewhere,
    record_observations,
)
from rest.problems import problem_responses, shortened

PREDICTION_ID = "0199f0c2-7a40-7c1e-9d3b-5f0a4f2b0001"
ONE = {
    "features": {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2},
    "prediction": "setosa",
    "confidence": 0.97,
    "latency_ms": 3.2,
    "observed_at": "2026-03-01T12:00:00Z",
    "prediction_id": PREDICTION_ID,
}
MANY = {
    "version": "1.0.0",
    "rows": [
        {
            "features": [6.7, 3.0, 5.2, 2.3],
            "prediction": "virginica",
            "probabilities": {"setosa": 0.0, "versicolor": 0.08, "virginica": 0.92},
        },
        {"features": [5.1, 3.5, 1.4, 0.2], "prediction": "setosa"},
    ],
}
ANSWER = {
    "prediction_id": PREDICTION_ID,
    "status": "accepted",
    "model_name": "classifier",
    "model_version": "1.0.0",
}
ANSWER_TO_MANY = {
    "counts": {"accepted": 2, "duplicate": 0, "invalid": 0},
    "results": [
        {"prediction_id": "0199f0c2-7a40-7c1e-9d3b-5f0a4f2b0002", "status": "accepted"},
        {"prediction_id": "0199f0c2-7a40-7c1e-9d3b-5f0a4f2b0003", "status": "accepted"},
    ],
    "model_name": "classifier",
    "model_version": "1.0.0",
}


class ObservationsView(APIView):
    """Takes predictions of a model that is served elsewhere."""

    required_scope = TokenScope.PREDICT

    @extend_schema(
        tags=["Observe"],
        summary="Send predictions that another server made",
        description="One observation, or many: a list, or an object with rows. Each of many is answered by itself: "
        "accepted (it is in the live window now), duplicate (its prediction_id was sent before: nothing is stored "
        "twice) or invalid (not kept, with the reason). Give prediction_ids, and a request whose answer was lost "
        "can be sent again; the newest ids are remembered, as many as the live window has rows.",
        request=PolymorphicProxySerializer(
            component_name="Observations",
            serializers=[
                ObservationItemSerializer,
                ObservationRowsSerializer,
                ObservationItemSerializer(many=True),
            ],
            resource_type_field_name=None,
            many=False,
        ),
        responses={
            200: PolymorphicProxySerializer(
                component_name="ObservationsResult",
                serializers=[ObservationAnswerSerializer, ObservationsAnswerSerializer],
                resource_type_field_name=None,
            ),
            **problem_responses(400, 401, 403, 404, 406, 409, 413, 415, 422, 503),
        },
        examples=[
            OpenApiExample("One", ONE, request_only=True),
            OpenApiExample("Many", MANY, request_only=True),
            OpenApiExample("One is kept", ANSWER, response_only=True),
            OpenApiExample("Many one by one", ANSWER_TO_MANY, response_only=True),
        ],
    )
    def post(self, request: Request, model_name: str) -> Response:
        return Response(_body(record_observations(model_name=model_name, payload=request.data)))


def _body(observed: ObservedElsewhere) -> dict[str, Any]:
    about = {"model_name": observed.version.model_name, "model_version": observed.version.version}
    if observed.is_batch:
        counts = Counter(outcome.status.value for outcome in observed.outcomes)
        return {
            "counts": {status.value: counts[status.value] for status in ObservationStatus},
            "results": [_result(outcome) for outcome in observed.outcomes],
            **about,
        }
    (outcome,) = observed.outcomes
    if outcome.error is not None:
        raise outcome.error
    return {**_result(outcome), **about}


def _result(outcome: ObservationOutcome) -> dict[str, Any]:
    given = outcome.prediction_id
    body: dict[str, Any] = {
        "prediction_id": shortened(given) if isinstance(given, str) else None,
        "status": outcome.status.value,
    }
    if outcome.error is not None:
        body |= {"field": shortened(outcome.error.field) or None, "reason": shortened(outcome.error.reason)}
    return body
