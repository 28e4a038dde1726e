"""What a replay sees of the drift that it causes: the reports of a model, gathered under headings such as months."""

import uuid
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.table import Table

from accounts.management.terminal import table

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class WatchedPeriod:
    """The windows whose last row lies under one heading.

    Attributes
    ----------
    windows
        How many were seen.
    highest_scores
        By feature, over all of them.
    drifted_windows
        By feature, in how many of them its score was above its threshold.
    thresholds
        By feature.
    highest_prediction_score
        Jensen-Shannon divergence of the predictions.
    drifted_prediction_windows
        In how many of them that was above its threshold.
    """

    heading: str
    windows: int = 0
    highest_scores: dict[str, float] = field(default_factory=dict)
    drifted_windows: Counter[str] = field(default_factory=Counter)
    thresholds: dict[str, float] = field(default_factory=dict)
    highest_prediction_score: float | None = None
    drifted_prediction_windows: int = 0

    def add(self, report: Mapping[str, Any]) -> None:
        """Take in a report that has a comparison."""
        self.windows += 1
        for name, feature in report["feature_drift"].items():
            self.thresholds[name] = feature["threshold"]
            if feature["score"] is not None:
                self.highest_scores[name] = max(feature["score"], self.highest_scores.get(name, 0.0))
            if feature["is_drifted"]:
                self.drifted_windows[name] += 1
        prediction = report["prediction_drift"]
        if prediction["js_divergence"] is not None:
            self.highest_prediction_score = max(prediction["js_divergence"], self.highest_prediction_score or 0.0)
        self.drifted_prediction_windows += bool(prediction["is_drifted"])

    def summary(self) -> dict[str, Any]:
        """Return the period as JSON-ready values."""
        return {
            "period": self.heading,
            "windows": self.windows,
            "highest_scores": {name: round(score, 4) for name, score in self.by_score()},
            "thresholds": self.thresholds,
            "drifted_windows": dict(self.drifted_windows),
            "highest_prediction_js_divergence": self.highest_prediction_score,
            "drifted_prediction_windows": self.drifted_prediction_windows,
        }

    def by_score(self) -> list[tuple[str, float]]:
        """Return the features with their highest scores, highest first."""
        return sorted(self.highest_scores.items(), key=lambda item: (-item[1], item[0]))


class DriftWatch:
    """Assigns each window to the heading of its last row.

    By the server's clock, which is in the ids of its predictions: so neither rows that the model had seen before, nor
    those of other clients, nor a clock of ours that is wrong shifts the places.
    """

    def __init__(self) -> None:
        self._answered_at: list[datetime] = []
        self._headings: list[str] = []
        self._window_ends: set[str] = set()
        self._periods: dict[str, WatchedPeriod] = {}
        self.newest_report: Mapping[str, Any] = {}

    @property
    def periods(self) -> list[WatchedPeriod]:
        """The periods that have a window, in order."""
        return list(self._periods.values())

    def note_batch(self, prediction_id: str, heading: str) -> None:
        """Remember a batch: one of its prediction ids, and the heading of its rows."""
        self._answered_at.append(time_of_id(prediction_id))
        self._headings.append(heading)

    def add(self, report: Mapping[str, Any]) -> None:
        """Take in the newest report.

        One without a comparison changes nothing, nor one of a window that is known already or that reaches back before
        the first batch: part of it is not of this replay.
        """
        window = report["window"]
        if report["status"] != "ok" or window is None or window["end_id"] in self._window_ends:
            return
        if not self._answered_at or datetime.fromisoformat(window["started_at"]) < self._answered_at[0]:
            return
        self._window_ends.add(window["end_id"])
        self.newest_report = report
        heading = self._headings[bisect_right(self._answered_at, datetime.fromisoformat(window["ended_at"])) - 1]
        self._periods.setdefault(heading, WatchedPeriod(heading)).add(report)


def time_of_id(prediction_id: str) -> datetime:
    """Return when a UUID of version 7 was made, with the fraction of its milliseconds (RFC 9562, method 3)."""
    number = uuid.UUID(prediction_id).int
    milliseconds, fraction = number >> 80, (number >> 64) & 0xFFF
    return EPOCH + timedelta(milliseconds=milliseconds, microseconds=fraction * 1000 // 4096)


def drift_table(periods: Iterable[WatchedPeriod], *, scores_shown: int = 3) -> Table:
    """Return a table of the periods with their drifted features and highest scores."""
    headings = ("period", "windows", "drifted in (windows)", "highest scores", "predictions")
    return table(headings, [_cells(period, scores_shown) for period in periods], numbers=("windows",))


def _cells(period: WatchedPeriod, scores_shown: int) -> tuple[str, str, str, str, str]:
    drifted = ", ".join(f"{name} {windows}" for name, windows in period.drifted_windows.most_common())
    scores = ", ".join(f"{name} {score:.3f}" for name, score in period.by_score()[:scores_shown])
    prediction = "" if period.highest_prediction_score is None else f"{period.highest_prediction_score:.3f}"
    if period.drifted_prediction_windows:
        prediction += f" (drifted in {period.drifted_prediction_windows})"
    return (period.heading, str(period.windows), drifted or "none", scores, prediction)
