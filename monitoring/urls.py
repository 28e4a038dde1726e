"""Addresses of metrics, health, and where the links of alerts lead."""

from django.urls import path

from monitoring import alert_views, views
from monitoring.admin.model_page import model_page

urlpatterns = [
    path("models/<str:model_name>", model_page, name="model-page"),
    path("metrics", views.metrics, name="metrics"),
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
    path("go/models/<str:model_name>", alert_views.model_page, name="go-model"),
    path("go/models/<str:model_name>/drift", alert_views.drift_page, name="go-drift"),
    path("go/models/<str:model_name>/versions/<str:version>", alert_views.version_page, name="go-version"),
    path("runbooks/<str:page>", alert_views.runbook, name="runbook"),
]
