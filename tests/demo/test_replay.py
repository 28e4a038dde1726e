"""``replay``: reading flights, the client, drift by period, and the whole command with the real web server."""

import argparse
import http.server
import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from accounts.management.terminal import table_text
from demo.client import Client, RefusedError, ReplayError, time_of_id
from demo.drift_by_period import DriftByPeriod
from demo.extract import SHUFFLED, read_flights
from demo.management.commands.replay import drift_table, months, speed
from drift.services.checks import run_drift_check
from inference.prediction_ids import new_prediction_ids
from models_registry.models import ModelVersion
from performance.models import GroundTruth
from tests.services.processes import free_port
from tests.services.web_server import WebServer

YEAR = Path(__file__).resolve().parent.parent.parent / "demo" / "flight-delay-year.parquet"


def replay(url: str, *, speed: float | None = None, **options: Any) -> dict[str, Any]:
    output = StringIO()
    call_command("replay", url=url, speed=speed, json=True, stdout=output, **{"feedback": False, **options})
    summary: dict[str, Any] = json.loads(output.getvalue())
    return summary


@pytest.fixture
def demo_server(transactional_db: None, request: pytest.FixtureRequest) -> WebServer:
    call_command("load_demo", stdout=StringIO())  # the server loads the models at its start
    server: WebServer = request.getfixturevalue("web_server")
    return server


# --- reading --------------------------------------------------------------------------------------------------------


def test_flights_are_in_chronological_order() -> None:
    flights = read_flights(YEAR, months=[6, 9], limit=None, shuffle_seed=None)
    assert list(dict.fromkeys(flight.period for flight in flights)) == ["June", "September"]
    assert [flight.departs_at for flight in flights] == sorted(flight.departs_at for flight in flights)
    assert "late" not in flights[0].features
    assert {flight.outcome for flight in flights} == {"late", "on_time", None}


