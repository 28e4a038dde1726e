"""Queries of ground truth, policies and reports."""

import uuid
from collections.abc import Sequence, Set
from datetime import UTC, date, datetime
from typing import NamedTuple

from django.db.models import Max, OuterRef, QuerySet, Subquery
from django.db.models.functions import TruncDate

from models_registry.models import Model, ModelVersion
from models_registry.selectors import served_versions
from performance.models import GroundTruth, PerformancePolicy, PerformanceReport, Period


def joined_ground_truth_ids(prediction_ids: Set[uuid.UUID]) -> set[uuid.UUID]:
    """Return those of the prediction ids whose ground truth has met its prediction."""
    joined = GroundTruth.objects.filter(prediction_id__in=prediction_ids, version__isnull=False)
    return set(joined.values_list("prediction_id", flat=True))


def waiting_ground_truth_ids(smallest: uuid.UUID, largest: uuid.UUID) -> list[uuid.UUID]:
    """Return the prediction ids in this range whose ground truth waits for its prediction."""
    waiting = GroundTruth.objects.filter(version=None, prediction_id__range=(smallest, largest))
    return list(waiting.values_list("prediction_id", flat=True))


def ground_truths_to_look_up(now: datetime) -> QuerySet[GroundTruth]:
    """Return the ground truths whose predictions are due to be looked for, longest due first."""
    return GroundTruth.objects.filter(next_lookup_at__lte=now).order_by("next_lookup_at")


class NewestReport(NamedTuple):
    """The newest report of the latest predictions of a version, and what its model's policy allows."""

    pk: int
    model_name: str
    model_version: str
    largest_drop: float


def newest_reports_of_served_versions() -> list[NewestReport]:
    """Return one for each version that is not archived and has any."""
    newest = PerformanceReport.objects.filter(version=OuterRef("pk"), period=Period.LATEST).order_by("-id")
    found = served_versions().annotate(newest=Subquery(newest.values("pk")[:1])).exclude(newest=None)
    columns = ("newest", "model__name", "version", "model__performance_policy__largest_drop")
    default = PerformancePolicy().largest_drop
    return [
        NewestReport(pk, model, version, default if drop is None else drop)
        for pk, model, version, drop in found.order_by("model__name", "version").values_list(*columns)
    ]


def reports_by_id(ids: Sequence[int]) -> dict[int, PerformanceReport]:
    """Return those of the reports that are still there, by their ids."""
    return PerformanceReport.objects.in_bulk(ids)


def performance_policy_of(model: Model) -> PerformancePolicy:
    """Return the model's performance policy; the defaults, unsaved, where it has none."""
    try:
        return model.performance_policy
    except PerformancePolicy.DoesNotExist:
        return PerformancePolicy(model_id=model.pk)


def newest_report(version: ModelVersion, period: Period) -> PerformanceReport | None:
    """Return the version's report of that kind that was made last."""
    return PerformanceReport.objects.filter(version=version, period=period).order_by("-id").first()


def newest_days(version: ModelVersion, days: int) -> list[PerformanceReport]:
    """Return the version's reports of that many days, newest first."""
    return list(PerformanceReport.objects.filter(version=version, period=Period.DAY).order_by("-started_at")[:days])


def days_measured_up_to(version: ModelVersion) -> datetime | None:
    """Return the newest change of ground truth that the version's reports of days have seen."""
    days = PerformanceReport.objects.filter(version=version, period=Period.DAY)
    newest: datetime | None = days.aggregate(at=Max("labels_changed_at"))["at"]
    return newest


def newest_label_change(version: ModelVersion) -> datetime | None:
    """Return when the ground truth of a version changed last."""
    newest: datetime | None = GroundTruth.objects.filter(version=version).aggregate(at=Max("changed_at"))["at"]
    return newest


def days_with_label_changes(version: ModelVersion, *, since: datetime | None) -> list[date]:
    """Return the days (UTC) with predictions whose ground truth has changed since then, oldest first."""
    changed = GroundTruth.objects.filter(version=version)
    if since is not None:
        changed = changed.filter(changed_at__gt=since)
    days = changed.annotate(day=TruncDate("predicted_at", tzinfo=UTC)).order_by("day")
    return list(days.values_list("day", flat=True).distinct())
