"""The answer to "has this model drifted?": a comparison, or the reason why there is none yet."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mlmon.results import ComparisonResult


class ReportStatus(StrEnum):
    """Whether there is a comparison."""

    OK = "ok"
    FAILED = "failed"
    DISABLED = "disabled"
    NO_PRODUCTION_VERSION = "no_production_version"
    NO_REFERENCE = "no_reference"
    NO_OBSERVATIONS = "no_observations"
    INSUFFICIENT_DATA = "insufficient_data"


class ReportSource(StrEnum):
    """Where the comparison comes from."""

    STORED = "stored"  # a check that the scheduler ran
    BACKFILLED = "backfilled"  # a check that was made later, over archived rows
    LIVE = "live"  # computed for this answer, not stored


@dataclass(frozen=True, slots=True)
class WindowSummary:
    """The rows that were compared, or that wait for more."""

    rows: int
    rows_seen: int
    end_id: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    reference_rows: int | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """A check that could not be completed."""

    check_id: int
    checked_at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class DriftReport:
    """What is known about the drift of one model version.

    Attributes
    ----------
    result
        The comparison; None where `status` is not ok.
    detail
        What stands in the way and what to do next; "" where there is a result.
    last_failure
        The newest check, where it failed; the result is then of the one before.
    """

    model_name: str
    model_version: str | None
    status: ReportStatus
    detail: str = ""
    source: ReportSource | None = None
    check_id: int | None = None
    checked_at: datetime | None = None
    window: WindowSummary | None = None
    result: ComparisonResult | None = None
    last_failure: Failure | None = None
