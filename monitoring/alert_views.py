"""Where the links of an alert lead: addresses that stay, whatever the pages behind them are called."""

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
from drift.models import DriftIncident
from drift.selectors import latest_succeeded_check, open_incident
from models_registry.exceptions import UnknownModelError
from models_registry.models import Model
from models_registry.selectors import model_named, primary_version

RUNBOOKS = Path(settings.BASE_DIR) / "docs" / "runbooks"
RUNBOOK_NAME = re.compile(r"[A-Za-z0-9]+\.md")


def for_who_may_see(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Let only those through who may see the pages that an address leads to: it tells names and numbers of rows."""

    @staff_member_required
    @functools.wraps(view)
    def answer(request: HttpRequest, **names: str) -> HttpResponse:
        if not Action.SEE.is_allowed(request.user):
            raise PermissionDenied
        return view(request, **names)

    return answer


@for_who_may_see
def model_page(request: HttpRequest, model_name: str) -> HttpResponse:
    """Lead to the model's page."""
    return redirect("model-page", _model(model_name).name)


@for_who_may_see
def version_page(request: HttpRequest, model_name: str, version: str) -> HttpResponse:
    """Lead to the page of one version."""
    for row in _model(model_name).versions.all():
        if row.version == version:
            return redirect("admin:models_registry_modelversion_change", row.pk)
    raise Http404(f"{model_name} has no version {version!r}.")


@for_who_may_see
def drift_page(request: HttpRequest, model_name: str) -> HttpResponse:
    """Lead to what the drift gauges speak of, opened at the feature of ``?feature=`` where one is named."""
    model = _model(model_name)
    feature = request.GET.get("feature", "")
    return redirect(_drift_address(model, feature) + _fragment(feature))


def runbook(request: HttpRequest, page: str) -> HttpResponse:
    """Return a page of docs/runbooks as it is written; it holds nothing secret, so nobody has to log in first."""
    path = RUNBOOKS / page
    if not RUNBOOK_NAME.fullmatch(page) or not path.is_file():
        raise Http404(f"There is no runbook {page!r}.")
    return HttpResponse(path.read_text(), status=HTTPStatus.OK, content_type="text/plain; charset=utf-8")


def _model(name: str) -> Model:
    try:
        return model_named(name)
    except UnknownModelError as error:
        raise Http404(f"There is no model {name!r}.") from error


def _drift_address(model: Model, feature: str) -> str:
    """Return the primary version's open incident where it tells of `feature`, else its newest check, else all."""
    version = primary_version(model)
    incident = open_incident(version.pk) if version else None
    if incident is not None and (not feature or _tells_of(incident, feature)):
        return reverse("admin:drift_driftincident_change", args=[incident.pk])
    check = latest_succeeded_check(version) if version else None
    if check is not None:
        return reverse("admin:drift_driftcheck_change", args=[check.pk])
    return reverse("admin:drift_driftcheck_changelist") + f"?version__model__id__exact={model.pk}"


def _tells_of(incident: DriftIncident, feature: str) -> bool:
    return any(found.name == feature for found in incident.hypotheses)


def _fragment(feature: str) -> str:
    # The element's id is quoted already (an id holds no spaces), and a browser takes one quoting off.
    return f"#feature-{quote(quote(feature, safe=''), safe='')}" if feature else ""
