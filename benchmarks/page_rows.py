"""Months of history of a fleet, for the pages to show. Importing this module needs Django.

The first row of each table is created as in production. The others are copies, made with one SQL statement per table.
"""

import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
from django.contrib.auth.models import User
from django.db import connection, models
from django.test import Client
from django.utils import timezone

from accounts.models import ChangeRecord
from accounts.services.changes import record_change
from benchmarks.fleet_models import add_windows, create_fleet
from drift.models import DriftCheck, DriftIncident, FeatureDrift
from drift.services.checks import run_drift_check
from inference.models import RollupSpan, TrafficRollup
from inference.traffic import TrafficCounts
from models_registry.models import ModelVersion, Stage
from performance.models import GroundTruth, PerformanceReport, Period
from rollouts.models import Rollout, RolloutInterval, State
from rollouts.plan import DEFAULT_STEPS, TOTAL_WEIGHT, Guardrail, Measure

WINDOW_ROWS, REFERENCE_ROWS = 1_000, 2_000
HOURS_A_DAY = 24
KEPT_REPORTS_HOURS = 7 * HOURS_A_DAY
MINUTES_KEPT = 2 * HOURS_A_DAY * 60
LABELS_A_DAY, CHANGES_A_DAY = 100, 1  # of each version
ROLLOUT_DAYS, EVENT_RATE, SEED = 30, 0.01, 20_261_201
GUARDRAILS = (Guardrail(Measure.ERRORS), Guardrail(Measure.LATENCY, 0.1), Guardrail(Measure.WRONG_PREDICTIONS))


def create_history(*, model_count: int, feature_count: int, days: int, checks_a_day: int) -> None:
    """Store a fleet with `days` days of checks, traffic and reports. Its first model is checked every hour.

    The latest check of each version is real. The first model has drifted and has an open incident.
    """
    version_ids = create_fleet(model_count, feature_count, REFERENCE_ROWS, WINDOW_ROWS)
    first = version_ids[0]
    run_drift_check(version_id=first)
    template = DriftCheck.objects.get()
    _copy_checks(template, [first], copies=days * HOURS_A_DAY, days=days)
    if version_ids[1:]:
        _copy_checks(template, version_ids[1:], copies=days * checks_a_day, days=days)
    _copy_features(template)
    _fill_traffic(version_ids, days)
    _fill_reports(version_ids, days)
    _fill_ground_truth(version_ids, days)
    _fill_changes(version_ids, days)
    _fill_rollout(first)
    DriftIncident.objects.all().delete()  # of the template; the real checks open their own
    add_windows(version_ids, feature_count, WINDOW_ROWS)
    for version_id in version_ids:
        run_drift_check(version_id=version_id)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def logged_in_client() -> Client:
    """Return a client that is logged in as a superuser."""
    client = Client(SERVER_NAME="localhost")
    client.force_login(User.objects.create_superuser("reader", password=None))
    return client


def pages() -> dict[str, str]:
    """Return the paths of the pages by name."""
    incident = DriftIncident.objects.filter(closed_at=None).order_by("pk")[0]
    report = PerformanceReport.objects.filter(version=incident.version).latest("pk")
    label = GroundTruth.objects.filter(version=incident.version)[0]
    name = incident.version.model.name
    return {
        "overview": "/admin/",
        **{f"model, {span}": f"/models/{name}?range={span}" for span in ("1h", "24h", "7d", "90d")},
        "check": f"/admin/drift/driftcheck/{incident.last_check_id}/change/",
        "incident": f"/admin/drift/driftincident/{incident.pk}/change/",
        "report": f"/admin/performance/performancereport/{report.pk}/change/",
        "version": f"/admin/models_registry/modelversion/{incident.version_id}/change/",
        "reference": f"/admin/models_registry/referencedataset/{incident.last_check.reference_id}/change/",
        "rollout": f"/admin/rollouts/rollout/{Rollout.objects.latest('pk').pk}/change/",
        "history": f"/admin/models_registry/modelversion/{incident.version_id}/history/",
        "ground truth": f"/admin/performance/groundtruth/{label.pk}/change/",
        "list of checks": "/admin/drift/driftcheck/",
        "list of incidents": "/admin/drift/driftincident/",
        "list of reports": "/admin/performance/performancereport/",
        "list of versions": "/admin/models_registry/modelversion/",
        "list of ground truth": "/admin/performance/groundtruth/",
        "list of changes": "/admin/accounts/changerecord/",
    }


