"""The registry's read-only calls."""

from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView, RetrieveAPIView

from models_registry.api.serializers import MODEL_EXAMPLE, ModelSerializer
from models_registry.models import Model
from models_registry.selectors import model_named, models_with_versions
from rest.problems import problem_responses


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
    queryset = models_with_versions()


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
    queryset = models_with_versions()
    lookup_field = "name"

    def get_object(self) -> Model:
        return model_named(self.kwargs["name"], models_with_versions())
