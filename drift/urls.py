"""Addresses of the drift calls."""

from django.urls import path

from drift.api.views import DriftView, IncidentListView, IncidentView

urlpatterns = [
    path("drift", DriftView.as_view(), name="drift-default"),
    path("api/v1/models/<str:model_name>/drift", DriftView.as_view(), name="drift"),
    path("api/v1/models/<str:model_name>/incidents", IncidentListView.as_view(), name="drift-incidents"),
    path("api/v1/models/<str:model_name>/incidents/<int:incident_id>", IncidentView.as_view(), name="drift-incident"),
]
