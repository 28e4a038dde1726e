"""The messages of a bad day, from the first slow request to the last mail; a program that the tests run.

``python -m tests.monitoring.story`` runs the real web server with two workers, a Celery worker and beat, Prometheus and
Alertmanager (with the project's rules and routes, sixty times as fast) and sinks for Slack and mail. It sends normal
traffic, then slow requests, failing requests, rows with a renamed feature, drifted rows, rows with a low confidence and
rows without the values of a feature, and stops the server. It prints the messages, what the API, the pages and the
gauges show of that feature, and the data of each panel of the dashboards, as JSON.
"""

import contextlib
import html
import io
import json
import re
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np

from tests.monitoring.dashboards.expressions import expressions
from tests.monitoring.story.moody_model import FEATURES, failing_rows, moody_onnx, rows
from tests.monitoring.story.traffic import post, predict, traffic
from tests.services.alerting import Alerting, query, query_range, running_alerting
from tests.services.processes import await_condition, free_port, stop_group
from tests.services.production_stack import production_stack
from tests.services.web_server import WebServer

FACTOR = 60
WEB_PROCESSES = 2
RATE_INTERVAL = "10s"  # Grafana would use at least 4 s for scrapes a second apart
SLOW_ROWS = 4_000  # of one request: four concurrent requests take more than a second on two fast processors
REFERENCE_ROWS = 4_000
LABELLED_ROWS = 1_200
LABEL_NOISE = 0.1
BATCH = 100
WINDOW = 1_000  # rows, the default of a drift policy
PATIENCE_SECONDS = 150
PRICING, CREDIT, VISION = "pricing", "credit", "vision"  # slow and failing; drifting; low confidence
CLAIMS, EMPTIED = "claims", "seat"  # a model, and the feature that its clients stop to send
GAUGES_OF_FEATURE = ("ml_feature_drift_score", "ml_feature_drift_confirmed", "ml_feature_missing_ratio")


@dataclass(slots=True)
class Story:
    """The running programs, and the moments at which things happened."""

    web: WebServer
    alerting: Alerting
    session: str
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(11))
    began_at: float = field(default_factory=time.monotonic)
    moments: list[tuple[float, str]] = field(default_factory=list)
    pages: dict[str, str] = field(default_factory=dict)
    emptied: dict[str, Any] = field(default_factory=dict)

    def note(self, what: str) -> None:
        """Record a moment and print it."""
        self.moments.append((round(time.monotonic() - self.began_at, 1), what))
        sys.stderr.write("{:6.1f} s  {}\n".format(*self.moments[-1]))

    def await_both(self, title: str) -> None:
        """Wait until Slack and a mailbox have a message with that title."""
        self._await(lambda: title in self.slack_titles(), f"{title} did not reach Slack")
        self._await(lambda: title in self.mail_titles(), f"{title} did not reach a mailbox")
        self.note(title)
        if not title.startswith("[RESOLVED]"):
            self.pages[title] = self._followed(title)

    def page(self, path: str) -> str:
        """Return a page as a logged-in person sees it."""
        request = urllib.request.Request(self.web.url + path, headers={"Cookie": f"sessionid={self.session}"})
        with urllib.request.urlopen(request, timeout=20) as response:
            return str(response.read().decode())

    def _followed(self, title: str) -> str:
        """Return the page that the link in Slack's message leads to after a login, or "" if the server is stopped."""
        link = next(message["title_link"] for message in self.alerting.sinks.slack if message["title"] == title)
        request = urllib.request.Request(link, headers={"Cookie": f"sessionid={self.session}"})
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                return f"{urllib.parse.urlsplit(response.url).path}: {_heading(response.read().decode())}"
        except OSError:
            return ""

    def await_state(self, name: str, model: str, state: str) -> None:
        """Wait until Alertmanager has that alert in that state."""
        self._await(lambda: (name, model, state) in self.alert_states(), f"{name} of {model} is not {state}")
        self.note(f"{name} of {model} is {state}")

    def await_scrapes(self, count: int) -> None:
        """Wait until Prometheus has `count` new scrapes of the server."""
        since = time.time()

        def has_them() -> bool:
            window = f"{int(time.time() - since) + 1}s"
            scrapes = f'count_over_time(up{{job="mlmon"}}[{window}]) >= {count}'
            return bool(query(self.alerting.prometheus_url, scrapes))

        self._await(has_them, f"Prometheus has not scraped the server {count} times")

    def await_query(self, expression: str) -> None:
        """Wait until Prometheus finds a series."""
        self._await(lambda: bool(query(self.alerting.prometheus_url, expression)), f"{expression} has no series")

    def slack_titles(self) -> list[str]:
        return [message["title"] for message in self.alerting.sinks.slack]

    def mail_titles(self) -> list[str]:
        return [str(mail["Subject"]) for mail in self.alerting.sinks.mails]

    def alert_states(self) -> set[tuple[str, str, str]]:
        return {
            (alert["labels"]["alertname"], alert["labels"].get("model_name", ""), alert["status"]["state"])
            for alert in self.alerting.alert_list()
        }

    def _await(self, condition: Callable[[], bool], what: str) -> None:
        try:
            await_condition(condition, what, seconds=PATIENCE_SECONDS, pause=0.2)
        except Exception:
            self.note(f"Slack has {self.slack_titles()}, alerts are {sorted(self.alert_states())}")
            raise


