"""The response to "has this model drifted?": a comparison, or the reason why there is none yet."""

from dataclasses import asdict, dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any

from drift.models import CheckStatus, DriftCheck
from mlmon.report.json_body import comparison_body
from mlmon.results import ComparisonResult
from models_registry.models import ModelVersion


class ReportStatus(StrEnum):
    """Whether there is a comparison and, if not, why."""

    OK = "ok"
    FAILED = "failed"
    DISABLED = "disabled"
    NO_PRODUCTION_VERSION = "no_production_version"
    NO_REFERENCE = "no_reference"
    NO_OBSERVATIONS = "no_observations"
    INSUFFICIENT_DATA = "insufficient_data"


class ReportSource(StrEnum):
    """Where the comparison comes from."""

    STORED = "stored"  # a scheduled check
    BACKFILLED = "backfilled"  # a check made later over archived rows
    LIVE = "live"  # computed for this response and not stored


@dataclass(frozen=True, slots=True)
class WindowSummary:
    """The rows that were compared, or that are there until now.

    Attributes
    ----------
    rows
        Rows of the current window.
    rows_seen
        All predictions of the version up to the window's end.
    end_id
        Identifies the window. No window is checked twice.
    started_at, ended_at
        The times of the window's first and last prediction.
    reference_rows
        Rows of the reference.
    """

    rows: int
    rows_seen: int
    end_id: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    reference_rows: int | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed check.

    Attributes
    ----------
    check_id
        The check.
    checked_at
        When it was made.
    reason
        Why it failed.
    """

    check_id: int
    checked_at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class DriftReport:
    """What is known about the drift of one model version.

    Attributes
    ----------
    model_name
        The model.
    model_version
        The version. Null if none is in production.
    status
        Whether there is a comparison and, if not, why.
    detail
        Without a comparison: the reason, and what to do next.
    source
        stored: a scheduled check. backfilled: a check made later over archived rows. live: computed for this response.
    check_id
        The stored check.
    rule_edition
        The edition of the verdict's rule.
    checked_at
        When the comparison was made.
    window
        The rows that were compared, or that are there until now.
    result
        The comparison; None unless `status` is ok.
    last_failure
        The latest check if it failed. The other members are then those of the check before.
    """

    model_name: str
    model_version: str | None
    status: ReportStatus
    detail: str = ""
    source: ReportSource | None = None
    check_id: int | None = None
    rule_edition: int | None = None
    checked_at: datetime | None = None
    window: WindowSummary | None = None
    result: ComparisonResult | None = None
    last_failure: Failure | None = None


def report_of_check(check: DriftCheck, version: ModelVersion) -> DriftReport:
    """Return a stored check as a report."""
    failed = check.status == CheckStatus.FAILED
    return DriftReport(
        model_name=version.model.name,
        model_version=version.version,
        status=ReportStatus.FAILED if failed else ReportStatus.OK,
        detail=check.error_message,
        source=ReportSource.BACKFILLED if check.is_backfilled else ReportSource.STORED,
        check_id=check.pk,
        rule_edition=check.rule_edition,
        checked_at=check.created_at,
        window=WindowSummary(
            rows=check.n_current,
            rows_seen=check.rows_seen,
            end_id=check.window_end,
            started_at=check.window_started_at,
            ended_at=check.window_ended_at,
            reference_rows=check.n_reference,
        ),
        result=None if failed else check.comparison,
    )


def report_body(report: DriftReport, *, feature: str | None = None) -> dict[str, Any]:
    """Return a report as JSON-ready values; with `feature`, only that one in ``feature_drift``."""
    body = {one.name: getattr(report, one.name) for one in fields(report) if one.name != "result"}
    body |= comparison_body(report.result)
    body["window"] = asdict(report.window) if report.window else None
    body["last_failure"] = asdict(report.last_failure) if report.last_failure else None
    if feature is not None:
        body["feature_drift"] = {name: drift for name, drift in body["feature_drift"].items() if name == feature}
    return body
