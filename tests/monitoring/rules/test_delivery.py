"""From a scraped metric to the messages: the real Prometheus and Alertmanager, sixty times as fast."""

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.services.alerting import Alerting, faster, running_alerting

FACTOR = 60
PATIENCE_SECONDS = 60


def exposition(*, score: float, incident: int, score_of_pricing: float = 0.0) -> str:
    return f"""\
ml_collector_success 1
ml_job_last_success_timestamp_seconds{{job_name="drift.tasks.check_due_versions"}} {time.time()}
ml_feature_drift_score{{model_name="credit",feature_name="<income> & rent"}} {score}
ml_feature_drift_threshold{{model_name="credit",feature_name="<income> & rent"}} 0.15
ml_drift_incident_open{{model_name="credit"}} {incident}
ml_feature_drift_score{{model_name="pricing",feature_name="fare"}} {score_of_pricing}
ml_feature_drift_threshold{{model_name="pricing",feature_name="fare"}} 0.15
"""


@pytest.fixture
def alerting(tmp_path: Path) -> Iterator[Alerting]:
    with running_alerting(tmp_path, factor=FACTOR) as running:
        running.sinks.metrics = exposition(score=0.1, incident=0)
        yield running


def eventually(what: str, found: Callable[[], Any]) -> Any:
    """Return the first true result of `found`."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (result := found()):
        assert time.monotonic() < deadline, f"{what} did not come."
        time.sleep(0.1)
    return result


def slack_of(alerting: Alerting, title: str) -> dict[str, Any] | None:
    return next((message for message in alerting.sinks.slack if message["title"] == title), None)


def mail_of(alerting: Alerting, title: str) -> Any:
    return next((mail for mail in alerting.sinks.mails if mail["Subject"] == title), None)


@pytest.mark.timeout(300)
def test_drift_its_end_and_a_stopped_target_are_reported(alerting: Alerting) -> None:
    eventually("The watchdog", lambda: alerting.alerts().get("Watchdog") == "active")

    alerting.sinks.metrics = exposition(score=0.31, incident=1)
    title = "[CRITICAL] DriftConfirmed of credit"
    message = eventually("Slack's message", lambda: slack_of(alerting, title))
    assert message["title_link"] == "http://localhost:8000/go/models/credit/drift"
    assert "http://localhost:8000/runbooks/DriftConfirmed.md|What to do" in message["text"]
    assert message["color"] == "danger"
    mail = eventually("The mail", lambda: mail_of(alerting, title))
    assert mail["To"] == "on-call@example.org"
    assert "http://localhost:8000/go/models/credit/drift" in mail.get_body(("plain",)).get_content()
    assert 'href="http://localhost:8000/runbooks/DriftConfirmed.md"' in mail.get_body(("html",)).get_content()

    eventually("The inhibited alert", lambda: alerting.alerts().get("DataDriftDetected") == "suppressed")

    # The same alert of another model, which is not inhibited, arrives later than that of credit would have.
    alerting.sinks.metrics = exposition(score=0.31, incident=1, score_of_pricing=0.31)
    eventually("The other warning", lambda: slack_of(alerting, "[WARNING] DataDriftDetected of pricing"))
    assert slack_of(alerting, "[WARNING] DataDriftDetected of credit") is None

    alerting.sinks.metrics = exposition(score=0.31, incident=0)
    eventually("The end of it", lambda: slack_of(alerting, "[RESOLVED] DriftConfirmed of credit"))
    eventually("The mail of its end", lambda: mail_of(alerting, "[RESOLVED] DriftConfirmed of credit"))
    warning = eventually("What was inhibited", lambda: slack_of(alerting, "[WARNING] DataDriftDetected of credit"))
    assert "*&lt;income&gt; &amp; rent of credit has drifted*" in warning["text"]
    assert "/go/models/credit/drift?feature=%3Cincome%3E+%26+rent|Open in mlmon" in warning["text"]
    html = eventually("Its mail", lambda: mail_of(alerting, "[WARNING] DataDriftDetected of credit"))
    assert html["To"] == "ml-team@example.org"
    assert "<income>" not in html.get_body(("html",)).get_content()

    alerting.stop_target()
    eventually("The last message", lambda: slack_of(alerting, "[CRITICAL] TargetDown"))
    assert not [message for message in alerting.sinks.slack if "Watchdog" in message["title"]]


@pytest.mark.timeout(120)
def test_rejections_inhibit_the_missing_predictions_of_the_same_model(alerting: Alerting) -> None:
    labels = {"severity": "warning", "service": "mlmon"}
    names = [("NoPredictions", "credit"), ("NoPredictions", "pricing"), ("RequestsRejected", "credit")]
    sent = [{"labels": {**labels, "alertname": name, "model_name": model}} for name, model in names]
    request = urllib.request.Request(
        f"{alerting.alertmanager_url}/api/v2/alerts", json.dumps(sent).encode(), {"Content-Type": "application/json"}
    )

    def states() -> dict[tuple[str, str], str]:
        urllib.request.urlopen(request, timeout=10).close()  # repeated, because an alert ends if nobody repeats it
        return {
            (alert["labels"]["alertname"], alert["labels"].get("model_name", "")): alert["status"]["state"]
            for alert in alerting.alert_list()
        }

    eventually("The inhibition", lambda: states().get(("NoPredictions", "credit")) == "suppressed")
    eventually("The other model's warning", lambda: slack_of(alerting, "[WARNING] NoPredictions of pricing"))
    eventually("The cause", lambda: slack_of(alerting, "[WARNING] RequestsRejected of credit"))
    assert slack_of(alerting, "[WARNING] NoPredictions of credit") is None


def test_durations_are_divided_everywhere() -> None:
    """By hand: 5m / 60 = 5 s, 1w / 60 = 10,080 s. Names and labels that look like durations are unchanged."""
    rule = {
        "record": "model_name:x:rate5m",
        "expr": 'sum(rate(x{le="5m"}[5m])) and y:rate30m offset 1w > 600',
        "for": "5m",
    }
    assert faster([rule], 60) == [
        {
            "record": "model_name:x:rate5m",
            "expr": 'sum(rate(x{le="5m"}[5000ms])) and y:rate30m offset 10080000ms > 600',
            "for": "5000ms",
        }
    ]
