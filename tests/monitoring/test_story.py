"""A bad day, end to end with real programs: the messages in Slack and in the mailboxes."""

import html
import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest

from tests.monitoring.dashboards.expressions import MAY_BE_EMPTY, expressions
from tests.services.debian_programs import program
from tests.services.processes import PROJECT

pytestmark = pytest.mark.timeout(600)

REQUESTS = {
    "HighPredictionLatency of pricing": ("WARNING", "/go/models/pricing"),
    "HighErrorRate of pricing": ("CRITICAL", "/go/models/pricing"),
    "RequestsRejected of pricing": ("WARNING", "/go/models/pricing#rejections"),
    "LowConfidencePredictions of vision": ("WARNING", "/go/models/vision"),
}
DRIFT = {
    "DriftConfirmed of credit": ("CRITICAL", "/go/models/credit/drift"),
    "DataDriftDetected of credit": ("WARNING", "/go/models/credit/drift?feature=signal"),
    "PredictionDriftDetected of credit": ("WARNING", "/go/models/credit/drift"),
}
MISSING = {"DriftConfirmed of claims": ("CRITICAL", "/go/models/claims/drift")}
ALERTS = REQUESTS | DRIFT | MISSING
MAILBOXES = {"CRITICAL": "on-call@example.org", "WARNING": "ml-team@example.org"}


@pytest.fixture(scope="module")
def day() -> Any:
    """Return the messages of one run."""
    for name in ("postgres", "prometheus", "prometheus-alertmanager"):
        program(name)
    command = [sys.executable, "-m", "tests.monitoring.story"]
    done = subprocess.run(
        command, cwd=PROJECT, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-20_000:]
    print(done.stdout)  # noqa: T201 -- shown where a test fails
    return json.loads(done.stdout)


def slack_of(day: Any, title: str) -> Any:
    return next(message for message in day["slack"] if message["title"] == title)


def mail_of(day: Any, title: str) -> Any:
    return next(mail for mail in day["mails"] if mail["subject"] == title)


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_reaches_slack_and_the_right_mailbox(day: Any, alert: str) -> None:
    severity, path = ALERTS[alert]
    runbook = f"{day['mlmon_url']}/runbooks/{alert.partition(' ')[0]}.md"
    message, mail = slack_of(day, f"[{severity}] {alert}"), mail_of(day, f"[{severity}] {alert}")
    assert message["title_link"] == day["mlmon_url"] + path
    assert runbook in message["text"]
    assert mail["to"] == MAILBOXES[severity]
    assert day["mlmon_url"] + path in mail["text"]
    assert runbook in mail["text"]


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_is_resolved_when_its_cause_ends(day: Any, alert: str) -> None:
    title = f"[RESOLVED] {alert}"
    assert slack_of(day, title)["color"] == "good"
    assert mail_of(day, title)["to"] == MAILBOXES[ALERTS[alert][0]]


def test_only_the_drifted_feature_is_named(day: Any) -> None:
    assert "*signal of credit has drifted*" in slack_of(day, "[WARNING] DataDriftDetected of credit")["text"]
    messages = json.dumps([day["slack"], day["mails"]])
    assert "fare of credit" not in messages
    assert "seat of credit" not in messages


def test_a_renamed_feature_is_named_on_the_page_and_in_the_message(day: Any) -> None:
    message = slack_of(day, "[WARNING] RequestsRejected of pricing")
    assert "Most often: unknown, unknown_feature." in message["text"]
    section = re.search(r'id="rejections".*?</section>', day["pages"]["rejections"], re.DOTALL)
    assert section
    text = html.unescape(section[0])
    assert 'the model has no feature "fare_in_euro", and "fare" is missing' in text
    counts = re.findall(r'<data class="last-hour" value="(\d+)">', section[0])
    assert int(counts[0]) > 10


def test_the_verdict_suppresses_the_threshold_alerts_until_it_is_snoozed(day: Any) -> None:
    moments = [what for _, what in day["moments"]]
    for alert in ("DataDriftDetected", "PredictionDriftDetected"):
        suppressed = moments.index(f"{alert} of credit is suppressed")
        sent = moments.index(f"[WARNING] {alert} of credit")
        assert suppressed < moments.index("the incident is snoozed") < sent
    for titles in ([message["title"] for message in day["slack"]], [mail["subject"] for mail in day["mails"]]):
        drift = [title for title in titles if "credit" in title]
        assert drift[0] == "[CRITICAL] DriftConfirmed of credit"


def test_a_stopped_server_suppresses_the_other_alerts(day: Any) -> None:
    moments = [what for _, what in day["moments"]]
    assert moments[-1] == "LowConfidencePredictions of vision is suppressed"
    assert day["slack"][-1]["title"] == day["mails"][-1]["subject"] == "[CRITICAL] TargetDown"


def test_every_panel_of_every_dashboard_has_data(day: Any) -> None:
    asked = day["dashboards"]
    assert [(row["dashboard"], row["place"]) for row in asked] == [row[:2] for row in expressions(rate_interval="1m")]
    assert {row["status"] for row in asked} == {"success"}
    assert [row for row in asked if row["warnings"]] == []
    empty = {(row["dashboard"], row["place"]) for row in asked if not row["points"]}
    assert empty - MAY_BE_EMPTY.keys() == set()


def test_a_feature_that_is_always_null_shows_in_the_api_the_gauges_and_on_the_pages(day: Any) -> None:
    emptied = day["emptied"]
    drift = emptied["drift"]
    seat = drift["feature_drift"]["seat"]
    assert (drift["verdict"]["status"], [found["name"] for found in drift["verdict"]["listed"]]) == ("alarm", ["seat"])
    assert drift["verdict"]["sentence"].startswith("seat changed: 100 % missing; the reference has 0 %")
    assert drift["coverage"] == {"compared": 3, "not_compared": [], "left_out": []}
    assert (seat["score"], seat["n_current"], seat["n_missing_current"], seat["is_confirmed"]) == (1.0, 0, 1000, True)
    # Without values, the score is the rise in missing values.
    assert emptied["gauges"] == {
        "ml_feature_drift_score": [1.0],
        "ml_feature_drift_confirmed": [1.0],
        "ml_feature_missing_ratio": [1.0],
    }
    for page in ("incident", "check"):
        assert "100 % missing; the reference has 0 %" in emptied[page]
    assert "no drift" not in emptied["check"].partition('aria-label="Verdict"')[2].partition("</section>")[0]
    assert "Drift incident for" in emptied["model"]


def test_links_lead_to_the_page_that_shows_the_change(day: Any) -> None:
    pages = day["pages"]
    for alert, (severity, _) in REQUESTS.items():
        page = pages[f"[{severity}] {alert}"]
        assert page.startswith("/models/")
        assert alert.rpartition(" ")[2] in page
    for alert, (severity, _) in DRIFT.items():
        page = pages[f"[{severity}] {alert}"]
        assert page.startswith("/admin/drift/driftincident/")
        assert "credit 1.0.0" in page