def main() -> None:
    """Run the story and print the messages."""
    scrape_port = free_port()
    settings = {
        "MLMON_API_ACCESS": "open",
        "MLMON_SCRAPE_PORT": str(scrape_port),
        "MLMON_DRIFT_TICK_SECONDS": "2",
        "MLMON_PERFORMANCE_TICK_SECONDS": "3",
    }
    with production_stack(**settings) as stack, contextlib.ExitStack() as ends:
        _register_models()
        web = ends.enter_context(stack.web(processes=WEB_PROCESSES))
        stack.start_program("worker")
        stack.start_program("beat")
        await_condition(lambda: _is_scraped(scrape_port), "the metrics are not scraped", seconds=60)
        alerting = ends.enter_context(
            running_alerting(stack.folder, factor=FACTOR, scraped_port=scrape_port, mlmon_url=web.url)
        )
        story = Story(web, alerting, session=_session_of_an_operator())
        _normal_day(story)
        with _normal(story, VISION):
            _slow(story)
        with _normal(story, PRICING):
            with _normal(story, VISION):
                story.await_both(f"[RESOLVED] HighPredictionLatency of {PRICING}")
                _failing(story)
                _renaming(story)
            with _low_confidence(story):
                _drifting(story)
                story.await_both(f"[WARNING] LowConfidencePredictions of {VISION}")
            with _normal(story, VISION):
                story.await_both(f"[RESOLVED] LowConfidencePredictions of {VISION}")
                _emptied(story)
            results = list(_dashboard_results(story))
            story.note("every expression of the dashboards was queried")
            _gone(story)
        sys.stdout.write(json.dumps(_messages(story) | {"dashboards": results}, indent=1) + "\n")


def _session_of_an_operator() -> str:
    """Return the session of a logged-in person."""
    from django.contrib.auth.models import User
    from django.test import Client

    client = Client()
    client.force_login(User.objects.create_superuser("operator"))
    return client.cookies["sessionid"].value


def _heading(page: str) -> str:
    found = re.search(r"<title>(.*?)</title>", page, re.DOTALL)
    return " ".join(html.unescape(found[1]).split()) if found else ""


