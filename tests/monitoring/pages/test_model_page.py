"""The page of one model: its versions and its charts, from real rows."""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from drift.models import DriftCheck, DriftIncident
from inference.models import RejectionCount, RollupSpan, TrafficRollup
from inference.traffic import CONFIDENCE_EDGES, LATENCY_EDGES
from models_registry.models import Model, ModelVersion, ReferenceDataset, Stage
from models_registry.services.versions import set_stage
from monitoring.pages.charts import Steps, TimeRange
from monitoring.pages.model import model_context
from performance.models import PerformanceReport, Period
from tests.factories import diabetes_onnx, uploaded_version
from tests.mlmon.observed import iris_rows, profiled_reference
from tests.models_registry.zoo import read_model
from tests.monitoring.pages.shown_figures import ShownFigures

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 1, 12, 10, 30, tzinfo=UTC)
PAGE = "/models/classifier"


@pytest.fixture
def version() -> ModelVersion:
    return uploaded_version("classifier")


def histogram(edges: Sequence[float], counts: dict[float, int]) -> list[int]:
    return [*(counts.get(edge, 0) for edge in edges), 0]


def rollup(version: ModelVersion, at: datetime, span: RollupSpan = RollupSpan.MINUTE, **figures: Any) -> None:
    empty = {"latency_counts": [0] * 14, "confidence_counts": [0] * 14, "class_counts": []}
    TrafficRollup.objects.create(version=version, span_seconds=span, begins_at=at, **{**empty, **figures})


def context(time_range: TimeRange = TimeRange.ONE_HOUR, now: datetime = NOW) -> dict[str, Any]:
    return model_context(Model.objects.get(), time_range, now)


def chart_of(found: dict[str, Any], key: str) -> Any:
    return next(chart for chart in found["charts"] if chart.key == key)


def values_of(found: dict[str, Any], key: str, label: str) -> list[float | None]:
    values: list[float | None] = next(line.values for line in chart_of(found, key).lines if line.label == label)
    return values


@pytest.mark.parametrize("time_range", TimeRange)
def test_every_range_has_about_a_hundred_steps_up_to_now(time_range: TimeRange) -> None:
    steps = Steps.of(time_range, NOW)
    assert 60 <= len(steps.begins) <= 100
    assert int(steps.begins[-1]) <= NOW.timestamp() < int(steps.begins[-1]) + time_range.step_seconds
    assert len(steps.begins) * time_range.step_seconds == time_range.seconds
    assert time_range.step_seconds % time_range.span == 0
    assert set(np.diff(steps.begins)) == {time_range.step_seconds}


@pytest.mark.parametrize(
    ("age", "asked", "shown"),
    [
        (timedelta(minutes=5), "", "1 hour"),
        (timedelta(minutes=61), "", "6 hours"),
        (timedelta(hours=7), "", "24 hours"),
        (timedelta(days=400), "", "24 hours"),
        (timedelta(minutes=5), "7d", "7 days"),
        (timedelta(days=400), "'; drop table", "24 hours"),
    ],
)
def test_the_default_range_is_a_day_or_less_for_a_younger_model(
    admin_client: Client, version: ModelVersion, age: timedelta, asked: str, shown: str
) -> None:
    Model.objects.update(created_at=timezone.now() - age)
    page = admin_client.get(PAGE, {"range": asked} if asked else {}).content.decode()
    assert re.findall(r'aria-current="true">([^<]+)</', page) == [shown]


