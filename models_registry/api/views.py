"""The registry's read-only calls and their responses, with an example from the demo."""

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.generics import ListAPIView, RetrieveAPIView

from models_registry.models import Model, ModelFeature, ModelVersion
from models_registry.selectors import model_named
from rest.problems import problem_responses

MODELS = Model.objects.prefetch_related("versions__features")


class FeatureSerializer(serializers.ModelSerializer[ModelFeature]):
    class Meta:
        model = ModelFeature
        fields = ["name", "kind", "is_required", "tensor_type"]


class VersionSerializer(serializers.ModelSerializer[ModelVersion]):
    features = FeatureSerializer(many=True)
    classes = serializers.ListField(child=serializers.CharField())
    remarks = serializers.ListField(
        child=serializers.CharField(), help_text="What was changed to serve the file, and what was assumed."
    )

    class Meta:
        model = ModelVersion
        fields = [
            "version",
            "stage",
            "traffic_weight",
            "framework",
            "task_type",
            "classes",
            "score_kind",
            "remarks",
            "features",
            "artefact_sha256",
            "artefact_bytes",
            "created_at",
        ]


class ModelSerializer(serializers.ModelSerializer[Model]):
    versions = VersionSerializer(many=True)

    class Meta:
        model = Model
        fields = ["name", "description", "created_at", "versions"]


MODEL_EXAMPLE = OpenApiExample(
    "The demo classifier",
    {
        "name": "classifier",
        "description": "Species of an iris flower from four lengths in cm.",
        "created_at": "2026-03-01T11:00:00Z",
        "versions": [
            {
                "version": "1.0.0",
                "stage": "production",
                "traffic_weight": 100,
                "framework": "skl2onnx 1.20.0",
                "task_type": "classification",
                "classes": ["setosa", "versicolor", "virginica"],
                "score_kind": "probabilities",
                "remarks": [],
                "features": [
                    {"name": name, "kind": "numeric", "is_required": True, "tensor_type": "float32"}
                    for name in ("sepal_length", "sepal_width", "petal_length", "petal_width")
                ],
                "artefact_sha256": "102259a44d3ce53ca7d3ccd3afa718cc68ec1248cdf04721fabd1602fed4897f",
                "artefact_bytes": 665,
                "created_at": "2026-03-01T11:00:01Z",
            }
        ],
    },
    response_only=True,
)


@extend_schema(
    tags=["Registry"],
    summary="List the models",
    description="List every model with its versions: stage, traffic weight, schema and the digest of the ONNX file.",
    responses={200: ModelSerializer(many=True), **problem_responses(401, 403, 406, 503)},
    examples=[MODEL_EXAMPLE],
)
class ModelListView(ListAPIView[Model]):
    """List every model with its versions."""

    serializer_class = ModelSerializer
    queryset = MODELS


@extend_schema(
    tags=["Registry"],
    summary="Show one model",
    description="Show one model with its versions.",
    responses={200: ModelSerializer, **problem_responses(401, 403, 404, 406, 503)},
    examples=[MODEL_EXAMPLE],
)
class ModelView(RetrieveAPIView[Model]):
    """Show one model with its versions."""

    serializer_class = ModelSerializer
    queryset = MODELS
    lookup_field = "name"

    def get_object(self) -> Model:
        return model_named(self.kwargs["name"], MODELS)
