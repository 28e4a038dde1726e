"""Making a check's window the new reference, from the page of the check or of its incident."""

from typing import Any

import redis
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from unfold.admin import ModelAdmin

from accounts.admin.page_parts import confirmation_page, is_confirmed
from accounts.roles import Action
from drift.exceptions import DriftError
from drift.models import DriftCheck
from drift.services.rebaselining import make_window_the_reference
from mlmon.verdict import FEWEST_REFERENCE_ROWS as SMALLEST_VERDICT_REFERENCE
from models_registry.exceptions import RegistryError

BUTTON = "Make it the new reference"
REFERENCE_PAGE = "admin:models_registry_referencedataset_change"


def may_rebaseline(request: HttpRequest) -> bool:
    """Return whether a person may do it: who may upload reference data, for that is what it does."""
    return Action.REBASELINE.is_allowed(request.user)


def rebaseline_page(model_admin: ModelAdmin, request: HttpRequest, *, check: DriftCheck, row: Model) -> HttpResponse:
    """Ask whether the window of a check should become the reference; do it when the person has pressed the button.

    Parameters
    ----------
    row
        Of `model_admin`: what leads here, and back.
    """
    if not may_rebaseline(request):
        raise PermissionDenied
    if not is_confirmed(request):
        return confirmation_page(
            model_admin,
            request,
            row=row,
            title=f"A new reference for {check.version}",
            changes=consequences_of_rebaselining(check),
            button=BUTTON,
        )
    user: Any = request.user
    try:
        reference = make_window_the_reference(check=check, user=user)
    except (DriftError, RegistryError) as error:
        model_admin.message_user(request, str(error), messages.ERROR)
    except redis.RedisError:
        model_admin.message_user(request, "The live window cannot be read now. Try again.", messages.ERROR)
    else:
        model_admin.message_user(request, f"{reference.original_filename} is active once its profile is ready.")
        return redirect(REFERENCE_PAGE, reference.pk)
    return redirect(f"admin:{model_admin.opts.app_label}_{model_admin.opts.model_name}_change", row.pk)


def consequences_of_rebaselining(check: DriftCheck) -> list[str]:
    """Return a sentence for each thing that a new reference changes."""
    span = ""
    if check.window_started_at and check.window_ended_at:
        span = f", observed from {check.window_started_at:%Y-%m-%d %H:%M} to {check.window_ended_at:%Y-%m-%d %H:%M}"
    sentences = [
        f"The {check.n_current:,} rows of this check's window{span} become reference data of {check.version}.",
        f"Once profiled it replaces {check.reference.original_filename} ({check.n_reference:,} rows): what drifted "
        "until now counts as normal.",
        "An open incident of this version is closed by the next check. The old reference can be activated again.",
    ]
    if check.n_current < SMALLEST_VERDICT_REFERENCE:
        sentences.append(
            f"A verdict needs a reference of {SMALLEST_VERDICT_REFERENCE:,} rows; with fewer there are scores only."
        )
    return sentences
