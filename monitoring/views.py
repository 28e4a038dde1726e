"""Pages for people: the overview, the page of a model, and the search of the sidebar."""

from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from accounts.roles import Action
from models_registry.exceptions import UnknownModelError
from models_registry.models import Model
from models_registry.selectors import model_named
from monitoring.pages.charts import TimeRange
from monitoring.pages.model import model_context
from monitoring.pages.overview import overview_context

MOST_MODELS = 10


@dataclass(frozen=True, slots=True)
class SearchResult:
    """One result of the search."""

    title: str
    description: str
    link: str


def with_overview(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Return the context of the admin's first page with the overview, if the person may see it; unfold calls this."""
    if Action.SEE.is_allowed(request.user):
        may_register = Action.REGISTER_MODEL.is_allowed(request.user)
        context |= overview_context(timezone.now()) | {"may_see": True, "may_register": may_register}
    return context


def model_or_404(name: str) -> Model:
    """Return the model with this name, or raise Http404."""
    try:
        return model_named(name)
    except UnknownModelError as error:
        raise Http404(f"There is no model {name!r}.") from error


@admin.site.admin_view
def model_page(request: HttpRequest, model_name: str) -> HttpResponse:
    """Show a model over the time of ``?range=``; by default a day, or less for a younger model."""
    if not Action.SEE.is_allowed(request.user):
        raise PermissionDenied
    model = model_or_404(model_name)
    now = timezone.now()
    time_range = TimeRange.chosen(request.GET.get("range", ""), now - model.created_at)
    context = model_context(model, time_range, now)
    return TemplateResponse(request, "monitoring/model_page.html", {**admin.site.each_context(request), **context})


@admin.site.admin_view
def search(request: HttpRequest) -> HttpResponse:
    """Show the models and the pages of the sidebar whose names contain ``?s=``."""
    term = request.GET.get("s", "").strip().lower()
    results: list[SearchResult] = []
    if term and Action.SEE.is_allowed(request.user):
        models = Model.objects.filter(name__icontains=term).order_by("name")
        for name in models.values_list("name", flat=True)[:MOST_MODELS]:
            results.append(SearchResult(name, "model", reverse("model-page", args=[name])))
    if term:
        for group in admin.site.each_context(request)["sidebar_navigation"]:
            for item in group["items"]:
                if item["has_permission"] and term in f"{group['title']} {item['title']}".lower():
                    results.append(SearchResult(str(item["title"]), str(group["title"]), str(item["link"])))
    return TemplateResponse(request, "monitoring/search_results.html", {"term": term, "results": results})
