"""What a seasonal comparison would change for a model: its features, and the verdicts on its latest windows."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from accounts.actors import Actor
from accounts.services.changes import record_change
from drift.models import DriftPolicy
from drift.services.checks import compare_window, prepared_reference
from inference.archive import read_observations
from inference.stream import Window
from mlmon.detection.dependence import Dependence
from mlmon.detector import PREDICTIONS, Detector, is_ordered
from mlmon.figures import listing, share_text
from mlmon.profile import NumericProfile
from mlmon.results import ComparisonResult, Test
from models_registry.selectors import active_reference, primary_version

MOST_WINDOWS = 20


@dataclass(frozen=True, slots=True)
class SeasonOfFeature:
    """One feature that phases explain.

    Attributes
    ----------
    name
        "predictions" for the predictions.
    season
        What a phase is, in words: "hour of day".
    explained
        The share of the variance that the phases of other days, or weeks, explain.
    before, after
        The dispersion of the policy's window without phases and with them.
    smallest_before, smallest_after
        The smallest visible shift, in standard deviations; None if it is no ordered feature, or not judged.
    """

    name: str
    season: str
    explained: str
    before: Dependence
    after: Dependence
    smallest_before: float | None
    smallest_after: float | None


@dataclass(frozen=True, slots=True)
class BothVerdicts:
    """The verdicts on one window in a few words, without phases and with them."""

    ended_at: datetime
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class SeasonPreview:
    """What a seasonal comparison would change.

    Attributes
    ----------
    obstacle
        Why nothing would change, and what to do; "" if something would.
    zone
        The time zone of the phases.
    windows
        The latest ones with a verdict, oldest first, at most 20.
    """

    obstacle: str
    zone: str = ""
    features: tuple[SeasonOfFeature, ...] = ()
    windows: tuple[BothVerdicts, ...] = ()


def season_preview(policy: DriftPolicy) -> SeasonPreview:
    """Compare the latest windows of a model's primary version in both ways; nothing is stored.

    Raises
    ------
    redis.RedisError, django.db.DatabaseError, OSError, ValueError
        The rows, or the reference's profile, cannot be read.
    """
    version = primary_version(policy.model)
    reference = None if version is None else active_reference(version.pk)
    if version is None or reference is None:
        return SeasonPreview("No version in production has reference data to compare with. Upload some.")
    prepared = prepared_reference(reference)
    zone = prepared.detector.profile.zone
    if not zone:
        return SeasonPreview(
            "The reference has no times. Upload reference data with a column of times over at least ten days."
        )
    if prepared.seasonal is None:
        return SeasonPreview(
            f"Neither the hour of the day nor the weekday (in {zone}) explains any feature of the reference, or it "
            "covers less than ten days. Nothing would change."
        )
    plain, seasonal = copy.copy(policy), copy.copy(policy)
    plain.is_seasonal, seasonal.is_seasonal = False, True
    longest, step = policy.longest_window_rows, policy.rows_between_checks
    table = read_observations(version.pk, rows=longest + (MOST_WINDOWS - 1) * step)
    windows: list[BothVerdicts] = []
    latest: list[ComparisonResult] = []
    for end in range(table.num_rows, policy.minimum_rows - 1, -step)[:MOST_WINDOWS]:
        rows = table.slice(max(0, end - longest), min(end, longest))
        ended_at: Any = rows.column("observed_at")[-1].as_py()
        window = Window(table=rows, end_id="", rows_seen=end)
        # Of the latest window, the smallest visible shifts are shown too.
        both = [compare_window(window, reference, each, with_details=not latest) for each in (plain, seasonal)]
        latest = latest or both
        windows.append(BothVerdicts(ended_at, *map(_words, both)))
    features = tuple(_features(prepared.detector, prepared.seasonal, policy.window_rows, latest))
    return SeasonPreview("", zone, features, tuple(windows[::-1]))


@transaction.atomic
def switch_seasonal(*, policy: DriftPolicy, is_seasonal: bool, user: Actor) -> None:
    """Switch the seasonal comparison of a policy on or off."""
    row = DriftPolicy.objects.select_for_update().get(pk=policy.pk)
    before, row.is_seasonal = row.is_seasonal, is_seasonal
    row.save(update_fields=["is_seasonal", "updated_at"])
    policy.is_seasonal = is_seasonal
    record_change(user=user, row=row, message="", changes={"Seasonal": (before, is_seasonal)})


def _words(result: ComparisonResult) -> str:
    subjects = list(dict.fromkeys(found.subject for found in result.listed_hypotheses))
    status = result.verdict.status.value.replace("_", " ")
    return f"{status}: {listing(subjects[:3], 'and')}" if subjects else status


def _features(
    plain: Detector, seasonal: Detector, rows: int, latest: Sequence[ComparisonResult]
) -> list[SeasonOfFeature]:
    visible: list[dict[str, float]] = [
        {
            feature.name: feature.smallest_visible[Test.LOCATION]
            for feature in result.features
            if Test.LOCATION in feature.smallest_visible
        }
        for result in latest
    ] or [{}, {}]
    found = []
    for name, column in seasonal.columns.items():
        season = column.season if isinstance(column, NumericProfile) and is_ordered(column) else column.category_season
        if season is None:
            continue
        found.append(
            SeasonOfFeature(
                name="predictions" if name == PREDICTIONS else name,
                season=season.season.value.replace("_", " "),
                explained=share_text(season.explained),
                before=plain.dispersion(rows)[name].values,
                after=seasonal.dispersion(rows)[name].values,
                smallest_before=visible[0].get(name),
                smallest_after=visible[1].get(name),
            )
        )
    return found
