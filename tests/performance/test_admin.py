"""Performance in the admin: reports that are read, policies that are set."""

import pytest
import redis
from django.test import Client

from accounts.models import ChangeRecord
from models_registry.models import Model
from performance.admin.performance import drop_text
from performance.models import PerformancePolicy, PerformanceReport
from performance.services.reports import measure_due_versions
from tests.factories import uploaded_version
from tests.performance.test_reports import flowers, label, predict, put_reference_in_force

pytestmark = pytest.mark.django_db

REPORTS = "/admin/performance/performancereport/"
POLICIES = "/admin/performance/performancepolicy/"


def test_a_report_shows_realised_and_estimated_figures(
    client: Client, admin_client: Client, redis_client: redis.Redis
) -> None:
    put_reference_in_force(uploaded_version("classifier"))
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


def test_a_report_without_ground_truth_says_what_to_do(
    client: Client, admin_client: Client, redis_client: redis.Redis
) -> None:
    uploaded_version("classifier")
    predict(client, flowers(200, seed=2)[0])
    measure_due_versions()
    report = PerformanceReport.objects.get()
    page = admin_client.get(f"{REPORTS}{report.pk}/change/").content.decode()
    assert "There are no figures by ground truth" in page
    assert "There is no estimate: there is no reference in force." in page


def test_a_policy_is_set_and_the_change_is_logged(admin_client: Client) -> None:
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
        ("minimum_rows", 29, "At least 30 rows are needed for figures."),
        ("window_rows", 40, "The window must hold the minimum of 50 rows."),
        ("largest_drop", -0.1, "greater than or equal to 0"),
        ("largest_drop", 100.1, "At most 100: that many times the error of the reference."),
        ("largest_drop", 1e308, "At most 100"),
        ("window_rows", 100_001, "less than or equal to 100000"),
        ("minimum_rows", 9223372036854775807, "less than or equal to 100000"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(admin_client: Client, field: str, value: float, reason: str) -> None:
    model = Model.objects.create(name="classifier")
    sent = {"model": model.pk, "window_rows": 500, "minimum_rows": 50, "largest_drop": 0.02, field: value}
    response = admin_client.post(f"{POLICIES}add/", sent)
    assert response.status_code == 200
    assert reason in response.content.decode()
    assert not PerformancePolicy.objects.exists()


@pytest.mark.parametrize(
    ("kinds", "largest_drop", "is_taken"),
    [
        (["classification"], 1, True),
        (["classification"], 1.1, False),
        (["regression"], 1.1, True),
        (["classification", "regression"], 1.1, True),
        ([], 1.1, True),
    ],
)
def test_accuracy_cannot_drop_by_more_than_1(
    admin_client: Client, kinds: list[str], largest_drop: float, is_taken: bool
) -> None:
    model = Model.objects.create(name="classifier")
    for kind in kinds:
        model.versions.create(version=kind, artefact="m.onnx", artefact_bytes=1, task_type=kind)
    sent = {"model": model.pk, "window_rows": 500, "minimum_rows": 50, "largest_drop": largest_drop}
    response = admin_client.post(f"{POLICIES}add/", sent)
    assert PerformancePolicy.objects.exists() == is_taken
    policy = PerformancePolicy.objects.first() or PerformancePolicy.objects.create(model=model)
    changed = admin_client.post(f"{POLICIES}{policy.pk}/change/", sent)
    assert [response.status_code, changed.status_code] == ([302, 302] if is_taken else [200, 200])
    for answer in [] if is_taken else [response, changed]:
        assert "At most 1: accuracy cannot drop by more." in answer.content.decode()


@pytest.mark.parametrize(
    ("drop", "realised", "text"),
    [
        (None, {"accuracy": 0.8}, "-"),
        (0.065, {"accuracy": 0.716}, "6.5 points worse"),
        (-0.039, {"accuracy": 0.82}, "3.9 points better"),
        (0.25, {"mean_absolute_error": 4.0}, "25.0 % worse"),
    ],
)
def test_a_drop_says_which_way_it_goes(drop: float | None, realised: dict[str, float], text: str) -> None:
    assert drop_text(PerformanceReport(drop=drop, realised=realised)) == text
