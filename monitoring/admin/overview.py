"""The admin's first page: how all models are."""

from typing import Any

from django.http import HttpRequest
from django.utils import timezone

from accounts.roles import Action
from monitoring.pages.overview import overview_context


def with_overview(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Return the context of the index with the overview, for who may see it; unfold calls this."""
    if Action.SEE.is_allowed(request.user):
        context |= overview_context(timezone.now()) | {
            "may_register": Action.REGISTER_MODEL.is_allowed(request.user),
            "may_see": True,
        }
    return context
