"""URLs of the predict and observation calls, and of the Open Inference Protocol."""

from django.urls import path

from inference.api import open_inference
from inference.api.kserve import EVENTS_PATH, KServeEventsView
from inference.api.views import ObservationsView, PredictView

_MODEL, _VERSION = "v2/models/<str:model_name>", "v2/models/<str:model_name>/versions/<str:version>"

urlpatterns = [
    path(EVENTS_PATH.removeprefix("/"), KServeEventsView.as_view(), name="kserve-events"),
    path("predict", PredictView.as_view(), name="predict-default"),
    path("api/v1/models/<str:model_name>/observations", ObservationsView.as_view(), name="observations"),
    path("api/v1/models/<str:model_name>/predict", PredictView.as_view(), name="predict"),
    path(
        "api/v1/models/<str:model_name>/versions/<str:version>/predict",
        PredictView.as_view(),
        name="predict-version",
    ),
    path("v2", open_inference.ServerMetadataView.as_view(), name="oip-server"),
    path("v2/models", open_inference.ModelNamesView.as_view(), name="oip-models"),
    path("v2/repository/index", open_inference.RepositoryIndexView.as_view(), name="oip-index"),
    *(
        path(f"{prefix}{call}", view.as_view(), name=f"oip-{name}{suffix}")
        for prefix, suffix in ((_MODEL, ""), (_VERSION, "-version"))
        for call, view, name in (
            ("", open_inference.ModelMetadataView, "model"),
            ("/ready", open_inference.ModelReadyView, "ready"),
            ("/config", open_inference.ModelConfigurationView, "config"),
            ("/infer", open_inference.InferView, "infer"),
        )
    ),
]
