"""The call that takes the ground truth."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from drf_spectacular.utils import OpenApiExample, PolymorphicProxySerializer, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import TokenScope
from inference.exceptions import PayloadError
from performance.api.serializers import FeedbackAnswerSerializer, FeedbackItemSerializer, FeedbackListAnswerSerializer
from performance.exceptions import GroundTruthError
from performance.services.ground_truth import ItemOutcome, Outcome, record_ground_truth
from rest.errors import shortened
from rest.problems import problem_responses

PREDICTION_ID = "0199f0c2-7a40-7c1e-9d3b-5f0a4f2b0001"
ITEM = {"prediction_id": PREDICTION_ID, "actual": "setosa", "observed_at": "2026-03-01T12:00:00Z"}
RESULT = {"prediction_id": PREDICTION_ID, "status": "accepted"}
COUNTS = {"accepted": 1, "duplicate": 0, "corrected": 0, "unknown": 0, "invalid": 0}


class FeedbackView(APIView):
    """Takes what turned out to be true of predictions."""

    required_scope = TokenScope.PREDICT

    @extend_schema(
        tags=["Observe"],
        summary="Send ground truth",
        description="One item, or a list of up to 10,000. Each item of a list is answered by itself: accepted, "
        "duplicate (the same was sent before), corrected (another was sent before; its history is kept), unknown (kept "
        "until its prediction turns up) or invalid (not kept, with the reason). Sending a list again does no harm.",
        request=PolymorphicProxySerializer(
            component_name="Feedback",
            serializers=[FeedbackItemSerializer, FeedbackItemSerializer(many=True)],
            resource_type_field_name=None,
            many=False,
        ),
        responses={
            200: PolymorphicProxySerializer(
                component_name="FeedbackResult",
                serializers=[FeedbackAnswerSerializer, FeedbackListAnswerSerializer],
                resource_type_field_name=None,
            ),
            **problem_responses(400, 401, 403, 406, 413, 415, 422, 503),
        },
        examples=[
            OpenApiExample("One", ITEM, request_only=True),
            OpenApiExample("A list", [ITEM], request_only=True),
            OpenApiExample("One is kept", RESULT, response_only=True),
            OpenApiExample("A list item by item", {"counts": COUNTS, "results": [RESULT]}, response_only=True),
        ],
    )
    def post(self, request: Request) -> Response:
        payload = request.data
        if not isinstance(payload, list):
            return Response(_single(payload))
        if not 0 < len(payload) <= settings.MLMON_MAX_ROWS_PER_REQUEST:
            most = settings.MLMON_MAX_ROWS_PER_REQUEST
            raise PayloadError(f"The list has {len(payload)} items; 1 to {most:,} are taken in one request.")
        return Response(_answer_of_list(record_ground_truth(items=payload)))


def _single(payload: object) -> dict[str, Any]:
    (result,) = record_ground_truth(items=[payload])
    if result.outcome is Outcome.INVALID:
        raise GroundTruthError(result.field, result.reason)
    return _body(result)


def _answer_of_list(results: Sequence[ItemOutcome]) -> dict[str, Any]:
    counts = Counter(result.outcome.value for result in results)
    return {
        "counts": {outcome.value: counts[outcome.value] for outcome in Outcome},
        "results": [_body(result) for result in results],
    }


def _body(result: ItemOutcome) -> dict[str, Any]:
    given = result.prediction_id
    body: dict[str, Any] = {
        "prediction_id": shortened(given) if isinstance(given, str) else None,
        "status": result.outcome.value,
    }
    if result.outcome is Outcome.INVALID:
        body |= {"field": shortened(result.field) or None, "reason": shortened(result.reason)}
    return body