def history_size() -> dict[str, int]:
    """Return the number of rows in each table."""
    return {
        model.__name__: model._default_manager.count()
        for model in (
            ModelVersion,
            DriftCheck,
            FeatureDrift,
            TrafficRollup,
            PerformanceReport,
            GroundTruth,
            ChangeRecord,
            RolloutInterval,
        )
    }


def _copy_checks(template: DriftCheck, version_ids: Sequence[int], *, copies: int, days: int) -> None:
    """Store copies of a check for each version, evenly spaced over the last `days` days."""
    at = "now() - interval '1 day' * %(days)s * (%(copies)s - s.step + 1) / %(copies)s"
    _insert_copies(
        DriftCheck,
        "(SELECT v.version_id, g.step FROM unnest(%(versions)s) AS v(version_id), "
        "generate_series(1, %(copies)s) AS g(step)) AS s WHERE t.id = %(template)s ORDER BY s.step",
        {
            "version_id": "s.version_id",
            "window_end": "'past-' || s.step",
            "created_at": at,
            "window_started_at": at,
            "window_ended_at": at,
        },
        versions=list(version_ids),
        copies=copies,
        template=template.pk,
        days=days,
    )


def _copy_features(template: DriftCheck) -> None:
    """Copy the features of the template to each of its copies."""
    _insert_copies(
        FeatureDrift,
        f"{DriftCheck._meta.db_table} AS c WHERE t.check_run_id = %(template)s AND c.window_end LIKE 'past-%%'",
        {"check_run_id": "c.id"},
        template=template.pk,
    )


def _fill_traffic(version_ids: Sequence[int], days: int) -> None:
    """Store two days of minutes and `days` days of hours for each version."""
    counts = TrafficCounts(success=50, error=1, latency_seconds=1.0, predictions=50)
    counts.latency_counts[:8] = 7
    counts.confidence_counts[6:] = 6
    minute = timezone.now().replace(second=0, microsecond=0)
    for span, length, begins_at in (
        (RollupSpan.MINUTE, MINUTES_KEPT, minute),
        (RollupSpan.HOUR, days * HOURS_A_DAY, minute.replace(minute=0)),
    ):
        row = TrafficRollup.objects.create(
            version_id=version_ids[0],
            span_seconds=span,
            begins_at=begins_at,
            **{**counts.figures(), "class_counts": [20, 30]},
        )
        _insert_copies(
            TrafficRollup,
            "unnest(%(versions)s) AS v(version_id), generate_series(0, %(length)s) AS g(step) "
            "WHERE t.id = %(row)s AND NOT (v.version_id = t.version_id AND g.step = 0)",
            {"version_id": "v.version_id", "begins_at": f"t.begins_at - interval '{int(span)} seconds' * g.step"},
            versions=list(version_ids),
            length=length,
            row=row.pk,
        )


def _fill_reports(version_ids: Sequence[int], days: int) -> None:
    """Store a report for each day, and a report on the latest predictions for each hour of the last week."""
    figures = {"accuracy": 0.9, "f1_score": 0.9}
    for period, length, step in ((Period.DAY, days, "1 day"), (Period.LATEST, KEPT_REPORTS_HOURS, "1 hour")):
        row = PerformanceReport.objects.create(
            version_id=version_ids[0],
            period=period,
            started_at=timezone.now(),
            ended_at=timezone.now(),
            computed_at=timezone.now(),
            predicted_rows=1_000,
            labelled_rows=1_000,
            realised=figures,
            estimated=figures,
        )
        moved = {name: f"t.{name} - interval '{step}' * g.step" for name in ("started_at", "ended_at", "computed_at")}
        _insert_copies(
            PerformanceReport,
            "unnest(%(versions)s) AS v(version_id), generate_series(1, %(length)s) AS g(step) WHERE t.id = %(row)s",
            {"version_id": "v.version_id", **moved},
            versions=list(version_ids),
            length=length,
            row=row.pk,
        )


