"""URLs of the model page, of metrics and health, and of the links in alerts."""

from django.urls import path

from monitoring import alert_links, probes, views

urlpatterns = [
    path("models/<str:model_name>", views.model_page, name="model-page"),
    path("metrics", probes.metrics, name="metrics"),
    path("healthz", probes.healthz, name="healthz"),
    path("readyz", probes.readyz, name="readyz"),
    path("go/models/<str:model_name>", alert_links.model_link, name="go-model"),
    path("go/models/<str:model_name>/drift", alert_links.drift_link, name="go-drift"),
    path("go/models/<str:model_name>/versions/<str:version>", alert_links.version_link, name="go-version"),
    path("runbooks/<str:page>", alert_links.runbook, name="runbook"),
]
