"""Pages for people: the overview, a model, the search of the sidebar, and the stable URLs of the links in alerts."""

import re
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.contrib import admin
from django.contrib.admin.views.decorators import staff_member_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from accounts.roles import Action
from drift.selectors import latest_succeeded_check, open_incident
from models_registry.exceptions import UnknownModelError
from models_registry.models import Model
from models_registry.selectors import model_named, primary_version
from monitoring.pages.charts import TimeRange
from monitoring.pages.model import model_context
from monitoring.pages.overview import overview_context

MOST_MODELS = 10
RUNBOOKS = Path(settings.BASE_DIR) / "docs" / "runbooks"
RUNBOOK_NAME = re.compile(r"[A-Za-z0-9]+\.md")


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


def visible_model(request: HttpRequest, name: str) -> Model:
    """Return the model with this name, or raise Http404, but PermissionDenied to people who may not see models.

    They must not learn which models exist.
    """
    if not Action.SEE.is_allowed(request.user):
        raise PermissionDenied
    try:
        return model_named(name)
    except UnknownModelError as error:
        raise Http404(f"There is no model {name!r}.") from error


@admin.site.admin_view
def model_page(request: HttpRequest, model_name: str) -> HttpResponse:
    """Show a model over the time of ``?range=``; by default a day, or less for a younger model."""
    model = visible_model(request, model_name)
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


# --- Links in alerts --------------------------------------------------------------------------------------------------


@staff_member_required
def model_link(request: HttpRequest, model_name: str) -> HttpResponse:
    """Redirect to the page of a model."""
    return redirect("model-page", visible_model(request, model_name).name)


@staff_member_required
def version_link(request: HttpRequest, model_name: str, version: str) -> HttpResponse:
    """Redirect to the page of a version."""
    for row in visible_model(request, model_name).versions.all():
        if row.version == version:
            return redirect("admin:models_registry_modelversion_change", row.pk)
    raise Http404(f"{model_name} has no version {version!r}.")


@staff_member_required
def drift_link(request: HttpRequest, model_name: str) -> HttpResponse:
    """Redirect to the drift that the gauges of a model show, at the feature of ``?feature=``.

    This is the open incident of the primary version if it lists the feature, else its latest check, else all checks.
    """
    model = visible_model(request, model_name)
    feature = request.GET.get("feature", "")
    version = primary_version(model)
    incident = open_incident(version.pk) if version else None
    check = latest_succeeded_check(version) if version else None
    if incident and (not feature or any(found.name == feature for found in incident.hypotheses)):
        address = reverse("admin:drift_driftincident_change", args=[incident.pk])
    elif check:
        address = reverse("admin:drift_driftcheck_change", args=[check.pk])
    else:
        address = reverse("admin:drift_driftcheck_changelist") + f"?version__model__id__exact={model.pk}"
    # Quoted twice: the id of the element is quoted, and the browser unquotes the fragment once.
    return redirect(f"{address}#feature-{quote(quote(feature, safe=''), safe='')}" if feature else address)


def runbook(request: HttpRequest, page: str) -> HttpResponse:
    """Return a page of docs/runbooks as plain text; it contains no secrets, so it needs no login."""
    path = RUNBOOKS / page
    if not RUNBOOK_NAME.fullmatch(page) or not path.is_file():
        raise Http404(f"There is no runbook {page!r}.")
    return HttpResponse(path.read_text(), status=HTTPStatus.OK, content_type="text/plain; charset=utf-8")
