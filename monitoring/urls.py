"""URLs of the model page, of metrics and health, and of the links in alerts."""

from django.urls import path

from monitoring import probes, views

urlpatterns = [
    path("models/<str:model_name>", views.model_page, name="model-page"),
    path("metrics", probes.metrics, name="metrics"),
    path("healthz", probes.healthz, name="healthz"),
    path("readyz", probes.readyz, name="readyz"),
    path("v2/health/live", probes.LiveView.as_view(), name="oip-live"),
    path("v2/health/ready", probes.ServerReadyView.as_view(), name="oip-ready"),
    path("go/models/<str:model_name>", views.model_link, name="go-model"),
    path("go/models/<str:model_name>/drift", views.drift_link, name="go-drift"),
    path("go/models/<str:model_name>/versions/<str:version>", views.version_link, name="go-version"),
    path("runbooks/<str:page>", views.runbook, name="runbook"),
]