def _fill_ground_truth(version_ids: Sequence[int], days: int) -> None:
    """Store labels with their predictions, evenly spaced over the days."""
    now = timezone.now()
    row = GroundTruth.objects.create(
        prediction_id=uuid.uuid4(),
        actual="yes",
        prediction="yes",
        confidence=0.9,
        version_id=version_ids[0],
        **dict.fromkeys(("observed_at", "received_at", "changed_at", "predicted_at"), now),
    )
    count = days * LABELS_A_DAY
    at = "now() - interval '1 day' * %(days)s * g.step / %(count)s"
    _insert_copies(
        GroundTruth,
        "unnest(%(versions)s) AS v(version_id), generate_series(1, %(count)s) AS g(step) "
        "WHERE t.prediction_id = %(row)s",
        {
            "prediction_id": "gen_random_uuid()",
            "version_id": "v.version_id",
            **dict.fromkeys(("observed_at", "received_at", "changed_at", "predicted_at"), at),
        },
        versions=list(version_ids),
        count=count,
        days=days,
        row=row.pk,
    )


def _fill_changes(version_ids: Sequence[int], days: int) -> None:
    """Store a change for each version and day."""
    version = ModelVersion.objects.select_related("model").get(pk=version_ids[0])
    record_change(user=None, row=version, message="Notes changed.", changes={"notes": ("before", "after")})
    row = ChangeRecord.objects.latest("pk")
    _insert_copies(
        ChangeRecord,
        "unnest(%(versions)s) AS v(version_id), generate_series(1, %(count)s) AS g(step) WHERE t.id = %(row)s",
        {"row_id": "v.version_id::text", "happened_at": "now() - interval '1 day' * g.step"},
        versions=list(version_ids),
        count=days * CHANGES_A_DAY,
        row=row.pk,
    )


def _fill_rollout(version_id: int) -> None:
    """Store a running rollout with `ROLLOUT_DAYS` days of intervals for each guardrail, a quarter in each step."""
    champion = ModelVersion.objects.select_related("model").get(pk=version_id)
    challenger = ModelVersion.objects.get(pk=version_id)
    challenger.pk, challenger.version, challenger.stage, challenger.traffic_weight = None, "1.1.0", Stage.STAGING, 0
    challenger.save()
    now = timezone.now()
    started = now - timedelta(days=ROLLOUT_DAYS)
    rollout = Rollout.objects.create(
        model=champion.model,
        champion=champion,
        challenger=challenger,
        steps=DEFAULT_STEPS,
        guardrails=GUARDRAILS,
        state=State.RUNNING,
        step_index=len(DEFAULT_STEPS) - 1,
        challenger_weight=DEFAULT_STEPS[-1].challenger_weight,
        is_live=True,
        started_at=started,
        step_started_at=now - timedelta(days=ROLLOUT_DAYS / len(DEFAULT_STEPS)),
        judged_at=now,
    )
    rng = np.random.default_rng(SEED)
    rows, at = [], started
    while at < now:
        start, end = rollout.interval_of(at)
        step = DEFAULT_STEPS[int((at - started) / timedelta(days=ROLLOUT_DAYS) * len(DEFAULT_STEPS))]
        weights = (TOTAL_WEIGHT - step.challenger_weight, step.challenger_weight)
        for guardrail in GUARDRAILS:
            champion_events, challenger_events = (int(rng.binomial(weight, EVENT_RATE)) for weight in weights)
            rows.append(
                RolloutInterval(
                    rollout=rollout,
                    measure=guardrail.measure.value,
                    champion_weight=weights[0],
                    challenger_weight=weights[1],
                    started_at=start,
                    ended_at=end,
                    champion_units=weights[0],
                    challenger_units=weights[1],
                    champion_events=champion_events,
                    challenger_events=challenger_events,
                )
            )
        at = end
    RolloutInterval.objects.bulk_create(rows)


def _insert_copies(model: type[models.Model], source: str, changed: Mapping[str, str], **parameters: Any) -> None:
    """Insert copies of rows ``t`` of a table, one for each row of `source`, with some columns changed.

    All parts of the statement are constants of this module.
    """
    fields = model._meta.concrete_fields
    columns = [str(field.column) for field in fields if not field.primary_key or field.column in changed]
    values = ", ".join(changed.get(column, f't."{column}"') for column in columns)
    names = ", ".join(f'"{column}"' for column in columns)
    table = model._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({names}) SELECT {values} FROM {table} AS t, {source}",  # noqa: S608
            parameters,
        )