def test_champion_and_challenger_are_compared(version: ModelVersion) -> None:
    challenger = uploaded_version("classifier", "2.0.0", production=False)
    set_stage(version=challenger, stage=Stage.SHADOW)
    rollup(
        version,
        NOW.replace(minute=5, second=0),
        success=90,
        error=10,
        predictions=90,
        latency_counts=histogram(LATENCY_EDGES, {0.01: 90}),
        confidence_counts=histogram(CONFIDENCE_EDGES, {0.9: 90}),
        class_counts=[60, 30],
    )
    rollup(challenger, NOW.replace(minute=5, second=0), predictions=90, class_counts=[0, 0, 90])
    found = context()
    first, second = found["version_lines"]
    assert (first.part, second.part) == ("champion", "challenger, receives copies")
    assert (first.requests.value, first.share.value, first.errors.value) == (100, 1.0, 0.1)
    # Within one bucket the quantile is linear: 5 ms + 95 % of 5 ms, 0.8 + half of 0.1.
    assert first.p95.value == pytest.approx(0.00975)
    assert first.confidence.value == pytest.approx(0.85)
    assert (second.requests.value, second.predictions.value, second.p95.value) == (0, 90, None)
    table = {row.name: [bar and bar.figure.value for bar in row.bars] for row in found["class_table"].rows}
    assert table == {
        "setosa": [pytest.approx(2 / 3), 0.0],
        "versicolor": [pytest.approx(1 / 3), 0.0],
        "virginica": [0.0, 1.0],
    }
    requests = chart_of(found, "requests")
    assert [line.label for line in requests.lines] == ["1.0.0", "2.0.0 (rows without requests)"]


def test_the_rate_of_an_unfinished_step_is_per_minute_too(version: ModelVersion) -> None:
    rollup(version, NOW.replace(minute=5, second=0), success=12)
    rollup(version, NOW.replace(minute=10, second=0), success=12)
    requests = values_of(context(), "requests", "1.0.0")
    assert requests[-6] == 12
    assert requests[-1] == 24  # half of the minute is over
    assert sum(value or 0 for value in requests) == 36


def test_a_step_that_has_just_started_has_no_value(version: ModelVersion) -> None:
    rollup(version, NOW.replace(minute=9, second=0), success=12)
    requests = values_of(
        model_context(Model.objects.get(), TimeRange.ONE_HOUR, NOW.replace(second=7)), "requests", "1.0.0"
    )
    assert requests[-2:] == [12, None]


def test_a_version_has_no_zeros_before_its_registration(version: ModelVersion) -> None:
    """Observations from before its registration are shown, however."""
    ModelVersion.objects.update(created_at=NOW.replace(minute=7))
    rollup(version, NOW.replace(minute=5, second=0), success=12)
    requests = values_of(context(), "requests", "1.0.0")
    assert requests[-7:] == [None, 12, None, 0, 0, 0, 0]


def test_the_first_requests_of_a_new_version_are_shown_at_once(version: ModelVersion) -> None:
    now = NOW.replace(second=7)
    ModelVersion.objects.update(created_at=now.replace(second=2))
    rollup(version, NOW.replace(second=0), success=7)
    requests = values_of(model_context(Model.objects.get(), TimeRange.ONE_HOUR, now), "requests", "1.0.0")
    assert requests[-2:] == [None, 60]


def test_days_are_summed_from_hours(version: ModelVersion) -> None:
    for hour in range(24):
        at = datetime(2026, 2, 20, hour, tzinfo=UTC)
        rollup(version, at, RollupSpan.HOUR, success=10, error=hour % 2, predictions=10, class_counts=[7, 3])
        rollup(version, at, RollupSpan.MINUTE, success=10)
    found = context(TimeRange.NINETY_DAYS)
    errors = [value for value in values_of(found, "errors", "1.0.0") if value is not None]
    assert errors == [pytest.approx(12 / 252)]
    assert [value for value in values_of(found, "classes", "setosa") if value is not None] == [pytest.approx(0.7)]
    assert found["version_lines"][0].requests.value == 252


def test_drift_and_incidents_are_shown_at_their_times(version: ModelVersion) -> None:
    reference = profiled_reference(version, iris_rows(200))
    checks = [
        check_at(version, reference, minutes_ago=minutes, n_drifted_features=drifted, n_confirmed_features=drifted)
        for minutes, drifted in [(70, 3), (30, 2), (29, 0), (10, 1)]
    ]
    DriftIncident.objects.create(
        version=version,
        opened_by=checks[1],
        last_check=checks[3],
        opened_at=NOW - timedelta(minutes=30),
        counted_rows=1,
    )
    found = context()
    assert [v for v in values_of(found, "drift", "above the threshold") if v is not None] == [2, 0, 1]
    (span,) = chart_of(found, "requests").spans
    assert (span.begin, span.end) == (int(NOW.timestamp()) - 1800, int(NOW.timestamp()))
    assert len(found["incidents"]) == 1


