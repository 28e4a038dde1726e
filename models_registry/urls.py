"""URLs of the registry's calls."""

from django.urls import path

from models_registry.api.views import ModelListView, ModelView

urlpatterns = [
    path("api/v1/models", ModelListView.as_view(), name="models"),
    path("api/v1/models/<str:name>", ModelView.as_view(), name="model"),
]
