"""Prometheus and Alertmanager for a test, with the project's configuration and every duration divided.

They scrape a real server, or a text of the test. Slack and the mail server are sinks in this process.
"""

import contextlib
import email
import email.policy
import json
import re
import socketserver
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from tests.services.debian_programs import program
from tests.services.processes import PROJECT, await_condition, await_start, free_port, start_process, stop_group

MLMON_URL = "http://localhost:8000"  # as in prometheus.yml
MILLISECONDS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
DURATION = re.compile(r"(\d+)([smhdw])")
DURATION_IN_EXPRESSION = re.compile(r"(?<=\[)\d+[smhdw](?=\])|(?<=offset )\d+[smhdw]")
DURATION_FIELDS = {
    "for",
    "keep_firing_for",
    "interval",
    "scrape_interval",
    "evaluation_interval",
    "group_wait",
    "group_interval",
    "repeat_interval",
}


def faster(value: Any, factor: int) -> Any:
    """Return a loaded configuration with all its durations divided by `factor`, also those in expressions."""
    if isinstance(value, list):
        return [faster(item, factor) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: _faster_field(key, item, factor) for key, item in value.items()}


def _faster_field(key: str, value: Any, factor: int) -> Any:
    if key in DURATION_FIELDS:
        return _divided(value, factor)
    if key == "expr":
        return DURATION_IN_EXPRESSION.sub(lambda found: _divided(found[0], factor), value)
    return faster(value, factor)


def _divided(duration: str, factor: int) -> str:
    found = DURATION.fullmatch(duration)
    assert found, f"Expected a duration with one unit, got {duration!r}."
    return f"{int(found[1]) * MILLISECONDS[found[2]] // factor}ms"


@dataclass(slots=True)
class Sinks:
    """The attachments that Slack received, the mails, and the text of the scraped target."""

    metrics: str = ""
    slack: list[dict[str, Any]] = field(default_factory=list)
    mails: list[EmailMessage] = field(default_factory=list)


