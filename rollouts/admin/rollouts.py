"""The list of rollouts, the form of a plan, and the buttons of people."""

from collections.abc import Callable
from functools import partialmethod
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from unfold.decorators import action, display

from accounts.admin.base import AuditedAdmin, user_of
from accounts.admin.page_parts import confirm_and_act
from accounts.roles import Action
from rollouts.admin.plan_form import RolloutPlanForm
from rollouts.admin.rollout_page import page_context
from rollouts.exceptions import RolloutError
from rollouts.models import ACTIVE_STATES, Rollout, State
from rollouts.services import lifecycle

STATE_LABELS = {
    State.DRAFT.label: "info",
    State.RUNNING.label: "warning",
    State.PAUSED.label: "warning",
    State.SUCCEEDED.label: "success",
    State.ROLLED_BACK.label: "danger",
    State.CANCELLED.label: "info",
}


@admin.register(Rollout)
class RolloutAdmin(AuditedAdmin):
    empty_text = (
        "A rollout takes a new version to production in steps, and back if it is worse. Plan one here, with the "
        "API or with manage.py rollout. There has been none so far."
    )
    list_display = ["id", "model", "challenger", "kind", "shown_state", "step_index", "waiting_for", "started_at"]
    list_filter = ["model", "state", "kind"]
    list_select_related = ["model", "champion__model", "challenger__model"]
    search_fields = ["model__name", "challenger__version"]
    fields = [
        ("model", "kind", "state"),
        ("champion", "challenger"),
        ("alpha", "promotes_automatically"),
        ("created_by", "created_at"),
        ("started_at", "ended_at"),
        ("step_started_at", "judged_at"),
    ]
    fieldsets_of_plan: Any = [
        (None, {"fields": ["challenger", "kind"]}),
        ("Steps", {"fields": ["shares", "minimum_requests", "minimum_seconds", "minimum_labels"]}),
        (
            "Guardrails: what must not become worse",
            {"fields": ["guards_errors", "latency_limit", "guards_wrong_predictions", "absolute_error_limit", "alpha"]},
        ),
        ("At the end", {"fields": ["promotes_automatically"]}),
    ]
    forbidden = ("change", "delete")
    opens_added_row = True
    recorded_by_service = ("add",)
    service_form = RolloutPlanForm
    actions_detail = ["start", "pause", "resume", "promote", "roll_back", "cancel", "acknowledge"]
    change_form_outer_before_template = "admin/rollouts/rollout/rollout.html"
    page_context = staticmethod(page_context)

    class Media:
        css = {"all": ["mlmon/figures.css"]}

    has_run_permission = partialmethod(AuditedAdmin.is_allowed, Action.RUN_ROLLOUTS)
    has_operate_permission = partialmethod(AuditedAdmin.is_allowed, Action.ACKNOWLEDGE_ROLLBACK)

    def get_fieldsets(self, request: HttpRequest, obj: Rollout | None = None) -> Any:
        return self.fieldsets_of_plan if obj is None else super().get_fieldsets(request, obj)

    def save_model(self, request: HttpRequest, obj: Rollout, form: Any, change: bool) -> None:
        self.message_user(request, "The rollout is planned. Nothing changes until you start it.")

    def get_actions_detail(self, request: HttpRequest, object_id: Any = None) -> list[Any]:
        # A request to the URL of another action gets the reason why it is not possible.
        rollout = self.get_object(request, str(object_id))
        if rollout is None:
            return []
        offered = _possible(rollout)
        return [one for one in super().get_actions_detail(request, object_id) if one.path in offered]

    @display(description="State", label=STATE_LABELS, ordering="state")
    def shown_state(self, obj: Rollout) -> str:
        return obj.get_state_display()

    @action(description="Start", icon="play_arrow", permissions=["run"])
    def start(self, request: HttpRequest, object_id: int) -> HttpResponse:
        changes = ["Within ten seconds, the challenger gets the share of the first step."]
        return self.confirm_and_act(request, object_id, "Start", changes, lifecycle.start_rollout)

    @action(description="Pause", icon="pause", permissions=["run"])
    def pause(self, request: HttpRequest, object_id: int) -> HttpResponse:
        changes = ["The challenger keeps its share, and its guardrails stay active.", "It does not advance."]
        return self.confirm_and_act(request, object_id, "Pause", changes, lifecycle.pause_rollout, reason="")

    @action(description="Resume", icon="play_arrow", permissions=["run"])
    def resume(self, request: HttpRequest, object_id: int) -> HttpResponse:
        changes = ["The shares of the current step are set again, and the rollout advances."]
        return self.confirm_and_act(request, object_id, "Resume", changes, lifecycle.resume_rollout)

    @action(description="Promote", icon="rocket_launch", permissions=["run"])
    def promote(self, request: HttpRequest, object_id: int) -> HttpResponse:
        changes = ["The challenger gets all requests, and the rollout ends.", "The champion returns to staging."]
        return self.confirm_and_act(request, object_id, "Promote", changes, lifecycle.promote_rollout)

    @action(description="Roll back", icon="undo", permissions=["run"])
    def roll_back(self, request: HttpRequest, object_id: int) -> HttpResponse:
        changes = ["The champion gets all requests, and the rollout ends."]
        return self.confirm_and_act(request, object_id, "Roll back", changes, lifecycle.roll_back_rollout, reason="")

    @action(description="Cancel", icon="close", permissions=["run"])
    def cancel(self, request: HttpRequest, object_id: int) -> HttpResponse:
        changes = ["The rollout ends, and the champion keeps or gets all requests."]
        return self.confirm_and_act(request, object_id, "Cancel", changes, lifecycle.cancel_rollout, reason="")

    @action(description="Acknowledge", icon="how_to_reg", permissions=["operate"])
    def acknowledge(self, request: HttpRequest, object_id: int) -> HttpResponse:
        changes = ["The alert about the rollback ends."]
        return self.confirm_and_act(
            request,
            object_id,
            "Acknowledge",
            changes,
            lifecycle.acknowledge_rollback,
            needed=Action.ACKNOWLEDGE_ROLLBACK,
        )

    def confirm_and_act(
        self,
        request: HttpRequest,
        object_id: int,
        button: str,
        changes: list[str],
        act: Callable[..., object],
        *,
        needed: Action = Action.RUN_ROLLOUTS,
        **arguments: Any,
    ) -> HttpResponse:
        """Ask for confirmation, then call the service; the rollout's page shows its errors."""
        if not self.is_allowed(needed, request):
            raise PermissionDenied
        return confirm_and_act(
            self,
            request,
            object_id,
            button=button,
            changes=changes,
            act=lambda rollout: act(rollout=rollout, user=user_of(request), **arguments),
            refusal=RolloutError,
            done=f"{button}: done.",
        )


def _possible(rollout: Rollout) -> set[str]:
    """Return the names of the actions that the state of a rollout allows."""
    found = set[str]()
    if rollout.state == State.DRAFT:
        found |= {"start", "cancel"}
    if rollout.state in ACTIVE_STATES:
        found |= {"promote", "roll_back", "cancel", "pause" if rollout.state == State.RUNNING else "resume"}
    if rollout.state == State.SUCCEEDED and rollout.is_live:
        found.add("promote")
    if rollout.has_open_incident:
        found.add("acknowledge")
    return found
