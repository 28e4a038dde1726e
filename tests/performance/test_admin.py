"""Performance reports and policies in the admin."""

import pytest
import redis
from django.test import Client

from accounts.models import ChangeRecord
from models_registry.models import Model
from performance.models import PerformancePolicy, PerformanceReport
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
    sent = {"model": model.pk, "window_rows": 500, "minimum_rows": 50, "false_alarm_budget": 500}
    assert admin_client.post(f"{POLICIES}add/", sent).status_code == 302
    policy = PerformancePolicy.objects.get()
    assert (policy.window_rows, policy.false_alarm_budget) == (500, 500)
    changed = sent | {"false_alarm_budget": 1000}
    assert admin_client.post(f"{POLICIES}{policy.pk}/change/", changed).status_code == 302
    assert "False alarm budget" in ChangeRecord.objects.latest("pk").text


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("minimum_rows", 29, "Give at least 30 rows."),
        ("window_rows", 40, "Give at least the minimum of 50 rows."),
        ("false_alarm_budget", 0, "greater than or equal to 1"),
        ("false_alarm_budget", 10**9 + 1, "At most one false alarm in 1,000,000,000 judgements."),
        ("window_rows", 100_001, "less than or equal to 100000"),
        ("minimum_rows", 9223372036854775807, "less than or equal to 100000"),
    ],
)
def test_an_invalid_policy_is_refused(admin_client: Client, field: str, value: float, reason: str) -> None:
    model = Model.objects.create(name="classifier")
    sent = {"model": model.pk, "window_rows": 500, "minimum_rows": 50, "false_alarm_budget": 500, field: value}
    response = admin_client.post(f"{POLICIES}add/", sent)
    assert response.status_code == 200
    assert reason in response.content.decode()
    assert not PerformancePolicy.objects.exists()
