"""The registry's calls: read it, and write to it from a CI pipeline."""

from http import HTTPStatus

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView, RetrieveAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.actors import caller
from accounts.models import TokenScope
from mlmon.schema import TaskType
from models_registry.api import examples
from models_registry.api.serializers import (
    ExternalVersionSerializer,
    InferredSchemaSerializer,
    JobSerializer,
    ModelRegistrationSerializer,
    ModelSerializer,
    ReferenceUploadSerializer,
    SchemaUploadSerializer,
    StageRequestSerializer,
    StageResultSerializer,
    VersionSerializer,
    VersionUploadSerializer,
)
from models_registry.models import Model, Stage
from models_registry.schema_inference import SchemaChoices
from models_registry.selectors import model_named, reference_of, version_named
from models_registry.services.external_versions import schema_of_upload
from models_registry.services.pipelines import (
    ensure_external_version,
    ensure_model,
    ensure_reference,
    ensure_version,
    move_version,
)
from rest.bodies import UploadParser, validated_body
from rest.codec import OrjsonParser
from rest.problems import problem_responses

MODELS = Model.objects.prefetch_related("versions__features")
WRITE_PROBLEMS = (400, 401, 403, 404, 406, 408, 409, 413, 415, 422, 503)


class ModelListView(ListAPIView[Model]):
    """Lists every model with its versions, and registers models."""

    required_scope = TokenScope.REGISTRY
    serializer_class = ModelSerializer
    queryset = MODELS

    @extend_schema(
        tags=["Registry"],
        summary="List the models",
        description="Lists every model with its versions: stage, traffic weight, schema, digest of the ONNX file.",
        responses={200: ModelSerializer(many=True), **problem_responses(401, 403, 406, 503)},
        examples=[examples.MODEL],
    )
    def get(self, request: Request) -> Response:
        return self.list(request)

    @extend_schema(
        tags=["Registry"],
        summary="Register a model",
        description="Registers the name of a model (201). If the model exists, the response is the stored model (200); "
        "a description or a time zone that is given and differs from the stored one is a conflict (409).",
        request=ModelRegistrationSerializer,
        responses={
            200: ModelSerializer,
            201: ModelSerializer,
            **problem_responses(*(status for status in WRITE_PROBLEMS if status != HTTPStatus.NOT_FOUND)),
        },
        examples=[examples.REGISTRATION, examples.MODEL],
    )
    def post(self, request: Request) -> Response:
        given = validated_body(request, ModelRegistrationSerializer)
        model, is_new = ensure_model(**given, user=caller(request.user))
        return Response(ModelSerializer(model).data, HTTPStatus.CREATED if is_new else HTTPStatus.OK)


@extend_schema(
    tags=["Registry"],
    summary="Show one model",
    description="Show one model with its versions.",
    responses={200: ModelSerializer, **problem_responses(401, 403, 404, 406, 503)},
    examples=[examples.MODEL],
)
class ModelView(RetrieveAPIView[Model]):
    """Shows one model with its versions."""

    required_scope = TokenScope.REGISTRY
    serializer_class = ModelSerializer
    queryset = MODELS
    lookup_field = "name"

    def get_object(self) -> Model:
        return model_named(self.kwargs["name"], MODELS)


class VersionUploadView(APIView):
    """Uploads a version of a model, or registers one that is served elsewhere."""

    required_scope = TokenScope.REGISTRY
    parser_classes = [UploadParser, OrjsonParser]

    def largest_upload(self) -> int:
        return settings.MLMON_MAX_ARTEFACT_BYTES

    @extend_schema(
        tags=["Registry"],
        summary="Upload a version, or register one that is served elsewhere",
        description="A form inspects and tries an ONNX file, and stores it as a version in stage `staging` (201). The "
        "same file again for the same version changes nothing (200). Another file, or other features, for a version "
        "that exists is a conflict (409). A refused file leaves nothing behind; the problem says what to do, such as "
        "to state the `task`.\n\nA JSON body with a `schema` registers a version that another server serves, which "
        "sends its predictions to `/observations`; it cannot predict here. The same schema again changes nothing "
        "(200), another one is a conflict (409). `/inferred-schema` reads a first schema from a reference file.",
        request={
            "multipart/form-data": VersionUploadSerializer,
            "application/json": ExternalVersionSerializer,
        },
        responses={200: VersionSerializer, 201: VersionSerializer, **problem_responses(*WRITE_PROBLEMS)},
        examples=[
            examples.VERSION_UPLOAD,
            examples.EXTERNAL_VERSION,
            examples.VERSION,
            examples.VERSION_SERVED_ELSEWHERE,
        ],
    )
    def post(self, request: Request, model_name: str) -> Response:
        model = model_named(model_name)
        if request.content_type.partition(";")[0].strip().lower() == OrjsonParser.media_type:
            given = validated_body(request, ExternalVersionSerializer)
            document = given.pop("schema")
            version, is_new = ensure_external_version(
                model=model, document=document, user=caller(request.user), **given
            )
            return Response(VersionSerializer(version).data, HTTPStatus.CREATED if is_new else HTTPStatus.OK)
        given = validated_body(request, VersionUploadSerializer)
        files = given.pop("artefact")
        version, is_new = ensure_version(model=model, files=files, user=caller(request.user), **given)
        return Response(VersionSerializer(version).data, HTTPStatus.CREATED if is_new else HTTPStatus.OK)


