"""``manage.py drift_status``: the latest drift check of each monitored version, also for cron."""

import sys
from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser
from rich.table import Table

from accounts.management.terminal import ExitStatus, TeachingCommand, add_json_option, table
from drift.models import CheckStatus, DriftCheck, DriftIncident
from drift.selectors import CHECKED_STAGES, latest_check, open_incident
from mlmon.results import VerdictStatus
from models_registry.models import ModelVersion
from models_registry.selectors import model_named

HEADINGS = ("model", "version", "stage", "checked at (UTC)", "rows", "verdict", "above threshold", "open incident")
EXAMPLES = """
examples:
  All models, or one:
    manage.py drift_status
    manage.py drift_status credit

  In a pipeline, which stops while an incident is open:
    manage.py drift_status credit && deploy

  In cron, also for a single score above its threshold; what drifted, as JSON:
    manage.py drift_status --fail-on drift
    manage.py drift_status --json | jq -r '.versions[] | select(.incident) | .incident.features[]'

exit status:
  0  quiet: nothing that --fail-on names, or nothing checked yet
  1  an incident is open, or the latest check failed (or whatever --fail-on names)
  2  an invalid option, or an unknown model
  3  the database is unavailable
  4  the latest check could not compare every feature, and nothing of 1; --fail-on never turns 1 and 4 into 0
"""


class Command(TeachingCommand):
    help = (
        "Show the latest drift check of every version in production or shadow, and whether an incident is open.\n"
        "The command reads stored checks and computes nothing; drift_compare compares two files now."
    )
    epilog = EXAMPLES
    requires_system_checks: list[str] = []  # they take time, and would also exit with 1

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("model", nargs="?", help="only this model")
        parser.add_argument(
            "--fail-on",
            choices=["incident", "drift", "never"],
            default="incident",
            help="what exits with 1: incident (default) is an open incident or a failed check; drift is also a score "
            "above its threshold",
        )
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        versions = ModelVersion.objects.filter(stage__in=CHECKED_STAGES).select_related("model")
        if options["model"]:
            versions = versions.filter(model=model_named(options["model"]))
        states = [_state(version) for version in versions]
        shown: list[str | Table] = [table(HEADINGS, map(_cells, states), numbers=("rows",))]
        if not states:
            shown = ["No version is in production or shadow, so none is checked. Use promote to put one there."]
        self.write_result({"versions": states}, shown, as_json=options["json"])
        if any(_is_found(state, options["fail_on"]) for state in states):
            sys.exit(ExitStatus.FOUND)
        if options["fail_on"] != "never" and any(_is_incomplete(state["check"]) for state in states):
            sys.exit(ExitStatus.NOT_COMPARED)


def _state(version: ModelVersion) -> dict[str, Any]:
    check, incident = latest_check(version), open_incident(version.pk)
    return {
        "model_name": version.model.name,
        "model_version": version.version,
        "stage": version.stage,
        "check": check and _check_body(check),
        "incident": incident and _incident_body(incident),
    }


def _check_body(check: DriftCheck) -> dict[str, Any]:
    drifted = check.features.filter(is_drifted=True).order_by("-score")
    return {
        "id": check.pk,
        "status": check.status,
        "error": check.error_message,
        "checked_at": check.created_at,
        "window_ended_at": check.window_ended_at,
        "rows": check.n_current,
        "reference_rows": check.n_reference,
        "verdict": check.verdict_status,
        "compared": check.n_compared,
        "not_compared": check.n_not_compared,
        "drifted_features": list(drifted.values_list("feature_name", flat=True)),
        "prediction_is_drifted": check.prediction_is_drifted,
    }


def _incident_body(incident: DriftIncident) -> dict[str, Any]:
    return {
        "id": incident.pk,
        "opened_at": incident.opened_at,
        "features": incident.subjects,
        "alarms": incident.alarms,
        "acknowledged_at": incident.acknowledged_at,
        "snoozed_until": incident.snoozed_until,
    }


def _is_found(state: Mapping[str, Any], fail_on: str) -> bool:
    if fail_on == "never":
        return False
    check = state["check"]
    if state["incident"] or (check and check["status"] == CheckStatus.FAILED):
        return True
    is_drifted = bool(check and (check["drifted_features"] or check["prediction_is_drifted"]))
    return fail_on == "drift" and is_drifted


def _is_incomplete(check: Mapping[str, Any] | None) -> bool:
    return check is not None and (check["not_compared"] > 0 or check["verdict"] == VerdictStatus.INCOMPLETE)


def _cells(state: Mapping[str, Any]) -> tuple[str, ...]:
    check, incident = state["check"], state["incident"]
    about = (state["model_name"], state["model_version"], state["stage"])
    opened = f"#{incident['id']}: {', '.join(incident['features'])}" if incident else "-"
    if check is None:
        return (*about, "-", "-", "not checked yet", "-", opened)
    drifted = [*check["drifted_features"], *(["predictions"] if check["prediction_is_drifted"] else [])]
    verdict = f"failed: {check['error']}" if check["status"] == CheckStatus.FAILED else check["verdict"]
    if _is_incomplete(check):
        verdict = f"{verdict}, {check['not_compared']} of {check['not_compared'] + check['compared']} not compared"
    when = f"{check['checked_at']:%Y-%m-%d %H:%M:%S}"
    return (*about, when, f"{check['rows']:,}", verdict, ", ".join(drifted) or "-", opened)
