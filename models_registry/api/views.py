"""The registry, read only."""

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView, RetrieveAPIView

from models_registry.api.examples import MODEL
from models_registry.api.serializers import ModelSerializer
from models_registry.models import Model
from models_registry.selectors import model_named
from rest.problems import problem_responses


def _models() -> QuerySet[Model]:
    return Model.objects.prefetch_related("versions__features")


@extend_schema(
    tags=["Registry"],
    summary="List the models",
    description="Every model with its versions: their stage, traffic weight, schema and the digest of the ONNX file.",
    responses={200: ModelSerializer(many=True), **problem_responses(401, 403, 406, 503)},
    examples=[MODEL],
)
class ModelListView(ListAPIView[Model]):
    """Every model with its versions."""

    serializer_class = ModelSerializer
    queryset = _models()


@extend_schema(
    tags=["Registry"],
    summary="Show one model",
    description="One model with its versions.",
    responses={200: ModelSerializer, **problem_responses(401, 403, 404, 406, 503)},
    examples=[MODEL],
)
class ModelView(RetrieveAPIView[Model]):
    """One model with its versions."""

    serializer_class = ModelSerializer
    queryset = _models()
    lookup_field = "name"

    def get_object(self) -> Model:
        return model_named(self.kwargs["name"], _models())
