"""The page of one model: how it is, and how it was."""

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from accounts.roles import Action
from models_registry.exceptions import UnknownModelError
from models_registry.selectors import model_named
from monitoring.pages.model import model_context
from monitoring.pages.time_ranges import TimeRange


@admin.site.admin_view
def model_page(request: HttpRequest, model_name: str) -> HttpResponse:
    """Show a model over the time of ``?range=``; without it over a day, or over less where it is younger."""
    if not Action.SEE.is_allowed(request.user):
        raise PermissionDenied
    try:
        model = model_named(model_name)
    except UnknownModelError as error:
        raise Http404(f"There is no model {model_name!r}.") from error
    now = timezone.now()
    time_range = TimeRange.named(request.GET.get("range", "")) or TimeRange.at_first(now - model.created_at)
    context = model_context(model, time_range, now)
    return TemplateResponse(request, "monitoring/model_page.html", {**admin.site.each_context(request), **context})
