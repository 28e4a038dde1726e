"""Drift incidents: what drifted, since when, and how people handle it."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial, partialmethod
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from unfold.decorators import action, display

from accounts.admin.base import ConditionFilter
from accounts.admin.page_parts import confirm_and_act
from accounts.roles import Action
from drift.admin.actions import CheckedVersionAdmin
from drift.admin.incident_page import incident_context
from drift.exceptions import DriftError
from drift.models import DriftIncident
from drift.rendering.states import ACKNOWLEDGED, CLOSED, NEW, SNOOZED, state_of
from drift.services.incidents import acknowledge_incident, close_incident, snooze_incident

MOST_NAMES = 3
STATE_LABELS = {NEW.text: "danger", ACKNOWLEDGED.text: "warning", SNOOZED.text: "info", CLOSED.text: "success"}


class StateFilter(ConditionFilter):
    title = parameter_name = "state"
    conditions = {
        "open": ("open", Q(closed_at=None)),
        "new": ("open, not acknowledged", Q(closed_at=None, acknowledged_at=None)),
        "snoozed": ("snoozed", Q(closed_at=None, snoozed_until__gt=Now())),
        "closed": ("closed", ~Q(closed_at=None)),
    }


def snooze_button(name: str, description: str, length: timedelta) -> Any:
    """Return a button of `DriftIncidentAdmin` that snoozes an incident; unfold finds it by its name."""

    def snooze(self: "DriftIncidentAdmin", request: HttpRequest, object_id: int) -> HttpResponse:
        until = timezone.now() + length
        when = f"{until:%Y-%m-%d %H:%M} {timezone.get_current_timezone_name()}"
        return self.confirm_and_act(
            request,
            object_id,
            button="Snooze",
            changes=[f"Its alert is silenced until {when}.", "It stays open, and checks continue."],
            act=partial(snooze_incident, until=until),
            done=f"Snoozed until {when}.",
        )

    snooze.__name__ = name
    return action(description=description, permissions=["operate"])(snooze)


@admin.register(DriftIncident)
class DriftIncidentAdmin(CheckedVersionAdmin):
    empty_text = (
        "An incident opens automatically when a check raises the alarm, and closes after three quiet windows. There "
        "has been none so far."
    )
    list_display = ["opened_at", "version", "state", "drifted", "alarms", "acknowledged_by", "closed_at"]
    list_display_links = ["opened_at"]
    list_filter = ["version__model", StateFilter, "closing_reason", "opened_at"]
    list_select_related = ["version__model", "acknowledged_by"]
    search_fields = ["version__model__name", "version__version"]
    fields = [("version", "opened_by")]
    actions_detail = [
        "acknowledge",
        {"title": "Snooze", "icon": "snooze", "items": ["snooze_hours", "snooze_day", "snooze_week"]},
        {"title": "Resolve", "icon": "task_alt", "items": ["check_now", "close", "rebaseline"]},
    ]
    change_form_outer_before_template = "admin/drift/driftincident/incident.html"
    page_context = staticmethod(incident_context)

    class Media:
        css = {"all": ["mlmon/figures.css", "mlmon/result.css", "drift/admin.css"]}

    has_operate_permission = partialmethod(CheckedVersionAdmin.is_allowed, Action.HANDLE_INCIDENTS)

    def get_actions_detail(self, request: HttpRequest, object_id: Any = None) -> list[Any]:
        # A closed incident has no actions. A request to the URL of one gets the reason.
        incident = self.get_object(request, str(object_id))
        if incident is None or incident.closed_at is not None:
            return []
        done = {"acknowledge"} if incident.acknowledged_at else set()
        return [offered for offered in super().get_actions_detail(request, object_id) if offered.path not in done]

    @action(description="Acknowledge", icon="how_to_reg", permissions=["operate"])
    def acknowledge(self, request: HttpRequest, object_id: int) -> HttpResponse:
        return self.confirm_and_act(
            request,
            object_id,
            button="Acknowledge",
            changes=["Others see that you handle it.", "It stays open."],
            act=acknowledge_incident,
            done="You have acknowledged this incident.",
        )

    @action(description="Close the incident", icon="done_all", permissions=["operate"])
    def close(self, request: HttpRequest, object_id: int) -> HttpResponse:
        return self.confirm_and_act(
            request,
            object_id,
            button="Close the incident",
            changes=[
                "The incident closes, and its alert ends.",
                "If the data have not changed back, the next check opens a new one. If the change is permanent, make "
                "the window the new reference instead.",
            ],
            act=close_incident,
            done="The incident is closed.",
        )

    snooze_hours = snooze_button("snooze_hours", "For 4 hours", timedelta(hours=4))
    snooze_day = snooze_button("snooze_day", "For a day", timedelta(days=1))
    snooze_week = snooze_button("snooze_week", "For a week", timedelta(weeks=1))

    @display(description="State", label=STATE_LABELS)
    def state(self, obj: DriftIncident) -> str:
        return state_of(obj).text

    @display(description="Strongest first")
    def drifted(self, obj: DriftIncident) -> str:
        names = obj.subjects
        more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        return ", ".join(names[:MOST_NAMES]) + more

    def confirm_and_act(
        self,
        request: HttpRequest,
        object_id: int,
        *,
        button: str,
        changes: list[str],
        act: Callable[..., None],
        done: str,
    ) -> HttpResponse:
        """Ask for confirmation, then call the service; the incident's page shows its errors."""
        if not self.has_operate_permission(request):
            raise PermissionDenied
        return confirm_and_act(
            self,
            request,
            object_id,
            button=button,
            changes=changes,
            act=lambda incident: act(incident=incident, user=request.user),
            refusal=DriftError,
            done=done,
        )