def _is_scraped(port: int) -> bool:
    """Return whether a scrape shows the drift job, which means that worker and beat are running too."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as response:
            return b"ml_job_last_success_timestamp_seconds{" in response.read()
    except OSError:
        return False


def _register_models() -> None:
    """Register four models; the drifting one has a labelled reference, and the last one an optional feature."""
    import pyarrow as pa
    import pyarrow.csv
    from django.core.files.base import ContentFile

    from models_registry.services.references import profile_reference, upload_reference
    from tests.factories import uploaded_version
    from tests.mlmon.observed import profiled_reference

    versions = {
        name: uploaded_version(name, onnx=moody_onnx(), features=FEATURES) for name in (PRICING, CREDIT, VISION)
    }
    rng = np.random.default_rng(3)
    reference = rows(REFERENCE_ROWS, rng)
    columns = {name: reference[:, index] for index, name in enumerate(FEATURES)}
    sink = io.BytesIO()
    pyarrow.csv.write_csv(pa.table({**columns, "label": _labels(reference, rng)}), sink)
    uploaded = upload_reference(
        version=versions[CREDIT],
        file=ContentFile(sink.getvalue(), name="reference.csv"),
        filename="reference.csv",
        label_column="label",
        enqueue=False,
    )
    assert profile_reference(reference_id=uploaded.pk).is_active
    claims = uploaded_version(CLAIMS, onnx=moody_onnx(), features=FEATURES, optional=(EMPTIED,))
    profiled_reference(claims, reference, FEATURES)


def _labels(features: np.ndarray[Any, Any], rng: np.random.Generator) -> list[str]:
    """Return the ground truth: the sign of the signal, inverted for one row in ten."""
    right = features[:, 0] > 0
    return [str(int(label)) for label in np.where(rng.random(len(features)) < LABEL_NOISE, ~right, right)]


def _send(story: Story, model: str, total: int, *, shift: float = 0.0, labelled: bool = False) -> None:
    """Let `model` predict `total` rows, and send their ground truth if `labelled`."""
    for _ in range(total // BATCH):
        sent = rows(BATCH, story.rng, shift=shift)
        status, body = predict(story.web.port, model, sent)
        assert status == 200, body
        if labelled:
            items = [
                {"prediction_id": row["prediction_id"], "actual": actual}
                for row, actual in zip(body["predictions"], _labels(sent, story.rng), strict=True)
            ]
            status, body = post(story.web.port, "/api/v1/feedback", items)
            assert status == 200, body


def _normal_day(story: Story) -> None:
    """Send the traffic of a normal day, and check that there are no messages."""
    _send(story, CREDIT, LABELLED_ROWS, labelled=True)
    with _normal(story, PRICING), _normal(story, VISION):
        story.await_state("Watchdog", "", "active")
        # Each scrape is a second after the one before, and no alert about requests waits longer than 15 s.
        story.await_scrapes(15)
    assert story.slack_titles() == story.mail_titles() == [], story.slack_titles()
    story.note("a normal day: no messages")


def _normal(story: Story, model: str) -> contextlib.AbstractContextManager[None]:
    """Send a little normal traffic."""
    return traffic(story.web.port, model, lambda: rows(1, story.rng), pause=0.1)


def _low_confidence(story: Story) -> contextlib.AbstractContextManager[None]:
    """Send rows with a low confidence."""
    return traffic(story.web.port, VISION, lambda: rows(1, story.rng, signal=0.03), pause=0.1)


def _slow(story: Story) -> None:
    """Send only slow requests: on a busy machine they are few, and fast ones would hide them."""
    story.note("requests become slow")
    with traffic(story.web.port, PRICING, lambda: rows(SLOW_ROWS, story.rng), pause=0.05, clients=4):
        story.await_both(f"[WARNING] HighPredictionLatency of {PRICING}")


def _failing(story: Story) -> None:
    story.note("requests fail")
    with traffic(story.web.port, PRICING, lambda: failing_rows(story.rng), pause=0.1):
        story.await_both(f"[CRITICAL] HighErrorRate of {PRICING}")
    story.await_both(f"[RESOLVED] HighErrorRate of {PRICING}")


def _renaming(story: Story) -> None:
    """Let a second client call a feature by another name, among the normal traffic, until it is repaired."""
    story.note("a client renames a feature")
    with traffic(story.web.port, PRICING, lambda: _renamed_rows(story), pause=0.1):
        story.await_both(f"[WARNING] RequestsRejected of {PRICING}")
        story.pages["rejections"] = story.page(f"/models/{PRICING}")
    story.note("the client is repaired")
    story.await_both(f"[RESOLVED] RequestsRejected of {PRICING}")


def _renamed_rows(story: Story) -> list[dict[str, float]]:
    """Return one row by name, in which `fare` has a new name."""
    (row,) = rows(1, story.rng).tolist()
    return [dict(zip((FEATURES[0], "fare_in_euro", FEATURES[2]), row, strict=True))]


def _drifting(story: Story) -> None:
    """Let the signal drift; an operator snoozes the incident, and the data return to normal."""
    story.note("rows drift")
    _send(story, CREDIT, WINDOW, shift=2.0)
    story.await_both(f"[CRITICAL] DriftConfirmed of {CREDIT}")
    for name in ("DataDriftDetected", "PredictionDriftDetected"):
        story.await_state(name, CREDIT, "suppressed")
        assert not [title for title in story.slack_titles() + story.mail_titles() if name in title]
    _snooze()
    story.note("the incident is snoozed")
    story.await_both(f"[RESOLVED] DriftConfirmed of {CREDIT}")
    story.await_both(f"[WARNING] DataDriftDetected of {CREDIT}")
    story.await_both(f"[WARNING] PredictionDriftDetected of {CREDIT}")
    _send(story, CREDIT, WINDOW)
    story.note("the data have returned to normal")
    story.await_both(f"[RESOLVED] DataDriftDetected of {CREDIT}")
    story.await_both(f"[RESOLVED] PredictionDriftDetected of {CREDIT}")


def _emptied(story: Story) -> None:
    """Let the clients of a model stop sending a feature; an operator closes the incident."""
    _send(story, CLAIMS, WINDOW)
    story.note(f"{EMPTIED} is always null")
    for _ in range(2 * WINDOW // BATCH):  # a check of less than a whole window may be the last one that is due
        sent = [[signal, fare, None] for signal, fare, _ in rows(BATCH, story.rng).tolist()]
        status, body = post(story.web.port, f"/api/v1/models/{CLAIMS}/predict", {"rows": sent})
        assert status == 200, body
    story.await_both(f"[CRITICAL] DriftConfirmed of {CLAIMS}")
    gauge = f'{{model_name="{CLAIMS}", feature_name="{EMPTIED}"}}'
    story.await_query(f"ml_feature_missing_ratio{gauge} == 1")
    with urllib.request.urlopen(f"{story.web.url}/api/v1/models/{CLAIMS}/drift", timeout=20) as response:
        drift = json.load(response)
    link = next(one["title_link"] for one in story.alerting.sinks.slack if one["title"].endswith(f"of {CLAIMS}"))
    story.emptied = {
        "drift": drift,
        "gauges": {
            name: [float(one["value"][1]) for one in query(story.alerting.prometheus_url, f"{name}{gauge}")]
            for name in GAUGES_OF_FEATURE
        },
        "incident": html.unescape(story.page(link.removeprefix(story.web.url))),
        "check": html.unescape(story.page(f"/admin/drift/driftcheck/{_last_check(CLAIMS).pk}/change/")),
        "model": html.unescape(story.page(f"/models/{CLAIMS}")),
    }
    await_condition(_claims_are_checked, "the last rows of claims are not checked", seconds=PATIENCE_SECONDS)
    _close_incident(CLAIMS)
    story.await_both(f"[RESOLVED] DriftConfirmed of {CLAIMS}")


def _claims_are_checked() -> bool:
    """Return whether no further check is due: it would find the drift again and open another incident."""
    return bool(_last_check(CLAIMS).rows_seen > 3 * WINDOW - BATCH)


def _last_check(model: str) -> Any:
    """Return the last stored check. The result of /drift is a newer one, which is not stored, if rows came after it."""
    from drift.models import DriftCheck

    return DriftCheck.objects.filter(version__model__name=model).latest("id")


def _close_incident(model: str) -> None:
    from django.contrib.auth.models import User

    from drift.models import DriftIncident
    from drift.services.incidents import close_incident

    incident = DriftIncident.objects.get(closed_at=None, version__model__name=model)
    close_incident(incident=incident, user=User.objects.get())


def _snooze() -> None:
    from django.contrib.auth.models import User
    from django.utils import timezone

    from drift.models import DriftIncident
    from drift.services.incidents import snooze_incident

    operator = User.objects.get()
    incident = DriftIncident.objects.get(closed_at=None)
    snooze_incident(incident=incident, until=timezone.now() + timedelta(hours=1), user=operator)


def _dashboard_results(story: Story) -> Iterator[dict[str, Any]]:
    """Yield the data of every panel of every dashboard, over the whole story."""
    seconds = time.monotonic() - story.began_at
    for expression in expressions(rate_interval=RATE_INTERVAL):
        result = query_range(story.alerting.prometheus_url, expression.text, seconds=seconds, step=2)
        points = [point for series in result["data"]["result"] for point in series["values"]]
        yield {
            **expression._asdict(),
            "status": result["status"],
            "warnings": result.get("warnings", []) + result.get("infos", []),
            "points": sum(value != "NaN" for _, value in points),
        }


def _gone(story: Story) -> None:
    """Stop the server while a model has a low confidence; only the stopped server may be reported."""
    with _low_confidence(story):
        story.await_state("LowConfidencePredictions", VISION, "active")
        stop_group(story.web.process)
        story.note("the server is stopped")
        story.await_both("[CRITICAL] TargetDown")
        story.await_state("LowConfidencePredictions", VISION, "suppressed")


def _messages(story: Story) -> dict[str, Any]:
    return {
        "factor": FACTOR,
        "mlmon_url": story.web.url,
        "moments": story.moments,
        "pages": story.pages,
        "emptied": story.emptied,
        "slack": [
            {key: message[key] for key in ("title", "title_link", "color", "text")}
            for message in story.alerting.sinks.slack
        ],
        "mails": [
            {"subject": str(mail["Subject"]), "to": str(mail["To"]), "text": _text_of(mail)}
            for mail in story.alerting.sinks.mails
        ],
    }


def _text_of(mail: Any) -> str:
    return str(mail.get_body(("plain",)).get_content())


if __name__ == "__main__":
    main()
