"""The registry, read only."""

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView, RetrieveAPIView

from models_registry.api.serializers import ModelSerializer
from models_registry.exceptions import UnknownModelError
from models_registry.models import Model


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
        name = self.kwargs["name"]
        model = _models().filter(name=name).first()
        if model is None:
            raise UnknownModelError(name)
        return model
