"""URLs of the web process."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from inference.api.open_inference import unknown_call
from monitoring.views import search

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/search/", search),  # replaces unfold's, which finds tables only by name
    path("admin/", admin.site.urls),
    path("favicon.ico", RedirectView.as_view(url="/static/mlmon/favicon.svg")),
    path("", include("inference.urls")),
    path("", include("drift.urls")),
    path("", include("models_registry.urls")),
    path("", include("performance.urls")),
    path("", include("rollouts.urls")),
    path("", include("monitoring.urls")),
    path("api/schema", SpectacularAPIView.as_view(), name="schema"),
    # GET and HEAD only: the page's renderer fails on OPTIONS.
    path("api/docs", SpectacularSwaggerView.as_view(url_name="schema", http_method_names=["get", "head"]), name="docs"),
    path("v2/<path:rest>", unknown_call),  # behind all calls of the Open Inference Protocol
]

handler400 = "mlmon_site.error_pages.bad_request"
handler403 = "mlmon_site.error_pages.forbidden"
handler404 = "mlmon_site.error_pages.not_found"
handler500 = "mlmon_site.error_pages.server_error"
