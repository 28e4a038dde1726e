"""The calls of the Open Inference Protocol v2: describe models and infer. Every error is ``{"error": "…"}``."""

from collections.abc import Callable, Iterable
from functools import partial
from http import HTTPStatus

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from inference.api import open_inference_shapes as shapes
from inference.api.authentication import BearerTokenAuthentication, HasDescriptionAccess
from inference.api.counting import CountedView
from inference.open_inference.messages import HEADER_LENGTH
from inference.open_inference.metadata import EXTENSIONS, model_configuration, model_metadata
from inference.open_inference.outputs import BINARY, JSON
from inference.services.open_inference import described_version, described_versions, infer
from mlmon.values import shown
from rest.problems import Problem, problem_response

STAGES = "A version is loaded and unloaded by its stage: POST /api/v1/models/{name}/versions/{version}/stage."
ADVICE = {  # about calls of other servers, by a part of their path
    "load": STAGES,
    "unload": STAGES,
    "stats": "Read /metrics, or the model's page.",
    "trace": "Read the server's log.",
    "logging": "Read the server's log.",
    "systemsharedmemory": "Send tensors in the body of an infer request.",
    "cudasharedmemory": "Send tensors in the body of an infer request.",
}


class _AnyAccept(BaseContentNegotiation):
    """The protocol's clients send any or no Accept header: the request itself says what the response contains."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser:
        return next(iter(parsers))

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        renderer = next(iter(renderers))
        return renderer, renderer.media_type


class OpenInferenceView(APIView):
    """A view whose errors have the form of the protocol."""

    content_negotiation_class = _AnyAccept

    def get_exception_handler(self) -> Callable[..., HttpResponse | None]:
        return partial(problem_response, render=Problem.open_inference_response)


class _DescriptionView(OpenInferenceView):
    permission_classes = [HasDescriptionAccess]


@extend_schema(
    tags=[shapes.TAG],
    summary="Describe the server",
    description="Name, version, and the extensions of the protocol that this server has.",
    responses={200: shapes.ServerMetadataSerializer, **shapes.error_responses(401, 403, 405, 503)},
    examples=[shapes.SERVER],
)
class ServerMetadataView(_DescriptionView):
    """Describes the server."""

    def get(self, request: Request) -> Response:
        version = settings.SPECTACULAR_SETTINGS["VERSION"]
        return Response({"name": "mlmon", "version": version, "extensions": EXTENSIONS})


class ModelNamesView(_DescriptionView):
    """Lists the models."""

    @extend_schema(
        tags=[shapes.TAG],
        operation_id="v2_models_list",
        summary="List the names of the models",
        description="Names of the models that have a version that is served here.",
        responses={200: shapes.ModelNamesSerializer, **shapes.error_responses(401, 403, 405, 503)},
        examples=[shapes.NAMES],
    )
    def get(self, request: Request) -> Response:
        return Response({"models": list(described_versions())})


@extend_schema(
    tags=[shapes.TAG],
    summary="List the versions of the models",
    description="Each version that is served here, and whether it is ready. A version in staging is loaded by its "
    "first request.",
    request=shapes.IndexRequestSerializer,
    responses={200: shapes.IndexEntrySerializer(many=True), **shapes.error_responses(400, 401, 403, 405, 503)},
    examples=[shapes.INDEX_REQUEST, shapes.INDEX],
)
class RepositoryIndexView(_DescriptionView):
    """Lists the versions of the models."""

    authentication_classes = [BearerTokenAuthentication]

    def post(self, request: Request) -> Response:
        given = request.data if request.META.get("CONTENT_LENGTH", "0").strip("0") else {}
        only_ready = isinstance(given, dict) and given.get("ready") is True
        return Response(
            [
                {
                    "name": version.model_name,
                    "version": version.version,
                    "state": "UNAVAILABLE" if version.load_error else "READY",
                    "reason": version.load_error,
                }
                for versions in described_versions().values()
                for version in versions
                if not (only_ready and version.load_error)
            ]
        )


@extend_schema(
    tags=[shapes.TAG],
    summary="Describe a model",
    description="The tensors of a version, with the names of the features and classes. Without a version in the URL, "
    "it is the one in production with the most traffic.",
    responses={200: shapes.ModelMetadataSerializer, **shapes.error_responses(401, 403, 404, 405, 409, 503)},
    examples=[shapes.METADATA],
)
class ModelMetadataView(_DescriptionView):
    """Describes a model version."""

    def get(self, request: Request, model_name: str, version: str | None = None) -> Response:
        described = described_version(model_name, version)
        versions = [one.version for one in described_versions()[model_name]]
        return Response(model_metadata(model_name, versions, described.schema))


@extend_schema(
    tags=[shapes.TAG],
    summary="Is a model ready?",
    description="Whether a version can infer. Without a version in the URL, it is the one in production with the most "
    "traffic. A model that is not ready is an error.",
    responses={200: shapes.ModelReadySerializer, **shapes.error_responses(401, 403, 404, 405, 409, 503)},
    examples=[shapes.MODEL_READY],
)
class ModelReadyView(_DescriptionView):
    """Says whether a model version can infer."""

    def get(self, request: Request, model_name: str, version: str | None = None) -> Response:
        described_version(model_name, version).engine()  # loads a version in staging; raises if it cannot be loaded
        return Response({"name": model_name, "ready": True})


@extend_schema(
    tags=[shapes.TAG],
    summary="Show the configuration of a model",
    description="The tensors of a version in the form of Triton's model configuration.",
    responses={200: shapes.ModelConfigurationSerializer, **shapes.error_responses(401, 403, 404, 405, 409, 503)},
    examples=[shapes.CONFIGURATION],
)
class ModelConfigurationView(_DescriptionView):
    """Shows the configuration of a model version."""

    def get(self, request: Request, model_name: str, version: str | None = None) -> Response:
        return Response(model_configuration(model_name, described_version(model_name, version).schema))


class InferView(OpenInferenceView, CountedView):
    """Predicts the rows of tensors."""

    @extend_schema(
        tags=[shapes.TAG],
        summary="Infer",
        description="Predicts rows as `/predict` does, with the same checks, routing, capture and metrics. An input is "
        "one of the ONNX model, or one feature. The response has the outputs `prediction`, `confidence` or `score`, "
        "and the scores of all classes, named `probabilities`, `logits` or `margins`. Tensors can be binary in both "
        f"directions (`{HEADER_LENGTH}`), which this page cannot send.",
        request=shapes.InferRequestSerializer,
        responses={
            200: shapes.InferResponseSerializer,
            **shapes.error_responses(400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 500, 503),
        },
        examples=[shapes.ONE_INPUT, shapes.INPUT_PER_FEATURE, shapes.PREDICTED],
    )
    def post(self, request: Request, model_name: str, version: str | None = None) -> HttpResponse:
        media_type = request.META.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
        if media_type not in ("", JSON, BINARY):
            detail = f"Content-Type {shown(media_type, 60)} is not supported; send {JSON}, {BINARY} or none."
            raise UnsupportedMediaType(media_type, detail)
        body: bytes = request.body
        self.is_counted = True
        encoded = infer(
            model_name=model_name,
            version=version,
            body=body,
            header_length=request.headers.get(HEADER_LENGTH),
            encoding=request.headers.get("Content-Encoding", ""),
        )
        return HttpResponse(b"".join(encoded.parts), headers=dict(encoded.headers))


@csrf_exempt
def unknown_call(request: HttpRequest, rest: str) -> HttpResponse:
    """Return the error of a path that the protocol does not have, or that this server does not implement."""
    advice = next((text for part, text in ADVICE.items() if part in rest.split("/")), "/api/docs lists the calls.")
    return Problem(HTTPStatus.NOT_FOUND, f"This server has no call {request.path}. {advice}").open_inference_response()
