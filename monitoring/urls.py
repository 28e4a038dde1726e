"""Addresses of metrics, health and performance."""

from django.urls import path

from monitoring import views
from monitoring.api.views import PerformanceView

urlpatterns = [
    path("api/v1/models/<str:model_name>/performance", PerformanceView.as_view(), name="performance"),
    path("metrics", views.metrics, name="metrics"),
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
]
