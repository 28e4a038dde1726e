"""The calls that predict, and that capture predictions of another server."""

from collections import Counter
from typing import Any

from django.conf import settings
from drf_spectacular.utils import OpenApiExample, PolymorphicProxySerializer, extend_schema
from rest_framework.exceptions import ParseError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import TokenScope
from inference.api.counting import CountedView
from inference.api.serializers import (
    ObservationItemSerializer,
    ObservationResponseSerializer,
    ObservationRowsSerializer,
    ObservationsResponseSerializer,
    PredictRequestSerializer,
    PredictResponseSerializer,
    PredictRowsResponseSerializer,
)
from inference.services.observations import ObservationOutcome, ObservationStatus, capture_observations
from inference.services.prediction import predict_payload
from rest.problems import problem_responses, shortened

IDS = [f"0199f0c2-7a40-7c1e-9d3b-5f0a4f2b000{number}" for number in range(1, 4)]
VERSION = {"model_name": "classifier", "model_version": "1.0.0"}
SETOSA = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}
VIRGINICA = {"sepal_length": 6.7, "sepal_width": 3.0, "petal_length": 5.2, "petal_width": 2.3}
FIRST = {"prediction": "setosa", "confidence": 0.981, "prediction_id": IDS[0]}
SECOND = {"prediction": "virginica", "confidence": 0.961, "prediction_id": IDS[1]}


class PredictView(CountedView):
    """Predicts one row or many."""

    @extend_schema(
        tags=["Predict"],
        summary="Predict",
        description="Predicts one row (`features`) or many (`rows`). A row is a list of values in the order of the "
        "features, or an object by feature name. If the URL contains no version, the model's traffic policy chooses "
        "one; `POST /predict` uses the default model. Every row is captured under its `prediction_id`, for drift "
        "checks and for the ground truth.",
        request=PredictRequestSerializer,
        responses={
            200: PolymorphicProxySerializer(
                component_name="PredictResult",
                serializers=[PredictResponseSerializer, PredictRowsResponseSerializer],
                resource_type_field_name=None,
            ),
            **problem_responses(400, 401, 403, 404, 406, 408, 409, 413, 415, 422, 500, 503),
        },
        examples=[
            OpenApiExample("One row", {"features": [0.1, 0.5, 0.3, 0.8]}, request_only=True),
            OpenApiExample("Named rows", {"rows": [SETOSA, VIRGINICA]}, request_only=True),
            OpenApiExample("Prediction of one row", {**FIRST, "latency_ms": 1.8, **VERSION}, response_only=True),
            OpenApiExample(
                "Predictions of many rows",
                {"predictions": [FIRST, SECOND], "latency_ms": 1.8, **VERSION},
                response_only=True,
            ),
        ],
    )
    def post(self, request: Request, model_name: str | None = None, version: str | None = None) -> Response:
        if not request.META.get("CONTENT_LENGTH", "0").strip("0"):
            raise ParseError("The body is empty; send a JSON object.")
        payload = request.data
        self.is_counted = True
        outcome = predict_payload(
            model_name=model_name or settings.MLMON_DEFAULT_MODEL, payload=payload, version=version
        )
        return Response(outcome.body(is_batch="rows" in payload))


class ObservationsView(APIView):
    """Captures predictions of a model that is served elsewhere."""

    required_scope = TokenScope.PREDICT

    @extend_schema(
        tags=["Observe"],
        summary="Send predictions that another server made",
        description="Captures one observation, or many: a list, or an object with rows. Each of many has its own "
        "result: accepted (it is now in the live window), duplicate (its prediction_id was sent before, and nothing "
        "is stored twice) or invalid (it is not stored; the reason is given). If you send prediction_ids, you can "
        "repeat a request whose response was lost: the server knows the latest ids, as many as the live window has "
        "rows.",
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
                serializers=[ObservationResponseSerializer, ObservationsResponseSerializer],
                resource_type_field_name=None,
            ),
            **problem_responses(400, 401, 403, 404, 406, 408, 409, 413, 415, 422, 503),
        },
        examples=[
            OpenApiExample(
                "One observation",
                {
                    "features": SETOSA,
                    "prediction": "setosa",
                    "confidence": 0.97,
                    "latency_ms": 3.2,
                    "observed_at": "2026-03-01T12:00:00Z",
                    "prediction_id": IDS[0],
                },
                request_only=True,
            ),
            OpenApiExample(
                "Many observations",
                {
                    "version": "1.0.0",
                    "rows": [
                        {
                            "features": [6.7, 3.0, 5.2, 2.3],
                            "prediction": "virginica",
                            "probabilities": {"setosa": 0.0, "versicolor": 0.08, "virginica": 0.92},
                        },
                        {"features": [5.1, 3.5, 1.4, 0.2], "prediction": "setosa"},
                    ],
                },
                request_only=True,
            ),
            OpenApiExample(
                "Result of one observation",
                {"prediction_id": IDS[0], "status": "accepted", **VERSION},
                response_only=True,
            ),
            OpenApiExample(
                "Results of many observations",
                {
                    "counts": {"accepted": 2, "duplicate": 0, "invalid": 0},
                    "results": [{"prediction_id": one, "status": "accepted"} for one in IDS[1:]],
                    **VERSION,
                },
                response_only=True,
            ),
        ],
    )
    def post(self, request: Request, model_name: str) -> Response:
        captured = capture_observations(model_name=model_name, payload=request.data)
        about = {"model_name": captured.version.model_name, "model_version": captured.version.version}
        if captured.is_batch:
            counts = Counter(outcome.status.value for outcome in captured.outcomes)
            body: dict[str, Any] = {
                "counts": {status.value: counts[status.value] for status in ObservationStatus},
                "results": [_result(outcome) for outcome in captured.outcomes],
            }
            return Response(body | about)
        (outcome,) = captured.outcomes
        if outcome.error is not None:
            raise outcome.error
        return Response(_result(outcome) | about)


def _result(outcome: ObservationOutcome) -> dict[str, Any]:
    given = outcome.prediction_id
    body: dict[str, Any] = {
        "prediction_id": shortened(given) if isinstance(given, str) else None,
        "status": outcome.status.value,
    }
    if outcome.error is not None:
        body |= {"field": shortened(outcome.error.field) or None, "reason": shortened(outcome.error.reason)}
    return body