class _Web(BaseHTTPRequestHandler):
    """The scraped target (GET) and Slack's webhook (POST)."""

    sinks: Sinks

    def do_GET(self) -> None:
        self._respond(self.sinks.metrics)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.sinks.slack.extend(body["attachments"])
        self._respond("ok")

    def _respond(self, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        pass


class _Mail(socketserver.StreamRequestHandler):
    """The part of SMTP (RFC 5321) that a sender without a login needs."""

    sinks: Sinks

    def handle(self) -> None:
        self._say("220 sink")
        for line in self.rfile:
            command = line[:4].upper().strip()
            if command == b"QUIT":
                self._say("221 bye")
                return
            if command == b"DATA":
                self._say("354 go on")
                self._take()
            self._say("250 ok")

    def _take(self) -> None:
        lines = iter(self.rfile.readline, b".\r\n")
        content = b"".join(line.removeprefix(b".") for line in lines)
        self.sinks.mails.append(email.message_from_bytes(content, policy=email.policy.default))

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


class _MailServer(socketserver.ThreadingTCPServer):
    daemon_threads = True


@dataclass(slots=True)
class Alerting:
    """The running servers and their sinks."""

    sinks: Sinks
    target: ThreadingHTTPServer | None
    prometheus_url: str
    alertmanager_url: str

    def alerts(self) -> dict[str, str]:
        """Return the state of each alert of Alertmanager: active or suppressed."""
        return {alert["labels"]["alertname"]: alert["status"]["state"] for alert in self.alert_list()}

    def alert_list(self) -> list[dict[str, Any]]:
        """Return the alerts of Alertmanager, as its API shows them."""
        with urllib.request.urlopen(f"{self.alertmanager_url}/api/v2/alerts", timeout=5) as response:
            alerts: list[dict[str, Any]] = json.load(response)
            return alerts

    def stop_target(self) -> None:
        """Stop the scraped target of this process."""
        assert self.target is not None, "The scraped target is not in this process."
        self.target.shutdown()
        self.target.server_close()


@contextlib.contextmanager
def running_alerting(
    folder: Path, *, factor: int, scraped_port: int | None = None, mlmon_url: str = MLMON_URL
) -> Iterator[Alerting]:
    """Run Prometheus and Alertmanager `factor` times as fast as configured.

    They scrape `scraped_port` of this machine, or else the text in `sinks.metrics`. The links of alerts lead to
    `mlmon_url`.
    """
    sinks = Sinks()
    with contextlib.ExitStack() as ends:
        target = None if scraped_port else ThreadingHTTPServer(("127.0.0.1", 0), _web(sinks))
        slack = ThreadingHTTPServer(("127.0.0.1", 0), _web(sinks))
        mail = _MailServer(("127.0.0.1", 0), type("Mail", (_Mail,), {"sinks": sinks}))
        for server in filter(None, (target, slack, mail)):
            _serve(server, ends)
        manager = _write_alertmanager(folder, slack=slack.server_address[1], mail=mail.server_address[1], factor=factor)
        manager_port, port = free_port(), free_port()
        configuration = _write_prometheus(
            folder,
            target=scraped_port or (target.server_address[1] if target else 0),
            alertmanager=manager_port,
            factor=factor,
            mlmon_url=mlmon_url,
        )
        alertmanager_url, prometheus_url = f"http://127.0.0.1:{manager_port}", f"http://127.0.0.1:{port}"
        _start(
            ends,
            prometheus_url,
            [
                program("prometheus"),
                f"--config.file={configuration}",
                f"--storage.tsdb.path={folder / 'prometheus-data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                f"--rules.alert.resend-delay={60_000 // factor}ms",  # the default is a minute
            ],
            folder,
        )
        # Prometheus looks for targets only after five seconds, which this pace does not change.
        await_condition(partial(_is_scraping, prometheus_url), "Prometheus scrapes nothing", seconds=30)
        _start(
            ends,
            alertmanager_url,
            [
                program("prometheus-alertmanager"),
                f"--config.file={manager}",
                f"--storage.path={folder / 'alertmanager-data'}",
                f"--web.listen-address=127.0.0.1:{manager_port}",
                "--cluster.listen-address=",
            ],
            folder,
        )
        yield Alerting(sinks, target, prometheus_url, alertmanager_url)


def _web(sinks: Sinks) -> type[_Web]:
    return type("Web", (_Web,), {"sinks": sinks})


def _serve(server: socketserver.BaseServer, ends: contextlib.ExitStack) -> None:
    threading.Thread(target=partial(server.serve_forever, poll_interval=0.05), daemon=True).start()
    ends.callback(server.server_close)
    ends.callback(server.shutdown)


def _write_alertmanager(folder: Path, *, slack: int, mail: int, factor: int) -> Path:
    """Write the project's configuration with the addresses of the sinks and the files of the secrets."""
    loaded = faster(yaml.safe_load((PROJECT / "monitoring" / "alertmanager" / "alertmanager.yml").read_text()), factor)
    webhook, password = folder / "slack_api_url", folder / "smtp_password"
    webhook.write_text(f"http://127.0.0.1:{slack}/")
    password.write_text("not used")
    loaded["global"] |= {
        "slack_api_url_file": str(webhook),
        "smtp_auth_password_file": str(password),
        "smtp_smarthost": f"127.0.0.1:{mail}",
        "smtp_require_tls": False,
    }
    loaded["templates"] = [str(PROJECT / "monitoring" / "alertmanager" / "templates" / "*.tmpl")]
    return _written(folder / "alertmanager.yml", loaded)


def _write_prometheus(folder: Path, *, target: int, alertmanager: int, factor: int, mlmon_url: str) -> Path:
    """Write the project's configuration and rules with these addresses."""
    source = PROJECT / "monitoring" / "prometheus"
    (folder / "rules").mkdir()
    for path in (source / "rules").glob("*.yml"):
        _written(folder / "rules" / path.name, faster(yaml.safe_load(path.read_text()), factor))
    loaded = faster(yaml.safe_load((source / "prometheus.yml").read_text()), factor)
    (folder / "targets").mkdir()
    for name, port in {"mlmon": target, "alertmanager": alertmanager}.items():
        _written(folder / "targets" / f"{name}.yml", [{"targets": [f"127.0.0.1:{port}"]}])
    loaded["global"]["external_labels"] = {"mlmon_url": mlmon_url, "runbooks_url": f"{mlmon_url}/runbooks"}
    if mlmon_url != MLMON_URL:  # a real server needs longer than a sixtieth of the interval
        loaded["global"]["scrape_interval"] = "1s"
    # The default timeout of a scrape is ten seconds, and it must not exceed the interval.
    loaded["global"]["scrape_timeout"] = loaded["global"]["scrape_interval"]
    return _written(folder / "prometheus.yml", loaded)


def _written(path: Path, loaded: Any) -> Path:
    path.write_text(yaml.safe_dump(loaded))
    return path


def _start(ends: contextlib.ExitStack, url: str, command: list[str], folder: Path) -> None:
    process = start_process(command, folder / "alerting.log", folder=folder)
    ends.callback(stop_group, process)
    await_start(process, command[0], partial(_is_ready, url), seconds=30)


def _is_scraping(url: str) -> bool:
    return bool(query(url, "up == 1")) and not query(url, 'ALERTS{alertname="TargetDown"}')


def query(url: str, expression: str) -> list[dict[str, Any]]:
    """Return the current result of an expression on the Prometheus at `url`."""
    parameters = urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(f"{url}/api/v1/query?{parameters}", timeout=5) as response:
        result: list[dict[str, Any]] = json.load(response)["data"]["result"]
        return result


def query_range(url: str, expression: str, *, seconds: float, step: float) -> dict[str, Any]:
    """Return the response to an expression over the last `seconds`, with a value every `step` seconds."""
    now = time.time()
    parameters = urllib.parse.urlencode({"query": expression, "start": now - seconds, "end": now, "step": step})
    with urllib.request.urlopen(f"{url}/api/v1/query_range?{parameters}", timeout=30) as response:
        found: dict[str, Any] = json.load(response)
        return found


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=1) as response:
            return bool(response.status == 200)
    except OSError:
        return False
