"""The overview: its figures equal those of `/metrics` and the API; its order; its texts."""

import re
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
import requests
import yaml
from cattrs import unstructure
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families as text_families

from drift.models import CheckStatus, DriftCheck, DriftIncident
from drift.services.checks import run_drift_check
from inference.models import RollupSpan, TrafficRollup
from inference.selectors import ByMinute
from inference.services.traffic import roll_up_traffic
from inference.stream import rows_seen
from inference.traffic import CONFIDENCE_EDGES, LATENCY_EDGES, TrafficCounts, changed_minutes
from mlmon.detection.performance import DropStatus, PerformanceDrop
from models_registry.models import ModelVersion, ReferenceDataset, Stage
from models_registry.services.versions import set_stage
from monitoring.models import JobRun
from monitoring.pages import attention
from monitoring.pages.attention import Urgency, late_jobs, reasons_of
from monitoring.pages.figures import histogram_quantile
from monitoring.pages.overview import bars_path, overview_context
from monitoring.selectors import ModelState, VersionFacts, model_states
from performance.models import PerformanceReport
from tests.factories import uploaded_version
from tests.monitoring.pages.shown_figures import ShownFigures
from tests.performance.test_reports import activate_reference, flowers, measure_due_versions
from tests.services.processes import await_condition
from tests.services.web_server import WebServer

PREDICT = "/api/v1/models/classifier/predict"
RULES = Path(__file__).resolve().parents[3] / "monitoring" / "prometheus" / "rules" / "alerts.yml"


DROP = PerformanceDrop(DropStatus.DROP, True, "the reference", 2000, 0.1, 1000, 0.2, 1e-9, 5e-5, 2, 1.0, None)

pytestmark = pytest.mark.django_db