def check_at(version: ModelVersion, reference: ReferenceDataset, *, minutes_ago: int, **fields: Any) -> DriftCheck:
    at = NOW - timedelta(minutes=minutes_ago)
    return DriftCheck.objects.create(
        version=version,
        reference=reference,
        status="succeeded",
        window_end=f"{minutes_ago}-0",
        rows_seen=1,
        window_ended_at=at,
        **fields,
    )


def report(version: ModelVersion, at: datetime, period: Period, accuracy: float) -> None:
    PerformanceReport.objects.create(
        version=version,
        period=period,
        started_at=at,
        ended_at=at + timedelta(days=1),
        computed_at=at,
        predicted_rows=10,
        labelled_rows=10,
        realised={"accuracy": accuracy},
        estimated={"accuracy": accuracy / 2},
    )


def test_short_ranges_show_latest_reports_and_long_ranges_daily_reports(version: ModelVersion) -> None:
    report(version, NOW - timedelta(minutes=20), Period.LATEST, 0.9)
    report(version, NOW.replace(hour=0, minute=0, second=0) - timedelta(days=3), Period.DAY, 0.8)
    hours, months = context(), context(TimeRange.THIRTY_DAYS)
    for found, accuracy in [(hours, 0.9), (months, 0.8)]:
        realised = values_of(found, "performance", "1.0.0 realised")
        estimated = values_of(found, "performance", "1.0.0 estimated")
        assert [value for value in realised if value is not None] == [accuracy]
        assert [value for value in estimated if value is not None] == [accuracy / 2]


def test_a_regression_has_its_mean_prediction_and_no_classes() -> None:
    version = uploaded_version("classifier", onnx=diabetes_onnx(), features=None)
    rollup(version, NOW.replace(minute=5, second=0), success=2, predictions=4, output_sum=10.0)
    found = context()
    assert [value for value in values_of(found, "outputs", "1.0.0") if value is not None] == [2.5]
    assert "classes" not in {chart.key for chart in found["charts"]}
    assert found["class_table"] is None


def rejected(model: Model, at: datetime, feature_name: str, reason: str, count: int, example: str = "") -> None:
    RejectionCount.objects.create(
        model=model,
        begins_at=at.replace(second=0, microsecond=0),
        feature_name=feature_name,
        reason=reason,
        count=count,
        last_at=at,
        example=example,
    )


def test_rejections_are_listed_by_feature_and_reason(admin_client: Client, version: ModelVersion) -> None:
    now = timezone.now()
    example = 'the model has no feature "petal_len", and "petal_length" is missing'
    rejected(version.model, now - timedelta(minutes=2), "unknown", "unknown_feature", 40, example)
    rejected(version.model, now - timedelta(hours=3), "unknown", "unknown_feature", 2)
    rejected(version.model, now - timedelta(hours=3), "sepal_width", "wrong_type", 7, "got <b>a string</b>")
    page = admin_client.get(PAGE).content.decode()
    section = re.search(r'<section[^>]+id="rejections".*?</section>', page, re.DOTALL)
    assert section
    rows = [
        [" ".join(re.sub(r"<[^>]+>", "", cell).split()) for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)]
        for row in re.findall(r"<tr.*?</tr>", section[0], re.DOTALL)[1:]
    ]
    assert [row[:4] for row in rows] == [
        ["unknown key", "unknown feature", "40", "42"],
        ["sepal_width", "wrong type", "0", "7"],
    ]
    assert rows[0][5] == "the model has no feature &quot;petal_len&quot;, and &quot;petal_length&quot; is missing"
    assert "2 minutes ago" in rows[0][4]
    assert "got &lt;b&gt;a string&lt;/b&gt;" in section[0]