class InferredSchemaView(APIView):
    """Reads a first schema of a version that is served elsewhere from its reference file."""

    required_scope = TokenScope.REGISTRY
    parser_classes = [UploadParser]

    def largest_upload(self) -> int:
        return settings.MLMON_MAX_REFERENCE_BYTES

    @extend_schema(
        tags=["Registry"],
        summary="Infer the schema of a version that is served elsewhere",
        description="Reads the task, the classes and the features from a CSV or Parquet file, and stores nothing. The "
        "columns with the predictions, their probabilities, the ground truth and times are no features. Check the "
        "`schema`, correct it, and register the version with it.",
        request={"multipart/form-data": SchemaUploadSerializer},
        responses={200: InferredSchemaSerializer, **problem_responses(*WRITE_PROBLEMS)},
        examples=[examples.SCHEMA_UPLOAD, examples.INFERRED_SCHEMA],
    )
    def post(self, request: Request, model_name: str) -> Response:
        model_named(model_name)
        given = validated_body(request, SchemaUploadSerializer)
        file, missing = given.pop("file"), frozenset(given.pop("missing_values", ()))
        task = TaskType(given.pop("task")) if given.get("task") else None
        inferred = schema_of_upload(file=file, choices=SchemaChoices(task=task, missing=missing, **given))
        return Response(InferredSchemaSerializer(inferred).data)


class ReferenceUploadView(APIView):
    """Uploads reference data of a version."""

    required_scope = TokenScope.REGISTRY
    parser_classes = [UploadParser]

    def largest_upload(self) -> int:
        return settings.MLMON_MAX_REFERENCE_BYTES

    @extend_schema(
        tags=["Registry"],
        summary="Upload reference data",
        description="Stores a CSV or Parquet file, and starts a job that profiles it and makes it the version's active "
        "reference (202). Poll the job at its `url` until its state is `ready` or `failed`. The same file and options "
        "again are the same job (200); if it failed, they start another one.",
        request={"multipart/form-data": ReferenceUploadSerializer},
        responses={200: JobSerializer, 202: JobSerializer, **problem_responses(*WRITE_PROBLEMS)},
        examples=[examples.REFERENCE_UPLOAD, examples.NEW_JOB, examples.READY_JOB],
    )
    def post(self, request: Request, model_name: str, version: str) -> Response:
        of_version = version_named(model_name, version)
        given = validated_body(request, ReferenceUploadSerializer)
        reference, is_new = ensure_reference(version=of_version, user=caller(request.user), **given)
        return Response(JobSerializer(reference).data, HTTPStatus.ACCEPTED if is_new else HTTPStatus.OK)


class StageView(APIView):
    """Moves a version to a stage."""

    required_scope = TokenScope.REGISTRY

    @extend_schema(
        tags=["Registry"],
        summary="Change the stage of a version",
        description="`production` without a traffic weight promotes the version: it gets all of the model's traffic, "
        "and the versions that had it return to `staging`. With a traffic weight, the other versions keep theirs. "
        "`shadow`, `staging` and `archived` take no traffic; `archived` is final. The response lists what has changed. "
        "Servers follow within about a second.",
        request=StageRequestSerializer,
        responses={200: StageResultSerializer, **problem_responses(*WRITE_PROBLEMS)},
        examples=[examples.STAGE_REQUEST, examples.STAGE_RESULT],
    )
    def post(self, request: Request, model_name: str, version: str) -> Response:
        row = version_named(model_name, version)
        given = validated_body(request, StageRequestSerializer)
        changes = move_version(
            version=row,
            stage=Stage(given["stage"]),
            traffic_weight=given.get("traffic_weight"),
            user=caller(request.user),
        )
        body = {
            "model_name": model_name,
            "model_version": row.version,
            "stage": row.stage,
            "traffic_weight": row.traffic_weight,
            "changes": changes,
        }
        return Response(StageResultSerializer(body).data)


class JobView(APIView):
    """Shows the job of an uploaded reference."""

    required_scope = TokenScope.REGISTRY

    @extend_schema(
        tags=["Registry"],
        summary="Show a job",
        description="Shows the job that profiles uploaded reference data: its state (`pending`, `profiling`, `ready`, "
        "`failed`), its progress, and why it failed.",
        responses={200: JobSerializer, **problem_responses(401, 403, 404, 406, 503)},
        examples=[examples.READY_JOB, examples.FAILED_JOB],
    )
    def get(self, request: Request, model_name: str, job_id: int) -> Response:
        return Response(JobSerializer(reference_of(model_named(model_name), job_id)).data)
