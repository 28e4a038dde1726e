"""The endpoint for ground truth."""

from collections import Counter
from typing import Any

from django.conf import settings
from drf_spectacular.utils import OpenApiExample, PolymorphicProxySerializer, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import TokenScope
from inference.api.serializers import ClassOrNumberField
from inference.exceptions import PayloadError
from performance.exceptions import GroundTruthError
from performance.services.ground_truth import ItemOutcome, Outcome, record_ground_truth
from rest.problems import problem_responses, shortened

PREDICTION_ID = "0199f0c2-7a40-7c1e-9d3b-5f0a4f2b0001"
ITEM = {"prediction_id": PREDICTION_ID, "actual": "setosa", "observed_at": "2026-03-01T12:00:00Z"}
RESULT = {"prediction_id": PREDICTION_ID, "status": "accepted"}
COUNTS = {"accepted": 1, "duplicate": 0, "corrected": 0, "unknown": 0, "invalid": 0}


class FeedbackItemSerializer(serializers.Serializer[object]):
    prediction_id = serializers.UUIDField(required=False, help_text="From the response of the predict call.")
    event_id = serializers.CharField(
        required=False,
        help_text="Instead of prediction_id, for a model that KServe serves: the ce-id of the request, or ce-id/row "
        "with the number of the row from 0 if the request has several.",
    )
    actual = ClassOrNumberField(help_text="The true class, or the true number for a regression.")
    observed_at = serializers.DateTimeField(
        required=False, help_text="When it became known; by default, when it is received."
    )


class FeedbackItemResultSerializer(serializers.Serializer[object]):
    prediction_id = serializers.CharField(allow_null=True)
    status = serializers.ChoiceField(choices=[outcome.value for outcome in Outcome])
    field = serializers.CharField(required=False, allow_null=True, help_text="The invalid field, if invalid.")
    reason = serializers.CharField(required=False, help_text="The reason, if invalid.")


class FeedbackListResultSerializer(serializers.Serializer[object]):
    counts = serializers.DictField(child=serializers.IntegerField(), help_text="Number of items by status.")
    results = FeedbackItemResultSerializer(many=True, help_text="In the order of the items.")


class FeedbackView(APIView):
    """Stores the ground truth of predictions."""

    required_scope = TokenScope.PREDICT

    @extend_schema(
        tags=["Observe"],
        summary="Send ground truth",
        description="Send one item, or a list of up to 10,000. Each item of a list has its own status: accepted, "
        "duplicate (the same label was sent before), corrected (another label was sent before; it is kept as history), "
        "unknown (stored until its prediction arrives) or invalid (not stored, with the reason). You can send a list "
        "again without harm.",
        request=PolymorphicProxySerializer(
            component_name="Feedback",
            serializers=[FeedbackItemSerializer, FeedbackItemSerializer(many=True)],
            resource_type_field_name=None,
            many=False,
        ),
        responses={
            200: PolymorphicProxySerializer(
                component_name="FeedbackResult",
                serializers=[FeedbackItemResultSerializer, FeedbackListResultSerializer],
                resource_type_field_name=None,
            ),
            **problem_responses(400, 401, 403, 406, 413, 415, 422, 503),
        },
        examples=[
            OpenApiExample("One", ITEM, request_only=True),
            OpenApiExample("A list", [ITEM], request_only=True),
            OpenApiExample(
                "The second row of an event of KServe",
                {"event_id": "order-4711/1", "actual": "setosa"},
                request_only=True,
            ),
            OpenApiExample("Result of one item", RESULT, response_only=True),
            OpenApiExample("Results of a list", {"counts": COUNTS, "results": [RESULT]}, response_only=True),
        ],
    )
    def post(self, request: Request) -> Response:
        payload = request.data
        if not isinstance(payload, list):
            (result,) = record_ground_truth(items=[payload])
            if result.outcome is Outcome.INVALID:
                raise GroundTruthError(result.field, result.reason)
            return Response(_result_body(result))
        limit = settings.MLMON_MAX_ROWS_PER_REQUEST
        if not 0 < len(payload) <= limit:
            raise PayloadError(f"The list has {len(payload)} items; send 1 to {limit:,} in one request.")
        results = record_ground_truth(items=payload)
        counts = Counter(result.outcome for result in results)
        return Response(
            {
                "counts": {outcome.value: counts[outcome] for outcome in Outcome},
                "results": [_result_body(result) for result in results],
            }
        )


def _result_body(result: ItemOutcome) -> dict[str, Any]:
    given_id = result.prediction_id
    body: dict[str, Any] = {
        "prediction_id": shortened(given_id) if isinstance(given_id, str) else None,
        "status": result.outcome.value,
    }
    if result.outcome is Outcome.INVALID:
        body |= {"field": shortened(result.field) or None, "reason": shortened(result.reason)}
    return body
