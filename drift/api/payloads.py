"""Reports as the bodies of answers (their shapes are described in serializers.py)."""

from dataclasses import asdict
from typing import Any

from drift.models import DriftIncident
from drift.report import DriftReport
from drift.stored_results import hypotheses_of
from mlmon.report.json_body import hypothesis_body, result_members
from mlmon.sentences import subject_of


def report_body(report: DriftReport, *, feature: str | None = None) -> dict[str, Any]:
    """Return a report as JSON-ready values; without a comparison, ``feature_drift`` is empty.

    With `feature` it has that one only; what is said of the whole model stays.
    """
    members = result_members(report.result)
    if feature is not None:
        members["feature_drift"] = {name: body for name, body in members["feature_drift"].items() if name == feature}
    return {
        "model_name": report.model_name,
        "model_version": report.model_version,
        "status": report.status,
        "detail": report.detail,
        "checked_at": report.checked_at,
        "source": report.source,
        "check_id": report.check_id,
        "window": asdict(report.window) if report.window else None,
        **members,
        "last_failure": asdict(report.last_failure) if report.last_failure else None,
    }


def incident_body(incident: DriftIncident) -> dict[str, Any]:
    """Return an incident as JSON-ready values."""
    hypotheses = hypotheses_of(incident.hypotheses)
    return {
        "id": incident.pk,
        "model_version": incident.version.version,
        "is_open": incident.closed_at is None,
        "opened_at": incident.opened_at,
        "closed_at": incident.closed_at,
        "closing_reason": incident.closing_reason,
        "opened_by_check": incident.opened_by_id,
        "last_check": incident.last_check_id,
        "alarms": incident.alarms,
        "features": list(dict.fromkeys(subject_of(found) for found in hypotheses)),
        "hypotheses": [hypothesis_body(found, None) for found in hypotheses],
        "acknowledged_at": incident.acknowledged_at,
        "acknowledged_by": incident.acknowledged_by.get_username() if incident.acknowledged_by else None,
        "snoozed_until": incident.snoozed_until,
    }