def test_a_model_without_rejections_has_no_such_section(admin_client: Client, version: ModelVersion) -> None:
    rejected(version.model, timezone.now() - timedelta(hours=25), "sepal_width", "wrong_type", 7)
    assert 'id="rejections"' not in admin_client.get(PAGE).content.decode()


def test_many_rejected_requests_are_a_reason_with_a_link_to_their_list(
    admin_client: Client, version: ModelVersion
) -> None:
    rollup(version, timezone.now().replace(second=0, microsecond=0), success=10, rejected=10)
    page = admin_client.get(PAGE).content.decode()
    assert "50 % of its requests were rejected in the last 10 minutes; the limit is 5.0 %." in page
    assert f'href="{PAGE}#rejections"' in page


def test_the_page_contains_the_data_of_its_charts(admin_client: Client, version: ModelVersion) -> None:
    now = timezone.now().replace(second=0, microsecond=0)
    rollup(version, now, success=5, predictions=5, latency_counts=histogram(LATENCY_EDGES, {0.5: 5}))
    page = admin_client.get(f"{PAGE}?range=1h").content.decode()
    payload = re.search(r'<script id="chart-requests" type="application/json">(.+?)</script>', page)
    assert payload
    drawn = json.loads(payload[1])
    assert drawn["unit"] == "rate"
    assert len(drawn["steps"]) == len(drawn["lines"][0]["values"]) == 60
    assert ShownFigures(page).by_name["1.0.0"]["requests"] == 5
    assert 'aria-current="true">1 hour' in page


@pytest.mark.parametrize("path", ["/models/unknown", "/models/%00", "/models/Classifier"])
def test_an_unknown_model_is_not_found(admin_client: Client, version: ModelVersion, path: str) -> None:
    assert admin_client.get(path).status_code == 404


def test_an_unknown_model_has_an_error_page(admin_client: Client, version: ModelVersion) -> None:
    response = admin_client.get("/models/nobody")
    assert (response.status_code, response["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert "Back to mlmon" in response.content.decode()


def test_a_model_without_versions_explains_what_to_do(admin_client: Client, version: ModelVersion) -> None:
    version.delete()
    page = admin_client.get(PAGE).content.decode()
    assert "Upload a version" in page


def test_the_page_needs_the_permission_to_see_models(client: Client, version: ModelVersion) -> None:
    assert client.get(PAGE).status_code == 302
    client.force_login(User.objects.create_user("nobody", password="secret", is_staff=True))
    assert client.get(PAGE).status_code == 403


def test_the_number_of_queries_does_not_grow_with_rows(admin_client: Client, version: ModelVersion) -> None:
    admin_client.get(PAGE)
    with CaptureQueriesContext(connection) as few:
        admin_client.get(PAGE)
    for place in range(3):
        other = uploaded_version("classifier", f"2.0.{place}", production=False)
        rollup(other, timezone.now().replace(second=0, microsecond=0), success=1)
    with CaptureQueriesContext(connection) as many:
        admin_client.get(PAGE)
    assert len(many) <= len(few) + 3 * PERFORMANCE_QUERIES


PERFORMANCE_QUERIES = 1  # the reports of one version


def test_an_anomaly_model_shows_its_rate_and_no_confidence(redis_client: Any) -> None:
    content = read_model("sklearn-isolation-forest").path.read_bytes()
    version = uploaded_version("classifier", onnx=content, features=None)
    rollup(version, NOW - timedelta(minutes=5), predictions=40, class_counts=[10, 30])
    found = context()
    assert chart_of(found, "classes").title == "Anomaly rate of 1.0.0"
    assert [line.label for line in chart_of(found, "classes").lines] == ["anomalies"]
    assert 0.25 in values_of(found, "classes", "anomalies")
    assert "confidence" not in {chart.key for chart in found["charts"]}
