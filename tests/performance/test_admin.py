"""Performance reports and policies in the admin."""

import re

import pytest
import redis
from django.test import Client
from django.utils import timezone

from accounts.models import ChangeRecord
from models_registry.models import Model
from performance.models import PerformancePolicy, PerformanceReport, Period
from tests.factories import uploaded_version
from tests.performance.test_reports import activate_reference, flowers, label, measure_due_versions, predict

pytestmark = pytest.mark.django_db

REPORTS = "/admin/performance/performancereport/"
POLICIES = "/admin/performance/performancepolicy/"


def test_a_report_shows_realised_and_estimated_figures(
    client: Client, admin_client: Client, redis_client: redis.Redis
) -> None:
    activate_reference(uploaded_version("classifier"))
    rows, species = flowers(300, seed=1)
    label(predict(client, rows), species)
    measure_due_versions()
    report = PerformanceReport.objects.filter(period="latest").get()
    page = admin_client.get(f"{REPORTS}{report.pk}/change/").content.decode()
    assert report.realised is not None
    assert report.estimated is not None
    for text in ("Estimated for the same", "On the reference", "ROC AUC", "virginica"):
        assert text in page
    assert f"{report.realised['accuracy']:.4g}" in page
    assert f"{report.estimated['accuracy']:.4g}" in page
    listed = admin_client.get(REPORTS).content.decode()
    assert "300 of 300 (100%)" in listed


def test_a_report_without_ground_truth_explains_what_to_do(
    client: Client, admin_client: Client, redis_client: redis.Redis
) -> None:
    uploaded_version("classifier")
    predict(client, flowers(200, seed=2)[0])
    measure_due_versions()
    report = PerformanceReport.objects.get()
    page = admin_client.get(f"{REPORTS}{report.pk}/change/").content.decode()
    assert "There are no realised figures" in page
    assert "There is no estimate: there is no active reference." in page


def test_a_change_of_a_policy_is_in_the_audit_trail(admin_client: Client) -> None:
    model = Model.objects.create(name="classifier")
    sent = {"model": model.pk, "window_rows": 500, "minimum_rows": 50, "largest_drop": 0.02}
    assert admin_client.post(f"{POLICIES}add/", sent).status_code == 302
    policy = PerformancePolicy.objects.get()
    assert (policy.window_rows, policy.largest_drop) == (500, 0.02)
    changed = sent | {"largest_drop": 0.1}
    assert admin_client.post(f"{POLICIES}{policy.pk}/change/", changed).status_code == 302
    assert "Largest drop" in ChangeRecord.objects.latest("pk").text


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("minimum_rows", 29, "Give at least 30 rows."),
        ("window_rows", 40, "Give at least the minimum of 50 rows."),
        ("largest_drop", -0.1, "greater than or equal to 0"),
        ("largest_drop", 100.1, "The limit is 100 times the error on the reference."),
        ("largest_drop", 1e308, "The limit is 100 times"),
        ("window_rows", 100_001, "less than or equal to 100000"),
        ("minimum_rows", 9223372036854775807, "less than or equal to 100000"),
    ],
)
def test_an_invalid_policy_is_refused(admin_client: Client, field: str, value: float, reason: str) -> None:
    model = Model.objects.create(name="classifier")
    sent = {"model": model.pk, "window_rows": 500, "minimum_rows": 50, "largest_drop": 0.02, field: value}
    response = admin_client.post(f"{POLICIES}add/", sent)
    assert response.status_code == 200
    assert reason in response.content.decode()
    assert not PerformancePolicy.objects.exists()


@pytest.mark.parametrize(
    ("kinds", "largest_drop", "is_accepted"),
    [
        (["classification"], 1, True),
        (["classification"], 1.1, False),
        (["regression"], 1.1, True),
        (["classification", "regression"], 1.1, True),
        ([], 1.1, True),
    ],
)
def test_accuracy_cannot_drop_by_more_than_1(
    admin_client: Client, kinds: list[str], largest_drop: float, is_accepted: bool
) -> None:
    model = Model.objects.create(name="classifier")
    for kind in kinds:
        model.versions.create(version=kind, artefact="m.onnx", artefact_bytes=1, task_type=kind)
    sent = {"model": model.pk, "window_rows": 500, "minimum_rows": 50, "largest_drop": largest_drop}
    response = admin_client.post(f"{POLICIES}add/", sent)
    assert PerformancePolicy.objects.exists() == is_accepted
    policy = PerformancePolicy.objects.first() or PerformancePolicy.objects.create(model=model)
    changed = admin_client.post(f"{POLICIES}{policy.pk}/change/", sent)
    assert [response.status_code, changed.status_code] == ([302, 302] if is_accepted else [200, 200])
    for page in [] if is_accepted else [response, changed]:
        assert "Give at most 1: an accuracy cannot drop by more." in page.content.decode()


@pytest.mark.parametrize(
    ("drop", "realised", "text"),
    [
        (None, {"accuracy": 0.8}, "-"),
        (0.065, {"accuracy": 0.716}, "6.5 points worse"),
        (-0.039, {"accuracy": 0.82}, "3.9 points better"),
        (0.25, {"mean_absolute_error": 4.0}, "25.0 % worse"),
    ],
)
def test_a_drop_has_a_direction(
    admin_client: Client, drop: float | None, realised: dict[str, float], text: str
) -> None:
    now = timezone.now()
    PerformanceReport.objects.create(
        version=uploaded_version("classifier"),
        period=Period.LATEST,
        started_at=now,
        ended_at=now,
        computed_at=now,
        predicted_rows=1000,
        labelled_rows=1000,
        realised=realised,
        drop=drop,
    )
    page = admin_client.get(REPORTS).content.decode()
    assert re.search(rf"<td[^>]*field-drop_points[^>]*>\s*{re.escape(text)}\s*</td>", page)
