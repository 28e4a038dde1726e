"""How a version is, on its page in the registry."""

from django.utils import timezone

from accounts.admin.page_parts import Panel
from models_registry.admin.versions import version_panels
from models_registry.models import ModelVersion
from monitoring.pages.version_health import health_context


@version_panels.register
def health(version: ModelVersion) -> Panel:
    """Return how the version is now."""
    context = health_context(version, timezone.now())
    return Panel("health", "Health", "monitoring/version_health.html", context=context)
