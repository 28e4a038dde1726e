"""The URL of KServe's payload logger: it queues the event and responds at once."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import IO

from django.conf import settings
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated, PermissionDenied
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import TokenScope
from inference import metrics
from inference.api.authentication import BearerTokenAuthentication, PasswordTokenAuthentication, has_scope
from inference.api.direct import is_allowed_host
from inference.kserve.events import TYPE_PREFIX, EventOutcome, ReceivedEvent
from inference.services.kserve_events import event_receiver
from rest.problems import problem_responses

EVENTS_PATH = "/api/v1/kserve/events"
SCHEMES = (BearerTokenAuthentication, PasswordTokenAuthentication)
ATTRIBUTES = {
    "ce-id": "Id of the request and of its response.",
    "ce-type": f"`{TYPE_PREFIX}request` or `{TYPE_PREFIX}response`.",
    "ce-namespace": "Kubernetes namespace of the InferenceService.",
    "ce-inferenceservicename": "Name of the InferenceService.",
}


class KServeEventsView(APIView):
    """Receives the events of KServe's payload logger."""

    authentication_classes = [*SCHEMES]
    required_scope = TokenScope.PREDICT

    def handle_exception(self, exc: Exception) -> Response:
        if self.request.method == "POST" and isinstance(
            exc, NotAuthenticated | AuthenticationFailed | PermissionDenied
        ):
            metrics.count_kserve_events(metrics.UNKNOWN, EventOutcome.NOT_PERMITTED)
        return super().handle_exception(exc)

    def perform_content_negotiation(self, request: Request, force: bool = False) -> tuple[BaseRenderer, str]:
        """Accept every client: the response has no body."""
        return super().perform_content_negotiation(request, force=True)

    @extend_schema(
        tags=["Observe"],
        summary="Receive an event of KServe's payload logger",
        description="The `url` of the `logger` of an InferenceService. An event is a request or a response of protocol "
        "v1 or v2, as a CloudEvent in binary mode (the attributes are headers) or structured mode "
        "(`application/cloudevents+json`). A request and the response with its id become observations of the model "
        "that belongs to the service. The response is 202 for every event, also for one that is refused later: the "
        "counter `ml_kserve_events_total` has the outcomes. The token can be the password of the URL.",
        parameters=[
            OpenApiParameter(name, str, OpenApiParameter.HEADER, description=text) for name, text in ATTRIBUTES.items()
        ],
        request=OpenApiTypes.OBJECT,
        responses={
            202: OpenApiResponse(description="The event was received."),
            **problem_responses(400, 401, 403, 503),
        },
        examples=[
            OpenApiExample("A request of protocol v1", {"instances": [[5.1, 3.5, 1.4, 0.2]]}, request_only=True),
            OpenApiExample("A response of protocol v1", {"predictions": ["setosa"]}, request_only=True),
        ],
    )
    def post(self, request: Request) -> HttpResponse:
        length = request.META.get("CONTENT_LENGTH") or "0"
        if length.isdigit() and int(length) > settings.MLMON_KSERVE_EVENT_BYTES:
            count_too_large()
        else:
            event_receiver().receive(ReceivedEvent(event_headers(request.META), request._request.body))
        return HttpResponse(status=HTTPStatus.ACCEPTED)


def receive_directly(headers: Mapping[str, str], body: IO[bytes], length: int) -> bool:
    """Receive an event without Django's handler, which takes most of the time of such a request.

    Parameters
    ----------
    headers
        By lower-case name.
    body, length
        The body at its begin, and its number of bytes.

    Returns
    -------
    bool
        False if the event is not permitted, so that the view has to say why.
    """
    if not is_allowed_host(headers.get("host", "")) or not has_scope(
        headers.get("authorization", ""), TokenScope.PREDICT, SCHEMES
    ):
        return False
    if length > settings.MLMON_KSERVE_EVENT_BYTES:
        count_too_large()
    else:
        kept = {name: value for name, value in headers.items() if name.startswith("ce-")}
        kept["content-type"] = headers.get("content-type", "")
        event_receiver().receive(ReceivedEvent(kept, body.read()))
    return True


def count_too_large() -> None:
    """Count an event whose body is larger than the setting allows."""
    metrics.KSERVE_RECEIVED.inc()
    metrics.count_kserve_events(metrics.UNKNOWN, EventOutcome.TOO_LARGE)


def event_headers(environ: Mapping[str, object]) -> dict[str, str]:
    """Return the headers of an event from a WSGI environment, whose strings are bytes as Latin-1 (PEP 3333)."""
    headers = {
        name[5:].lower().replace("_", "-"): str(value).encode("latin-1", "replace").decode("utf-8", "replace")
        for name, value in environ.items()
        if name.startswith("HTTP_CE_")
    }
    headers["content-type"] = str(environ.get("CONTENT_TYPE") or "")
    return headers
