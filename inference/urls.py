"""URLs of the predict and observation calls."""

from django.urls import path

from inference.api.views import ObservationsView, PredictView

urlpatterns = [
    path("predict", PredictView.as_view(), name="predict-default"),
    path("api/v1/models/<str:model_name>/observations", ObservationsView.as_view(), name="observations"),
    path("api/v1/models/<str:model_name>/predict", PredictView.as_view(), name="predict"),
    path(
        "api/v1/models/<str:model_name>/versions/<str:version>/predict",
        PredictView.as_view(),
        name="predict-version",
    ),
]
