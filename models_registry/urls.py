"""URLs of the registry's calls."""

from django.urls import path

from models_registry.api.views import (
    InferredSchemaView,
    JobView,
    ModelListView,
    ModelView,
    ReferenceUploadView,
    StageView,
    VersionUploadView,
)

MODEL = "api/v1/models/<str:model_name>"
VERSION = f"{MODEL}/versions/<str:version>"

urlpatterns = [
    path("api/v1/models", ModelListView.as_view(), name="models"),
    path("api/v1/models/<str:name>", ModelView.as_view(), name="model"),
    path(f"{MODEL}/versions", VersionUploadView.as_view(), name="versions"),
    path(f"{MODEL}/inferred-schema", InferredSchemaView.as_view(), name="inferred-schema"),
    path(f"{VERSION}/reference", ReferenceUploadView.as_view(), name="reference"),
    path(f"{VERSION}/stage", StageView.as_view(), name="stage"),
    path(f"{MODEL}/jobs/<int:job_id>", JobView.as_view(), name="job"),
]
