"""The panel on the page of an incident: performance before and during the incident."""

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
import redis
from django.test import Client
from django.utils import timezone

from drift.models import DriftIncident
from drift.services.checks import run_drift_check
from monitoring.pages.panels import performance_panel
from performance.models import PerformanceReport, Period
from tests.factories import uploaded_version
from tests.mlmon.observed import iris_rows, observe, profiled_reference

pytestmark = pytest.mark.django_db


@pytest.fixture
def incident(redis_client: redis.Redis) -> DriftIncident:
    """Open for two hours."""
    version = uploaded_version("classifier")
    profiled_reference(version, iris_rows(2000))
    observe(version, iris_rows(1000, seed=1) + np.array([0, 0, 2, 1]))
    run_drift_check(version_id=version.pk)
    incident = DriftIncident.objects.get()
    incident.opened_at = timezone.now() - timedelta(hours=2)
    incident.save()
    return incident


def report(incident: DriftIncident, at: datetime, period: Period = Period.LATEST, **figures: Any) -> None:
    PerformanceReport.objects.create(
        version=incident.version,
        period=period,
        started_at=at - timedelta(minutes=1),
        ended_at=at,
        computed_at=at,
        predicted_rows=2000,
        labelled_rows=1000,
        **figures,
    )


def sentences(incident: DriftIncident) -> list[str]:
    found: list[str] = performance_panel(incident).context["sentences"]
    return found


def test_performance_is_compared_with_the_time_before(incident: DriftIncident) -> None:
    before, now = incident.opened_at - timedelta(minutes=5), timezone.now() - timedelta(minutes=1)
    report(incident, before, realised={"accuracy": 0.9}, estimated={"accuracy": 0.88})
    report(incident, now, realised={"accuracy": 0.7}, estimated={"accuracy": 0.86})
    assert sentences(incident) == [
        "For 1,000 predictions with ground truth, the accuracy is 0.700; before the incident it was 0.900.",
        "Estimated without ground truth, the accuracy is 0.860; before the incident it was 0.880.",
        "50 % of the predictions of that period have ground truth.",
    ]
    chart = performance_panel(incident).context["chart"]
    realised = next(line.values for line in chart.lines if line.label == "1.0.0 realised")
    assert [value for value in realised if value is not None] == [0.9, 0.7]
    assert len(chart.spans) == 1


def test_missing_ground_truth_is_mentioned(incident: DriftIncident) -> None:
    report(incident, timezone.now(), estimated={"accuracy": 0.86})
    assert sentences(incident)[:2] == [
        "No ground truth has arrived since the incident began, so the performance is unknown.",
        "Estimated without ground truth, the accuracy is 0.860.",
    ]


def test_the_report_of_a_day_replaces_deleted_reports(incident: DriftIncident) -> None:
    report(incident, incident.opened_at - timedelta(days=20), Period.DAY, realised={"accuracy": 0.8})
    report(incident, timezone.now(), realised={"accuracy": 0.7})
    assert "before the incident it was 0.800" in sentences(incident)[0]


def test_a_closed_incident_shows_its_own_period(incident: DriftIncident) -> None:
    incident.closed_at = timezone.now() - timedelta(hours=1)
    incident.closing_reason = "quiet"
    incident.save()
    report(incident, incident.closed_at - timedelta(minutes=1), realised={"accuracy": 0.6})
    report(incident, timezone.now(), realised={"accuracy": 0.99})
    assert "the accuracy is 0.600" in sentences(incident)[0]


def test_the_page_of_the_incident_shows_it(admin_client: Client, incident: DriftIncident) -> None:
    report(incident, timezone.now(), realised={"accuracy": 0.7})
    page = admin_client.get(f"/admin/drift/driftincident/{incident.pk}/change/").content.decode()
    assert "Performance during the incident" in page
    assert "For 1,000 predictions with ground truth, the accuracy is 0.700" in page
    assert 'id="chart-performance"' in page
