"""Actions on the pages of checks and incidents that are confirmed first: check now, and make a window the reference."""

from typing import Any

import redis
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from unfold.admin import ModelAdmin

from accounts.admin.base import ReadOnlyAdmin, user_of
from accounts.admin.page_parts import confirmation_page, is_confirmed
from accounts.roles import Action
from drift.exceptions import DriftError
from drift.models import DriftCheck
from drift.services.checks import check_by_hand
from drift.services.rebaselining import make_window_the_reference
from mlmon.verdict import FEWEST_REFERENCE_ROWS as SMALLEST_VERDICT_REFERENCE
from models_registry.exceptions import RegistryError
from models_registry.models import ModelVersion

CHECK_PAGE = "admin:drift_driftcheck_change"
REFERENCE_PAGE = "admin:models_registry_referencedataset_change"
WINDOW_UNAVAILABLE = "The live window cannot be read now. Try again."


class CheckedVersionAdmin(ReadOnlyAdmin):
    """Pages with both actions. Methods, because unfold looks up names of permissions in the database at each start."""

    def has_run_check_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return Action.RUN_CHECK.is_allowed(request.user)

    def has_rebaseline_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return Action.REBASELINE.is_allowed(request.user)


def check_page(model_admin: ModelAdmin, request: HttpRequest, *, version: ModelVersion, row: Model) -> HttpResponse:
    """Ask for confirmation, then check a version now.

    Parameters
    ----------
    row
        The row of `model_admin` whose page has the button.
    """
    if not Action.RUN_CHECK.is_allowed(request.user):
        raise PermissionDenied
    if not is_confirmed(request):
        changes = [
            f"The latest window of {version} is compared with its reference now, whether or not a check is due.",
            "It counts as any other check: an alarm opens an incident, and it uses some of the false-alarm budget.",
        ]
        title = f"Check {version} now"
        return confirmation_page(model_admin, request, row=row, title=title, changes=changes, button="Check now")
    try:
        check = check_by_hand(version=version, user=user_of(request))
    except DriftError as error:
        model_admin.message_user(request, str(error), messages.ERROR)
    except redis.RedisError:
        model_admin.message_user(request, WINDOW_UNAVAILABLE, messages.ERROR)
    else:
        model_admin.message_user(request, f"{version} was checked.")
        return redirect(CHECK_PAGE, check.pk)
    return redirect(f"admin:{model_admin.opts.app_label}_{model_admin.opts.model_name}_change", row.pk)


def rebaseline_page(model_admin: ModelAdmin, request: HttpRequest, *, check: DriftCheck, row: Model) -> HttpResponse:
    """Ask for confirmation, then make the window of a check the reference.

    Parameters
    ----------
    row
        The row of `model_admin` whose page has the button.
    """
    if not Action.REBASELINE.is_allowed(request.user):
        raise PermissionDenied
    if not is_confirmed(request):
        return confirmation_page(
            model_admin,
            request,
            row=row,
            title=f"A new reference for {check.version}",
            changes=consequences_of_rebaselining(check),
            button="Make it the new reference",
        )
    try:
        reference = make_window_the_reference(check=check, user=user_of(request))
    except (DriftError, RegistryError) as error:
        model_admin.message_user(request, str(error), messages.ERROR)
    except redis.RedisError:
        model_admin.message_user(request, WINDOW_UNAVAILABLE, messages.ERROR)
    else:
        model_admin.message_user(request, f"{reference.original_filename} becomes active once it is profiled.")
        return redirect(REFERENCE_PAGE, reference.pk)
    return redirect(f"admin:{model_admin.opts.app_label}_{model_admin.opts.model_name}_change", row.pk)


def consequences_of_rebaselining(check: DriftCheck) -> list[str]:
    """Return a sentence for each thing that a new reference changes."""
    span = ""
    if check.window_started_at and check.window_ended_at:
        span = f", observed from {check.window_started_at:%Y-%m-%d %H:%M} to {check.window_ended_at:%Y-%m-%d %H:%M}"
    sentences = [
        f"The {check.n_current:,} rows of this check's window{span} become reference data of {check.version}.",
        f"Once profiled, it replaces {check.reference.original_filename} ({check.n_reference:,} rows): what has "
        "drifted until now then counts as normal.",
        "The next check closes an open incident of this version. You can make the old reference active again.",
    ]
    if check.n_current < SMALLEST_VERDICT_REFERENCE:
        sentences.append(
            f"A verdict needs a reference of {SMALLEST_VERDICT_REFERENCE:,} rows. With fewer there are only scores."
        )
    return sentences
