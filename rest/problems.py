"""How refusals look in the OpenAPI description: RFC 9457 problem details, with an example of each."""

from http import HTTPStatus
from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiResponse
from rest_framework import serializers

PROBLEM_JSON = "application/problem+json"


class ProblemErrorSerializer(serializers.Serializer[object]):
    row = serializers.IntegerField(required=False, help_text="From 0.")
    feature = serializers.CharField(required=False, allow_null=True)
    field = serializers.CharField(required=False, allow_null=True, help_text="Of an item: the member in question.")
    reason = serializers.CharField()


class ProblemSerializer(serializers.Serializer[object]):
    type = serializers.CharField()
    title = serializers.CharField(help_text="The status in words.")
    status = serializers.IntegerField()
    detail = serializers.CharField(help_text="What is wrong, in a sentence.")
    errors = ProblemErrorSerializer(  # type: ignore[assignment]  # a field, which the metaclass takes out of the way
        many=True, required=False, help_text="Each refused value, where it can be named."
    )


MEANINGS = {
    400: "The body is no JSON, or a query parameter makes no sense.",
    401: "No token, or one that is unknown, revoked or expired.",
    403: "The token's scope, or the person's role, does not cover this call.",
    404: "There is no such model, version or incident.",
    406: "The client accepts no JSON.",
    409: "The version is archived.",
    411: "The body came without a Content-Length.",
    413: "The body is larger than this server takes.",
    415: "The body is not sent as application/json.",
    422: "A value is refused by the model's schema, or the shape of the body is another one. Nothing was done.",
    500: "The model failed on these values. The log has the reason.",
    503: "No version is loaded, the model took too long, or the database or Redis does not answer. Try again later.",
}
# As the API answers them; tests/mlmon_site/test_openapi.py provokes them.
DETAILS: dict[int, list[tuple[str, dict[str, Any]]]] = {
    400: [("The body is not valid JSON: unexpected end of data: line 1 column 15 (char 14).", {})],
    401: [("Authentication credentials were not provided.", {})],
    403: [("The token's scope does not cover this call.", {})],
    404: [("There is no model named 'absent'.", {})],
    406: [("Could not satisfy the request Accept header.", {})],
    409: [("Version 1.0.0 of classifier is archived.", {})],
    411: [("Send the body with a Content-Length; chunked bodies are not taken.", {})],
    413: [("The body is larger than this server takes.", {})],
    415: [('Unsupported media type "text/csv" in request.', {})],
    422: [
        (
            "row 0, feature 'sepal_width': must be a number, not text",
            {"errors": [{"row": 0, "feature": "sepal_width", "reason": "must be a number, not text"}]},
        ),
        (
            "prediction_id must be a UUID, as in the response of the predict call",
            {
                "errors": [
                    {"field": "prediction_id", "reason": "must be a UUID, as in the response of the predict call"},
                ]
            },
        ),
    ],
    500: [("Something broke on our side; it is in the log.", {})],
    503: [("Model 'classifier' has no version in production.", {})],
}


def problem_responses(*statuses: int) -> dict[tuple[int, str], OpenApiResponse]:
    """Return how a call's refusals look, by status and media type, for the OpenAPI description."""
    return {(status, PROBLEM_JSON): _response(HTTPStatus(status)) for status in statuses}


def problem_example(status: HTTPStatus, detail: str, members: dict[str, Any]) -> dict[str, Any]:
    """Return a problem's body."""
    return {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail, **members}


def _response(status: HTTPStatus) -> OpenApiResponse:
    examples = [
        OpenApiExample(
            f"{status.phrase} {number}" if number > 1 else status.phrase,
            problem_example(status, detail, members),
            response_only=True,
            media_type=PROBLEM_JSON,
            status_codes=[str(status.value)],
        )
        for number, (detail, members) in enumerate(DETAILS[status], start=1)
    ]
    return OpenApiResponse(ProblemSerializer, description=MEANINGS[status], examples=examples)
