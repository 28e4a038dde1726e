"""The search of the sidebar: registered models by name, and the pages that the sidebar leads to."""

from collections.abc import Iterator
from dataclasses import dataclass

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

from accounts.roles import Action
from models_registry.models import Model

MOST_MODELS = 10


@dataclass(frozen=True, slots=True)
class Found:
    """A line of the results."""

    title: str
    description: str
    link: str


@admin.site.admin_view
def search(request: HttpRequest) -> HttpResponse:
    """Show what ``?s=`` finds; nothing where it is empty."""
    term = request.GET.get("s", "").strip().lower()
    results = [*_models(request, term), *_pages(request, term)] if term else []
    return TemplateResponse(request, "monitoring/search_results.html", {"term": term, "results": results})


def _models(request: HttpRequest, term: str) -> Iterator[Found]:
    if Action.SEE.is_allowed(request.user):
        for name in (
            Model.objects.filter(name__icontains=term).order_by("name").values_list("name", flat=True)[:MOST_MODELS]
        ):
            yield Found(name, "model", reverse("model-page", args=[name]))


def _pages(request: HttpRequest, term: str) -> Iterator[Found]:
    """Yield the links of the sidebar that this person may follow."""
    for group in admin.site.each_context(request)["sidebar_navigation"]:
        for item in group["items"]:
            if item["has_permission"] and term in f"{group['title']} {item['title']}".lower():
                yield Found(str(item["title"]), str(group["title"]), str(item["link"]))