def test_a_seed_determines_the_order() -> None:
    first, again, other = (read_flights(YEAR, months=[1, 2, 3], limit=50, shuffle_seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert {flight.period for flight in first} == {SHUFFLED}
    assert {flight.departs_at.month for flight in first} >= {1, 2, 3}


@pytest.mark.parametrize(("text", "expected"), [("4-6", (4, 5, 6)), ("12", (12,)), ("9,1-2", (1, 2, 9))])
def test_months_are_parsed(text: str, expected: tuple[int, ...]) -> None:
    assert months(text) == expected


@pytest.mark.parametrize("text", ["", "0-3", "6-4", "13", "May", "1-", "-3"])
def test_other_strings_are_not_months(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        months(text)


def test_speeds_are_parsed() -> None:
    assert (speed("max"), speed("12.5")) == (None, 12.5)
    for text in ("0", "-1", "nan", "inf", "fast"):
        with pytest.raises(argparse.ArgumentTypeError):
            speed(text)


# --- drift by period ------------------------------------------------------------------------------------------------


def test_an_id_contains_its_time() -> None:
    # The example of RFC 9562, appendix A.6: Tuesday, February 22, 2022 2:22:22.00 PM GMT-05:00.
    # The 12 bits after the version are random there (0xCC3). Here they mean 0.797 ms.
    expected = datetime(2022, 2, 22, 19, 22, 22, 797, tzinfo=UTC)
    assert time_of_id("017F22E2-79B0-7CC3-98C4-DC0C0C07398F") == expected


def test_an_id_is_never_later_than_the_row() -> None:
    (made,) = new_prediction_ids(1, 1)
    now = datetime.fromtimestamp(time.time_ns() // 1000 / 1e6, tz=UTC)
    assert timedelta(0) <= now - time_of_id(str(uuid.UUID(bytes=made))) < timedelta(seconds=1)


def report(started_at: datetime, ended_at: datetime, *, score: float = 0.2, end_id: str = "1-0") -> dict[str, Any]:
    return {
        "status": "ok",
        "window": {"end_id": end_id, "started_at": started_at.isoformat(), "ended_at": ended_at.isoformat()},
        "drifted_features": ["dest"] if score > 0.15 else [],
        "feature_drift": {
            "dest": {"score": score, "threshold": 0.15, "is_drifted": score > 0.15},
            "seats": {"score": None, "threshold": 0.15, "is_drifted": False},
        },
        "prediction_drift": {"js_divergence": 0.12, "is_drifted": True},
    }


def id_at(moment: datetime) -> str:
    milliseconds = round(moment.timestamp() * 1000)
    return str(uuid.UUID(int=milliseconds << 80 | 0x7 << 76 | 0x8 << 60))


def test_windows_count_for_the_month_of_their_last_row() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    drift = DriftByPeriod()
    second = timedelta(seconds=1)
    for index, month in enumerate(["April", "April", "May", "May"]):
        drift.add_batch(id_at(start + index * second), month)
    drift.add_report(report(start, start + 1.5 * second, score=0.1, end_id="1-0"))
    drift.add_report(report(start, start + 2 * second, score=0.2, end_id="2-0"))
    drift.add_report(report(start, start + 3 * second, score=0.1, end_id="3-0"))
    drift.add_report(report(start, start + 3 * second, score=0.9, end_id="3-0"))  # the same window again
    drift.add_report(report(start - second, start + 3 * second, score=0.9, end_id="4-0"))  # with rows from before
    april, may = drift.periods.values()
    assert (april.name, april.windows, april.drifted_windows["dest"]) == ("April", 1, 0)
    assert (may.name, may.windows, may.drifted_windows["dest"]) == ("May", 2, 1)
    assert may.highest_scores == {"dest": 0.2}
    assert may.drifted_prediction_windows == 2
    lines = table_text(drift_table([period.summary() for period in drift.periods.values()])).splitlines()
    assert lines[2].split() == ["April", "1", "none", "dest", "0.100", "0.120", "(drifted", "in", "1)"]


def test_a_report_without_a_comparison_changes_nothing() -> None:
    drift = DriftByPeriod()
    drift.add_batch(id_at(datetime(2026, 1, 1, tzinfo=UTC)), "April")
    drift.add_report({"status": "no_observations", "window": None})
    assert drift.periods == {}


# --- the client -----------------------------------------------------------------------------------------------------


@contextmanager
def plain_server(responses: list[tuple[int, bytes]]) -> Iterator[str]:
    """An HTTP server other than mlmon that returns these responses in turn, and then always the last one."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, body = responses.pop(0) if len(responses) > 1 else responses[0]
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def client_of(url: str, *, patience_seconds: float = 5.0) -> Iterator[Client]:
    client = Client(url, patience_seconds=patience_seconds)
    try:
        yield client
    finally:
        client.close()


def test_requests_to_a_busy_server_are_repeated() -> None:
    responses = [(503, b'{"detail": "starting"}'), (429, b""), (200, b'{"status": "ok"}')]
    with plain_server(responses) as url, client_of(url) as client:
        assert client.drift() == {"status": "ok"}
        assert client.retries == 2


def test_requests_are_repeated_for_a_limited_time() -> None:
    with (
        plain_server([(503, b'{"detail": "no version is loaded"}')]) as url,
        client_of(url, patience_seconds=0.3) as client,
    ):
        started_at = time.monotonic()
        with pytest.raises(RefusedError, match="no version is loaded"):
            client.drift()
        assert time.monotonic() - started_at < 2


def test_an_unavailable_server_is_an_error_in_the_end() -> None:
    with (
        client_of(f"http://127.0.0.1:{free_port()}", patience_seconds=0.3) as client,
        pytest.raises(ReplayError, match="refused"),
    ):
        client.drift()


@pytest.mark.parametrize(
    ("response", "message"),
    [
        ((404, b"<html>"), "load_demo"),
        ((401, b'{"detail": "No token."}'), "--token"),
        ((200, b"hello"), "mlmon server"),
    ],
)
def test_a_refusal_is_explained_without_retries(response: tuple[int, bytes], message: str) -> None:
    with plain_server([response]) as url, client_of(url) as client, pytest.raises(ReplayError, match=message):
        client.drift()
    assert client.retries == 0


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://localhost", "http://", "http://localhost:port", "http://h/?a=1"]
)
def test_a_malformed_address_is_refused(url: str) -> None:
    with pytest.raises(ReplayError, match="is not the address"):
        Client(url)


# --- the command ----------------------------------------------------------------------------------------------------


def test_the_error_names_an_address_without_server() -> None:
    with pytest.raises(CommandError, match=r"No server responds at .*--url") as caught:
        replay(f"http://127.0.0.1:{free_port()}")
    assert caught.value.returncode == 1


def test_another_server_is_an_error() -> None:
    with plain_server([(404, b"")]) as url, pytest.raises(CommandError, match="Is it an mlmon server"):
        replay(url)


def test_a_server_without_the_demo_is_an_error(web_server: WebServer) -> None:
    with pytest.raises(CommandError, match="load_demo"):
        replay(web_server.url, limit=10)


def test_summer_flights_drift_by_their_destinations(demo_server: WebServer) -> None:
    # Not at full speed: on a busy machine, all rows would be sent before a second window is read.
    summary = replay(demo_server.url, months=(6, 7), limit=5000, batch=100, speed=800.0)
    assert (summary["rows_sent"], summary["rows_failed"], summary["error"]) == (5000, 0, "")
    assert [period["period"] for period in summary["drift"]] == ["June", "July"]
    assert max(period["highest_scores"]["dest"] for period in summary["drift"]) > 0.15
    shuffled = replay(demo_server.url, shuffle=True, limit=4000, batch=100, speed=800.0)
    (period,) = shuffled["drift"]
    assert period["windows"] > 1
    assert period["drifted_windows"] == {}
    assert max(period["highest_scores"].values()) < 0.15


def test_the_incidents_are_listed(demo_server: WebServer) -> None:
    replay(demo_server.url, months=(7,), limit=2500, batch=250)
    version = ModelVersion.objects.get(model__name="flight-delay")
    check = run_drift_check(version_id=version.pk)
    assert check is not None
    assert check.verdict_status == "alarm"
    output = StringIO()
    call_command(
        "replay", url=demo_server.url, months=(7,), limit=25, batch=25, speed=None, feedback=False, stdout=output
    )
    incidents = output.getvalue().partition("Incidents, the latest first:\n")[2]
    assert {"dest", "distance"} & set(incidents.partition(":")[0].strip().split(", "))
    assert "still open, alarms: 1;" in incidents


def test_the_text_summary_has_a_table(demo_server: WebServer) -> None:
    output = StringIO()
    call_command("replay", url=demo_server.url, speed=None, limit=2500, batch=250, stdout=output)
    assert "2,500 rows sent" in output.getvalue()
    assert "highest scores" in output.getvalue()
    assert "\nApril " in output.getvalue()


def test_outcomes_are_sent_and_the_performance_by_month_equals_scikit_learn(demo_server: WebServer) -> None:
    flights = read_flights(YEAR, months=(4, 5), limit=6000, shuffle_seed=None)
    summary = replay(demo_server.url, months=(4, 5), limit=6000, batch=250, watch=False, feedback=True)
    labelled = [flight for flight in flights if flight.outcome is not None]
    assert sum(summary["labels"].values()) - summary["labels"].get("unknown", 0) == len(labelled)
    assert set(summary["labels"]) <= {"accepted", "unknown", "duplicate"}
    rows = GroundTruth.objects.filter(version__model__name="flight-delay").order_by("predicted_at", "prediction_id")
    stored = list(rows.values_list("actual", "prediction", "confidence"))
    assert [actual for actual, _, _ in stored] == [flight.outcome for flight in labelled]
    for period in summary["performance"]:
        places = [place for place, flight in enumerate(labelled) if flight.period == period["period"]]
        actual, predicted, confidence = map(np.array, zip(*(stored[place] for place in places), strict=True))
        late = np.where(predicted == "late", confidence, 1 - confidence)
        assert period["labelled_rows"] == len(places)
        assert period["accuracy"] == pytest.approx(accuracy_score(actual, predicted), abs=1e-12)
        assert period["f1_score"] == pytest.approx(f1_score(actual, predicted, average="macro"), abs=1e-12)
        assert period["roc_auc"] == pytest.approx(roc_auc_score(actual == "late", late), abs=1e-12)
        assert abs(period["estimated_accuracy"] - period["accuracy"]) < 0.1
    assert [period["period"] for period in summary["performance"]] == ["April", "May"]
    estimated, no_change = summary["estimate_errors"]
    assert 0 <= estimated < 0.1
    assert 0 <= no_change < 0.1


def test_a_speed_is_kept(demo_server: WebServer) -> None:
    summary = replay(demo_server.url, speed=200.0, limit=250, batch=25, watch=False)
    # The last of ten batches is sent after the time of 225 rows.
    assert 1.125 <= summary["duration_seconds"] < 3
    assert summary["drift"] == []
