"""The buttons on the pages of checks and incidents: check now, and make a window the new reference."""

from functools import partialmethod

import redis
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from unfold.decorators import action

from accounts.admin.base import ReadOnlyAdmin, user_of
from accounts.admin.page_parts import confirmation_page
from accounts.roles import Action
from drift.exceptions import DriftError
from drift.models import DriftCheck
from drift.services.checks import check_by_hand
from drift.services.rebaselining import make_window_the_reference
from mlmon.verdict import FEWEST_REFERENCE_ROWS as SMALLEST_VERDICT_REFERENCE
from models_registry.exceptions import RegistryError

CHECK_PAGE = "admin:drift_driftcheck_change"
REFERENCE_PAGE = "admin:models_registry_referencedataset_change"
WINDOW_UNAVAILABLE = "The live window cannot be read now. Try again."


class CheckedVersionAdmin(ReadOnlyAdmin):
    """The pages of rows that belong to a check, with both buttons. Each asks for confirmation first."""

    has_run_check_permission = partialmethod(ReadOnlyAdmin.is_allowed, Action.RUN_CHECK)
    has_rebaseline_permission = partialmethod(ReadOnlyAdmin.is_allowed, Action.REBASELINE)

    @action(description="Check now", icon="troubleshoot", permissions=["run_check"])
    def check_now(self, request: HttpRequest, object_id: int) -> HttpResponse:
        row = self.row_or_404(request, object_id)
        if request.method != "POST":
            changes = [
                f"The latest window of {row.version} is compared with its reference now, whether or not a check is "
                "due.",
                "It counts as any other check: an alarm opens an incident, and it uses some of the false-alarm budget.",
            ]
            title = f"Check {row.version} now"
            return confirmation_page(self, request, row=row, title=title, changes=changes, button="Check now")
        try:
            check = check_by_hand(version=row.version, user=user_of(request))
        except DriftError as error:
            self.message_user(request, str(error), messages.ERROR)
        except redis.RedisError:
            self.message_user(request, WINDOW_UNAVAILABLE, messages.ERROR)
        else:
            self.message_user(request, f"{row.version} was checked.")
            return redirect(CHECK_PAGE, check.pk)
        return redirect(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", row.pk)

    @action(description="Make this window the new reference", icon="published_with_changes", permissions=["rebaseline"])
    def rebaseline(self, request: HttpRequest, object_id: int) -> HttpResponse:
        row = self.row_or_404(request, object_id)
        check = row if isinstance(row, DriftCheck) else row.last_check
        if request.method != "POST":
            return confirmation_page(
                self,
                request,
                row=row,
                title=f"A new reference for {check.version}",
                changes=consequences_of_rebaselining(check),
                button="Make it the new reference",
            )
        try:
            reference = make_window_the_reference(check=check, user=user_of(request))
        except (DriftError, RegistryError) as error:
            self.message_user(request, str(error), messages.ERROR)
        except redis.RedisError:
            self.message_user(request, WINDOW_UNAVAILABLE, messages.ERROR)
        else:
            self.message_user(request, f"{reference.original_filename} becomes active once it is profiled.")
            return redirect(REFERENCE_PAGE, reference.pk)
        return redirect(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", row.pk)


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
