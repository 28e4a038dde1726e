"""The registry, read only."""

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView, RetrieveAPIView

from models_registry.api.serializers import ModelSerializer
from models_registry.models import Model
from models_registry.selectors import model_named


def _models() -> QuerySet[Model]:
    return Model.objects.prefetch_related("versions__features")


@extend_schema(summary="List the models")
class ModelListView(ListAPIView[Model]):
    """Every model with its versions."""

    serializer_class = ModelSerializer
    queryset = _models()


@extend_schema(summary="Show one model")
class ModelView(RetrieveAPIView[Model]):
    """One model with its versions."""

    serializer_class = ModelSerializer
    queryset = _models()
    lookup_field = "name"

    def get_object(self) -> Model:
        return model_named(self.kwargs["name"], _models())
