"""A page that says what a click will change, before it changes: a link alone (GET) never does."""

from collections.abc import Sequence
from typing import Any

from django.db.models import Model
from django.http import HttpRequest
from django.template.response import TemplateResponse
from unfold.admin import ModelAdmin

from accounts.admin.panels import Panel


def is_confirmed(request: HttpRequest) -> bool:
    """Return whether the person pressed the page's button: a POST, which Django guards against forgery."""
    return request.method == "POST"


def confirmation_page(
    model_admin: ModelAdmin,
    request: HttpRequest,
    *,
    row: Model,
    title: str,
    changes: Sequence[str],
    button: str,
    is_final: bool = False,
    panels: Sequence[Panel] = (),
) -> TemplateResponse:
    """Return the page: a title, a sentence for each change, a button that does it, and what helps to decide."""
    context: dict[str, Any] = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "original": row,
        "title": title,
        "changes": changes,
        "button": button,
        "is_final": is_final,
        "panels": panels,
    }
    return TemplateResponse(request, "admin/confirm_change.html", context)