class Served:
    """A server with one model, used over HTTP as programs and people do."""

    def __init__(self, server: WebServer, client: Client) -> None:
        self._url = server.url
        self._cookies = {"sessionid": client.cookies["sessionid"].value}

    def get(self, path: str) -> requests.Response:
        response = requests.get(f"{self._url}{path}", cookies=self._cookies, timeout=10)
        assert response.status_code == 200, response.text
        return response

    def post(self, path: str, body: Any) -> requests.Response:
        return requests.post(f"{self._url}{path}", json=body, timeout=10)

    def predict(self, body: Any, *, status: int) -> requests.Response:
        """Return the response to a request, as soon as the web process that gets it has loaded the model."""
        responses: list[requests.Response] = []

        def is_loaded() -> bool:
            responses.append(self.post(PREDICT, body))
            return responses[-1].status_code != 404

        await_condition(is_loaded, "a web process did not load the model", seconds=20)
        assert responses[-1].status_code == status
        return responses[-1]

    def samples(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        families = text_families(self.get("/metrics").text)
        return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


def sample(samples: dict[Any, float], name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


@pytest.fixture
def served(web_server: WebServer, client: Client) -> Served:
    client.force_login(User.objects.create_superuser("reader", password="secret"))
    return Served(web_server, client)


def send_traffic(served: Served, client: redis.Redis, version: ModelVersion) -> None:
    """Send 600 flowers that differ from the reference, two invalid requests and the true classes."""
    rows, species = flowers(600, seed=3)
    rows[:, 0] += 2
    predictions: list[Any] = []
    for begin in range(0, 600, 20):
        predictions += served.predict({"rows": rows[begin : begin + 20].tolist()}, status=200).json()["predictions"]
    for _ in range(2):
        served.predict({"features": ["wrong"]}, status=422)
    await_condition(lambda: rows_seen(client, [version.pk])[version.pk] == 600, "the rows did not reach the window")
    items = [
        {"prediction_id": one["prediction_id"], "actual": true} for one, true in zip(predictions, species, strict=True)
    ]
    response = served.post("/api/v1/feedback", items)
    assert response.json()["counts"]["accepted"] == 600


def roll_up_until_quiet(client: redis.Redis, requests_sent: int) -> None:
    def is_rolled_up() -> bool:
        roll_up_traffic()
        rows = TrafficRollup.objects.filter(span_seconds=RollupSpan.MINUTE)
        return sum(row.success + row.rejected for row in rows) >= requests_sent and not changed_minutes(client)

    await_condition(is_rolled_up, "the counts of the web processes did not arrive", seconds=20, pause=0.2)


@pytest.mark.timeout(180)
def test_figures_equal_those_of_metrics_and_of_the_api(served: Served, redis_client: redis.Redis) -> None:
    version = uploaded_version("classifier")
    activate_reference(version, rows=2000)
    send_traffic(served, redis_client, version)
    roll_up_until_quiet(redis_client, requests_sent=32)
    run_drift_check(version_id=version.pk)
    measure_due_versions()
    page = served.get("/admin/").text
    line = ShownFigures(page).by_name["classifier"]
    after = served.samples()
    labels = {"model_name": "classifier", "model_version": "1.0.0"}
    sent = {
        status: sample(after, "ml_prediction_requests_total", **labels, status=status)
        for status in ("success", "error", "rejected")
    }
    assert sent["success"] == 30
    assert sent["rejected"] >= 2
    assert line["per_minute"] == pytest.approx(sum(sent.values()) / minutes_of(page), rel=1e-6)
    assert line["errors"] == sent["error"] == 0
    edges = [*map(str, LATENCY_EDGES), "+Inf"]
    cumulative = [sample(after, "ml_prediction_latency_seconds_bucket", **labels, le=edge) for edge in edges]
    counts = [int(b - a) for a, b in zip([0, *cumulative], cumulative, strict=False)]
    assert line["p50"] == histogram_quantile(0.5, LATENCY_EDGES, counts)
    assert line["p95"] == histogram_quantile(0.95, LATENCY_EDGES, counts)
    accuracy = sample(after, "ml_model_accuracy", **labels)
    assert line["realised"] == pytest.approx(accuracy, abs=1e-12)
    assert line["estimated"] == pytest.approx(sample(after, "ml_model_estimated_accuracy", **labels), abs=1e-12)
    performance = served.get("/api/v1/models/classifier/performance").json()
    assert line["realised"] == pytest.approx(performance["latest"]["realised"]["accuracy"], abs=1e-12)
    assert line["estimated"] == pytest.approx(performance["latest"]["estimated"]["accuracy"], abs=1e-12)
    drift = served.get("/api/v1/models/classifier/drift").json()
    drifted = {name for name, one in drift["feature_drift"].items() if one["is_drifted"]}
    in_metrics = {
        dict(names)["feature_name"]
        for (name, names), value in after.items()
        if name == "ml_feature_drift_detected" and value
    }
    assert drifted == in_metrics == {"sepal_length"}
    assert "Drift incident" in page
    assert sample(after, "ml_drift_incident_open", model_name="classifier") == 1
    assert re.search(r"<strong>1</strong> open incident\b", page)


def minutes_of(page: str) -> float:
    """Return the minutes that the rates of the page include: nine full minutes and the current one."""
    found = re.search(r'as of <time datetime="([^"]+)">', page)
    assert found
    now = datetime.fromisoformat(found[1])
    return (now - (now.replace(second=0, microsecond=0) - timedelta(minutes=9))) / timedelta(minutes=1)


@pytest.fixture
def version() -> ModelVersion:
    return uploaded_version("classifier")


def counts(**figures: Any) -> TrafficCounts:
    return TrafficCounts.of(figures)


def state(**fields: Any) -> ModelState:
    """Return a healthy model in production, except for `fields`."""
    shown = ModelVersion(pk=1, version="1.0.0", stage=Stage.PRODUCTION, task_type="classification")
    healthy: dict[str, Any] = {
        "pk": 1,
        "name": "classifier",
        "shown": shown,
        "versions": {Stage.PRODUCTION: 1},
        "recent": TrafficCounts(),
        "by_minute": ByMinute([0] * 60, [0] * 60),
        "facts": VersionFacts(has_reference=True),
        "others": {},
    }
    return ModelState(**{**healthy, **fields})


def shorts(*states: ModelState) -> list[tuple[str, Urgency]]:
    return [(reason.short, reason.urgency) for one in states for reason in reasons_of(one)]


def test_a_healthy_model_needs_no_attention() -> None:
    assert shorts(state()) == []


def histogram(edges: tuple[float, ...], *, at: float, times: int) -> list[int]:
    found = [0] * (len(edges) + 1)
    found[edges.index(at)] = times
    return found


@pytest.mark.parametrize(
    ("recent", "expected"),
    [
        (counts(success=94, error=6), [("failing", Urgency.NOW)]),
        (counts(success=95, error=5), []),
        (counts(success=1, rejected=99), [("rejecting", Urgency.SOON)]),
        (counts(success=80, rejected=5), [("rejecting", Urgency.SOON)]),
        (counts(success=95, rejected=5), []),
        (counts(success=1, rejected=4), []),
        (counts(success=9, latency_counts=histogram(LATENCY_EDGES, at=1.0, times=9)), [("slow", Urgency.SOON)]),
        (counts(success=9, latency_counts=histogram(LATENCY_EDGES, at=0.5, times=9)), []),
        (counts(confidence_counts=histogram(CONFIDENCE_EDGES, at=0.55, times=10)), [("low confidence", Urgency.SOON)]),
        (counts(confidence_counts=histogram(CONFIDENCE_EDGES, at=0.55, times=9)), []),
        (counts(confidence_counts=histogram(CONFIDENCE_EDGES, at=0.7, times=10)), []),
    ],
)
def test_failing_rejected_slow_and_low_confidence_traffic_needs_attention(
    recent: TrafficCounts, expected: list[tuple[str, Urgency]]
) -> None:
    assert shorts(state(recent=recent)) == expected


def test_the_limits_equal_those_of_the_alerts() -> None:
    rules = {
        rule["alert"]: rule["expr"]
        for group in yaml.safe_load(RULES.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    assert f"p95_rate5m > {attention.LARGEST_P95_SECONDS}" in rules["HighPredictionLatency"]
    assert f"ratio_rate5m > {attention.LARGEST_ERROR_RATIO}" in rules["HighErrorRate"]
    assert f"ratio_rate5m > {attention.LARGEST_REJECTED_RATIO}" in rules["RequestsRejected"]
    assert f"increase10m >= {attention.FEWEST_REJECTED}" in rules["RequestsRejected"]
    assert f"median_rate15m < {attention.SMALLEST_MEDIAN_CONFIDENCE}" in rules["LowConfidencePredictions"]
    assert f"increase15m >= {attention.FEWEST_CONFIDENCES}" in rules["LowConfidencePredictions"]


def incident(**fields: Any) -> DriftIncident:
    return DriftIncident(pk=1, opened_at=timezone.now(), **fields)


def test_an_incident_is_urgent_until_it_is_acknowledged_or_snoozed() -> None:
    now = timezone.now()
    for fields, urgency, words in [
        ({}, Urgency.NOW, "It is not acknowledged yet."),
        ({"acknowledged_at": now}, Urgency.SOON, "It is acknowledged."),
        ({"snoozed_until": now + timedelta(hours=1)}, Urgency.SOON, "Snoozed until"),
        ({"snoozed_until": now - timedelta(hours=1)}, Urgency.NOW, "It is not acknowledged yet."),
    ]:
        facts = VersionFacts(has_reference=True, incident=incident(**fields), drifted=("a", "b", "c", "d"))
        (reason,) = reasons_of(state(facts=facts))
        assert reason.urgency == urgency
        assert "a, b, c and 1 more" in reason.text
        assert words in reason.text


def test_reasons_of_other_versions_name_the_version_and_are_less_urgent() -> None:
    report = PerformanceReport(pk=1, drop=unstructure(DROP))
    others = {"2.0.0": VersionFacts(incident=incident(), drifted=("age",)), "3.0.0": VersionFacts(report=report)}
    found = reasons_of(state(recent=counts(error=1), others=others))
    assert [(reason.short, reason.urgency) for reason in found] == [
        ("failing", Urgency.NOW),
        ("2.0.0 drift incident", Urgency.SOON),
        ("3.0.0 performance drop", Urgency.SOON),
    ]
    assert found[1].text.startswith("2.0.0: Drift incident for")
    assert found[2].text == f"3.0.0: {DROP.sentence}"
    # Missing steps of a version do not matter before it is in production.
    assert shorts(state(others={"2.0.0": VersionFacts(has_reference=False)})) == []


@pytest.mark.parametrize("status", [status for status in DropStatus if status != DropStatus.DROP])
def test_only_a_confirmed_drop_needs_attention(status: DropStatus) -> None:
    report = PerformanceReport(pk=1, drop=unstructure(DROP))
    (reason,) = reasons_of(state(facts=VersionFacts(has_reference=True, report=report)))
    assert (reason.short, reason.text) == ("performance drop", DROP.sentence)
    other = PerformanceReport(pk=1, drop=unstructure(replace(DROP, status=status)))
    assert shorts(state(facts=VersionFacts(has_reference=True, report=other))) == []


def test_scores_above_their_threshold_and_failed_checks_need_attention() -> None:
    check = DriftCheck(pk=1, status=CheckStatus.SUCCEEDED, prediction_is_drifted=True)
    failed = DriftCheck(pk=2, status=CheckStatus.FAILED, error_message="The window has no rows.")
    facts = VersionFacts(has_reference=True, check=check, latest_check=failed, drifted=("age",))
    found = reasons_of(state(facts=facts))
    assert [reason.short for reason in found] == ["check failed", "above threshold"]
    assert found[0].text == "The window has no rows."
    assert "age, its predictions" in found[1].text
    with_incident = replace(facts, incident=incident(), latest_check=check)
    assert shorts(state(facts=with_incident)) == [("drift incident", Urgency.NOW)]


def test_missing_steps_are_the_least_urgent() -> None:
    assert shorts(state(shown=None, versions={}, facts=VersionFacts())) == [("no version", Urgency.SETUP)]
    staged = ModelVersion(pk=1, version="1.0.0", stage=Stage.STAGING, task_type="classification")
    not_ready = state(shown=staged, versions={Stage.STAGING: 1}, facts=VersionFacts())
    assert shorts(not_ready) == [("no reference", Urgency.SETUP), ("not in production", Urgency.SETUP)]


def test_failed_and_late_jobs_need_attention() -> None:
    now = timezone.now()
    name = "drift.tasks.check_due_versions"  # every 20 seconds
    for age, error, expected in [
        (99, "", []),
        (101, "", ["job late"]),
        (1, "ValueError: no", ["job failed"]),
    ]:
        run = JobRun(pk=1, job_name=name, last_started_at=now - timedelta(seconds=age), last_error=error)
        assert [reason.short for reason in late_jobs(now, [run])] == expected
    other = JobRun(pk=2, job_name="another.task", last_started_at=now - timedelta(days=9))
    assert list(late_jobs(now, [other])) == []


def test_urgent_models_come_first_then_the_busiest(version: ModelVersion) -> None:
    for name in ("idle", "busy", "failing"):
        uploaded_version(name)
    rollup("busy", success=50)
    rollup("failing", success=1, error=1)
    rollup("classifier", success=3)
    context = overview_context(timezone.now())
    assert [line.name for line in context["lines"]] == ["failing", "busy", "classifier", "idle"]
    assert [reason.subject for _, reason in context["urgent"]] == ["failing"]
    assert context["requests_per_minute"].value == pytest.approx(55 / 9.5, rel=0.06)


def rollup(model_name: str, **figures: int) -> None:
    TrafficRollup.objects.create(
        version=ModelVersion.objects.get(model__name=model_name),
        span_seconds=RollupSpan.MINUTE,
        begins_at=timezone.now().replace(second=0, microsecond=0),
        latency_counts=[0] * 14,
        confidence_counts=[0] * 14,
        class_counts=[],
        **figures,
    )


def test_the_primary_version_represents_a_model_and_all_traffic_counts(version: ModelVersion) -> None:
    shadow = uploaded_version("classifier", "2.0.0", production=False)
    set_stage(version=shadow, stage=Stage.SHADOW)
    now = timezone.now()
    for row in (version, shadow):
        TrafficRollup.objects.create(
            version=row,
            span_seconds=RollupSpan.MINUTE,
            begins_at=now.replace(second=0, microsecond=0),
            success=2,
            latency_counts=[0] * 14,
            confidence_counts=[0] * 14,
            class_counts=[1],
        )
    (found,) = model_states(now)
    assert found.shown == version
    assert found.versions == {Stage.PRODUCTION: 1, Stage.SHADOW: 1}
    assert (found.recent.success, found.by_minute.requests[-1]) == (4, 4)
    (line,) = overview_context(now)["lines"]
    assert line.stage == "production, 1 more in shadow"
    set_stage(version=version, stage=Stage.ARCHIVED)
    (found,) = model_states(now)
    assert found.shown == shadow


def test_the_incident_of_another_version_is_shown(version: ModelVersion, admin_client: Client) -> None:
    challenger = uploaded_version("classifier", "2.0.0", production=False)
    set_stage(version=challenger, stage=Stage.SHADOW)
    reference = ReferenceDataset.objects.create(version=challenger, file="r.csv", original_filename="r.csv")
    check = DriftCheck.objects.create(
        version=challenger, reference=reference, window_end="1-0", rows_seen=100, status=CheckStatus.SUCCEEDED
    )
    DriftIncident.objects.create(
        version=challenger, opened_by=check, last_check=check, opened_at=timezone.now(), counted_rows=100
    )
    page = admin_client.get("/admin/").content.decode()
    assert re.search(r"<strong>1</strong> open incident\b", page)
    assert "2.0.0: Drift incident for" in page
    assert "No incident is open" not in page
    model_page = admin_client.get(reverse("model-page", args=["classifier"])).content.decode()
    assert "2.0.0: Drift incident for" in model_page


def test_rows_of_a_model_that_is_served_elsewhere_are_its_traffic(version: ModelVersion, admin_client: Client) -> None:
    rollup("classifier", predictions=400)
    now = timezone.now()
    context = overview_context(now)
    (line,) = context["lines"]
    assert (line.traffic_of, context["requests_per_minute"].value) == ("rows", 0)
    assert line.per_minute.value == pytest.approx(400 / 9.5, rel=0.06)
    assert line.sparkline_text == "400 rows in the last 60 minutes, at most 400 in one minute"
    page = admin_client.get("/admin/").content.decode()
    assert re.search(r'data-label="Rows per minute".*</data>\s*<small>rows</small>', page)


def test_the_number_of_queries_does_not_grow_with_the_models(admin_client: Client, version: ModelVersion) -> None:
    admin_client.get("/admin/")
    with CaptureQueriesContext(connection) as few:
        admin_client.get("/admin/")
    for place in range(5):
        uploaded_version(f"model-{place}")
    with CaptureQueriesContext(connection) as many:
        admin_client.get("/admin/")
    assert len(many) == len(few)


def test_the_height_of_bars_is_proportional() -> None:
    assert bars_path([0, 5, 10], height=20) == "M1.1 20v-10h.8V20z M2.1 20v-20h.8V20z"
    assert bars_path([0, 0], height=20) == ""


def test_an_empty_overview_explains_how_to_start(admin_client: Client) -> None:
    page = admin_client.get("/admin/").content.decode()
    assert "No model is registered yet" in page
    assert "/admin/models_registry/model/add/" in page


def test_a_person_without_a_role_sees_no_figures(client: Client, version: ModelVersion) -> None:
    client.force_login(User.objects.create_user("nobody", password="secret", is_staff=True))
    page = client.get("/admin/").content.decode()
    assert "You have no role yet" in page
    assert "classifier" not in page
