"""Drift reports of a model during a replay, collected by period, for example by month."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from demo.client import time_of_id


@dataclass(slots=True)
class DriftPeriod:
    """The windows whose last row belongs to one period.

    Attributes
    ----------
    windows
        Number of windows.
    highest_scores
        By feature.
    drifted_windows
        By feature: the number of windows with a score above the threshold.
    thresholds
        By feature.
    highest_prediction_score
        Jensen-Shannon divergence of the predictions.
    drifted_prediction_windows
        Number of windows with that divergence above its threshold.
    """

    name: str
    windows: int = 0
    highest_scores: dict[str, float] = field(default_factory=dict)
    drifted_windows: Counter[str] = field(default_factory=Counter)
    thresholds: dict[str, float] = field(default_factory=dict)
    highest_prediction_score: float | None = None
    drifted_prediction_windows: int = 0

    def add(self, report: Mapping[str, Any]) -> None:
        """Add the report of one window."""
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
        """Return the period as values for JSON; features are sorted by score and by number of drifted windows."""
        by_score = sorted(self.highest_scores.items(), key=lambda item: (-item[1], item[0]))
        return {
            "period": self.name,
            "windows": self.windows,
            "highest_scores": {name: round(score, 4) for name, score in by_score},
            "thresholds": self.thresholds,
            "drifted_windows": dict(self.drifted_windows.most_common()),
            "highest_prediction_js_divergence": self.highest_prediction_score,
            "drifted_prediction_windows": self.drifted_prediction_windows,
        }


class DriftByPeriod:
    """Assigns each window to the period of its last row.

    The times come from the server, in the ids of its predictions. Rows of other clients, rows from before the replay
    and a wrong clock of this machine therefore do not shift the periods.

    Attributes
    ----------
    periods
        The periods that have a window, by name, in order.
    drifted_features
        Of the latest window.
    """

    def __init__(self) -> None:
        self._batch_times: list[datetime] = []
        self._batch_periods: list[str] = []
        self._window_ends: set[str] = set()
        self.periods: dict[str, DriftPeriod] = {}
        self.drifted_features: list[str] = []

    def add_batch(self, prediction_id: str, period: str) -> None:
        """Add the time of a batch: one of its prediction ids, and the period of its rows."""
        self._batch_times.append(time_of_id(prediction_id))
        self._batch_periods.append(period)

    def add_report(self, report: Mapping[str, Any]) -> None:
        """Add a drift report, unless it has no comparison, is already known or includes rows from before the replay."""
        window = report["window"]
        if report["status"] != "ok" or window is None or window["end_id"] in self._window_ends:
            return
        if not self._batch_times or datetime.fromisoformat(window["started_at"]) < self._batch_times[0]:
            return
        self._window_ends.add(window["end_id"])
        self.drifted_features = report["drifted_features"]
        index = bisect_right(self._batch_times, datetime.fromisoformat(window["ended_at"])) - 1
        name = self._batch_periods[index]
        self.periods.setdefault(name, DriftPeriod(name)).add(report)
