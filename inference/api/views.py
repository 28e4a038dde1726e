"""The predict calls."""

from http import HTTPStatus
from typing import Any

from django.conf import settings
from drf_spectacular.utils import OpenApiExample, PolymorphicProxySerializer, extend_schema
from rest_framework.exceptions import APIException, ParseError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import TokenScope
from inference.api.authentication import BearerTokenAuthentication
from inference.api.serializers import (
    PredictRequestSerializer,
    PredictResponseSerializer,
    PredictRowsResponseSerializer,
)
from inference.services.prediction import Answer, count_unreadable_request, predict
from rest.problems import problem_responses

ABOUT = {"latency_ms": 1.8, "model_name": "classifier", "model_version": "1.0.0"}
ANSWER = {"prediction": "setosa", "confidence": 0.981, "prediction_id": "0199f0c2-7a40-7c1e-9d3b-5f0a4f2b0001"}
SECOND = {"prediction": "virginica", "confidence": 0.961, "prediction_id": "0199f0c2-7a40-7c1e-9d3b-5f0a4f2b0002"}


class LengthRequired(APIException):
    status_code = HTTPStatus.LENGTH_REQUIRED
    default_detail = "Send the body with a Content-Length; chunked bodies are not taken."


class PredictView(APIView):
    """Answers one row or many with a model's predictions."""

    authentication_classes = [BearerTokenAuthentication]
    required_scope = TokenScope.PREDICT

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        try:
            super().initial(request, *args, **kwargs)
        except Exception:  # no valid token, or no answer that the client accepts
            if request.method == "POST":
                count_unreadable_request(model_name=kwargs.get("model_name") or settings.MLMON_DEFAULT_MODEL)
            raise

    @extend_schema(
        tags=["Predict"],
        summary="Predict",
        description="Answers one row (`features`) or many (`rows`), each as a list of values in the order of the "
        "features or as an object by their names. Where the address names no version, the model's traffic policy "
        "chooses one; `POST /predict` asks the default model. Every row is remembered under its `prediction_id`, "
        "for drift checks and for the ground truth.",
        request=PredictRequestSerializer,
        responses={
            200: PolymorphicProxySerializer(
                component_name="PredictAnswer",
                serializers=[PredictResponseSerializer, PredictRowsResponseSerializer],
                resource_type_field_name=None,
            ),
            **problem_responses(400, 401, 403, 404, 406, 409, 411, 413, 415, 422, 500, 503),
        },
        examples=[
            OpenApiExample("One row", {"features": [0.1, 0.5, 0.3, 0.8]}, request_only=True),
            OpenApiExample(
                "Named rows",
                {
                    "rows": [
                        {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2},
                        {"sepal_length": 6.7, "sepal_width": 3.0, "petal_length": 5.2, "petal_width": 2.3},
                    ]
                },
                request_only=True,
            ),
            OpenApiExample("Answer to one row", {**ANSWER, **ABOUT}, response_only=True),
            OpenApiExample("Answers to many rows", {"predictions": [ANSWER, SECOND], **ABOUT}, response_only=True),
        ],
    )
    def post(self, request: Request, model_name: str | None = None, version: str | None = None) -> Response:
        name = model_name or settings.MLMON_DEFAULT_MODEL
        payload = _payload(request, name)
        return Response(_body(predict(model_name=name, payload=payload, version=version)))


def _payload(request: Request, model_name: str) -> Any:
    if request.META.get("HTTP_TRANSFER_ENCODING") and not request.META.get("CONTENT_LENGTH"):
        count_unreadable_request(model_name=model_name)
        raise LengthRequired
    try:
        if not request.META.get("CONTENT_LENGTH", "0").strip("0"):
            raise ParseError("The body is empty; send a JSON object.")
        return request.data
    except Exception:
        count_unreadable_request(model_name=model_name)
        raise


def _body(answer: Answer) -> dict[str, Any]:
    labels = answer.predictions.labels.tolist()
    confidence = answer.predictions.confidence
    confidences = [None] * len(labels) if confidence is None else confidence.tolist()
    rows = [
        {"prediction": label, "confidence": one, "prediction_id": prediction_id}
        for label, one, prediction_id in zip(labels, confidences, answer.prediction_ids, strict=True)
    ]
    about = {
        "latency_ms": round(answer.latency_ms, 3),
        "model_name": answer.version.model_name,
        "model_version": answer.version.version,
    }
    return {"predictions": rows, **about} if answer.is_batch else {**rows[0], **about}
