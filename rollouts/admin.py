"""The pages of rollouts: their evidence, and the buttons of people."""

from collections.abc import Callable
from functools import partialmethod
from typing import Any

import numpy as np
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from unfold.decorators import action, display

from accounts.admin.base import ReadOnlyAdmin, user_of
from accounts.admin.page_parts import confirmation_page
from accounts.roles import Action
from mlmon.rollout_evidence import FEWEST_ROWS_OF_RATE, Difference
from rollouts.evidence_chart import evidence_chart
from rollouts.exceptions import RolloutError
from rollouts.models import ACTIVE_STATES, Rollout, State
from rollouts.selectors import Judgement, evidence_over_time, judgements
from rollouts.services import lifecycle

CHANGE_URL = "admin:rollouts_rollout_change"
STATE_LABELS = {
    State.DRAFT.label: "info",
    State.RUNNING.label: "warning",
    State.PAUSED.label: "warning",
    State.SUCCEEDED.label: "success",
    State.ROLLED_BACK.label: "danger",
    State.CANCELLED.label: "info",
}


def page_context(rollout: Rollout) -> dict[str, Any]:
    """Return what the page of a rollout shows besides its fields."""
    past = evidence_over_time(rollout)
    judged = []
    for one in judgements(rollout):
        times, evidence = past.get(one.measure, ([], np.array([])))
        judged.append(_figures(one) | {"chart": evidence_chart(times, evidence, one.log10_limit)})
    return {"sentences": sentences(rollout), "judged": judged}


def sentences(rollout: Rollout) -> list[str]:
    """Return what a person must know first."""
    share = "copies of all requests" if rollout.is_shadow else f"{rollout.step.share:.1%} of the requests"
    found = [f"The challenger gets {share}."] if rollout.is_live else []
    if rollout.is_active and not rollout.is_live:
        found.append("The challenger gets no requests yet.")
    found += [rollout.reason] if rollout.reason else []
    found += [f"It waits for {rollout.waiting_for}"] if rollout.waiting_for else []
    if rollout.is_shadow:
        found.append(f"Copies: {rollout.dropped_copies:,} dropped, {rollout.failed_copies:,} failed.")
    if rollout.disagreement_ratio is not None:
        found.append(f"The predictions differ in {rollout.disagreement_ratio:.1%} of {rollout.compared_rows:,} rows.")
    if rollout.has_open_incident:
        found.append("Nobody has acknowledged the rollback yet.")
    return found


def _figures(one: Judgement) -> dict[str, Any]:
    limit = "" if one.limit is None else f" over {one.limit:g}"
    return {
        "name": one.measure.value.replace("_", " ") + limit,
        "champion": f"{one.champion_events:,} of {one.champion_units:,}",
        "challenger": f"{one.challenger_events:,} of {one.challenger_units:,}",
        "difference": _difference_text(one.difference),
        "evidence": f"{one.log10_evidence:.2f}",
        "limit": f"{one.log10_limit:.2f}",
    }


def _difference_text(one: Difference) -> str:
    if one.estimate is None:
        return "-"
    if one.low is None or one.high is None:
        return f"{one.estimate:+.2%} (no interval before {FEWEST_ROWS_OF_RATE} of each version)"
    return f"{one.estimate:+.2%} ({one.low:+.2%} to {one.high:+.2%})"


@admin.register(Rollout)
class RolloutAdmin(ReadOnlyAdmin):
    empty_text = (
        "A rollout takes a new version to production in steps, and back if it is worse. Plan one with the API or with "
        "manage.py rollout. There has been none so far."
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
    actions_detail = ["start", "pause", "resume", "promote", "roll_back", "cancel", "acknowledge"]
    change_form_outer_before_template = "admin/rollouts/rollout/rollout.html"
    page_context = staticmethod(page_context)

    class Media:
        css = {"all": ["mlmon/figures.css"]}

    has_run_permission = partialmethod(ReadOnlyAdmin.is_allowed, Action.RUN_ROLLOUTS)
    has_operate_permission = partialmethod(ReadOnlyAdmin.is_allowed, Action.ACKNOWLEDGE_ROLLBACK)

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
        rollout = self.row_or_404(request, object_id)
        if request.method != "POST":
            title = f"{button}: {rollout}"
            return confirmation_page(self, request, row=rollout, title=title, changes=changes, button=button)
        try:
            act(rollout=rollout, user=user_of(request), **arguments)
        except RolloutError as error:
            self.message_user(request, str(error), messages.ERROR)
        else:
            self.message_user(request, f"{button}: done.")
        return redirect(CHANGE_URL, object_id)


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
