"""Checking a version now, from the page of a check or of an incident."""

import redis
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from unfold.admin import ModelAdmin

from accounts.admin.base import user_of
from accounts.admin.page_parts import confirmation_page, is_confirmed
from accounts.roles import Action
from drift.exceptions import DriftError
from drift.services.checking_by_hand import check_by_hand
from models_registry.models import ModelVersion

CHECK_PAGE = "admin:drift_driftcheck_change"


def may_check(request: HttpRequest) -> bool:
    """Return whether a person may have a version checked though no check is due."""
    return Action.RUN_CHECK.is_allowed(request.user)


def check_page(model_admin: ModelAdmin, request: HttpRequest, *, version: ModelVersion, row: Model) -> HttpResponse:
    """Ask whether `version` should be checked now; do it when the person has pressed the button.

    Parameters
    ----------
    row
        Of `model_admin`: what leads here, and back.
    """
    if not may_check(request):
        raise PermissionDenied
    if not is_confirmed(request):
        changes = [
            f"The newest window of {version} is compared with its reference now, whether a check is due or not.",
            "It counts as any other check: an alarm opens an incident, and it uses up some of the false-alarm budget.",
        ]
        title = f"Check {version} now"
        return confirmation_page(model_admin, request, row=row, title=title, changes=changes, button="Check now")
    try:
        check = check_by_hand(version=version, user=user_of(request))
    except DriftError as error:
        model_admin.message_user(request, str(error), messages.ERROR)
    except redis.RedisError:
        model_admin.message_user(request, "The live window cannot be read now. Try again.", messages.ERROR)
    else:
        model_admin.message_user(request, f"{version} was checked just now.")
        return redirect(CHECK_PAGE, check.pk)
    return redirect(f"admin:{model_admin.opts.app_label}_{model_admin.opts.model_name}_change", row.pk)
