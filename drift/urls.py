"""Addresses of the drift calls."""

from django.urls import path

from drift.api.views import DriftView, IncidentView

urlpatterns = [
    path("drift", DriftView.as_view(), name="drift-default"),
    path("api/v1/models/<str:model_name>/drift", DriftView.as_view(), name="drift"),
    path("api/v1/models/<str:model_name>/incidents", IncidentView.as_view(), name="drift-incidents"),
]
