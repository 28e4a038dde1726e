"""Stable URLs for the links in alerts: they redirect to the pages, and show the runbooks."""

import functools
import re
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

from django.conf import settings
from django.contrib.admin.views.decorators import staff_member_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from accounts.roles import Action
from drift.selectors import latest_succeeded_check, open_incident
from models_registry.selectors import primary_version
from monitoring.views import model_or_404

RUNBOOKS = Path(settings.BASE_DIR) / "docs" / "runbooks"
RUNBOOK_NAME = re.compile(r"[A-Za-z0-9]+\.md")


def _for_viewers(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Require the permission to see models: a redirect reveals whether a model, a version or a check exists."""

    @staff_member_required
    @functools.wraps(view)
    def respond(request: HttpRequest, **names: str) -> HttpResponse:
        if not Action.SEE.is_allowed(request.user):
            raise PermissionDenied
        return view(request, **names)

    return respond


@_for_viewers
def model_link(request: HttpRequest, model_name: str) -> HttpResponse:
    """Redirect to the page of a model."""
    return redirect("model-page", model_or_404(model_name).name)


@_for_viewers
def version_link(request: HttpRequest, model_name: str, version: str) -> HttpResponse:
    """Redirect to the page of a version."""
    for row in model_or_404(model_name).versions.all():
        if row.version == version:
            return redirect("admin:models_registry_modelversion_change", row.pk)
    raise Http404(f"{model_name} has no version {version!r}.")


@_for_viewers
def drift_link(request: HttpRequest, model_name: str) -> HttpResponse:
    """Redirect to the drift that the gauges of a model show, at the feature of ``?feature=``.

    This is the open incident of the primary version if it lists the feature, else its latest check, else all checks.
    """
    model = model_or_404(model_name)
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
