"""Serve scrapes from a process of their own: ``python -m mlmon_site.scrape_server --port 9101``.

The web server runs it beside its workers, so Prometheus gets its metrics while every worker is busy. It reads the
workers' files and the database, and loads no model.
"""

import argparse
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mlmon_site.settings")

import django

from mlmon_site.ports import port_number
from mlmon_site.processes import bound_command

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
STOP_SECONDS = 5


class ScrapeProcess:
    """Runs the scrape server as a child process until `stop`, and restarts it, after a growing pause, when it ends.

    A thread in granian's main process would not do: granian forks its workers, and they would inherit the thread's
    locks in whatever state they are.
    """

    def __init__(self, *, host: str, port: int) -> None:
        self._command = [sys.executable, "-m", "mlmon_site.scrape_server", "--host", host, "--port", str(port)]
        self._stopped = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep_running, name="mlmon-scrape-process", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the process and wait until it has ended."""
        self._stopped.set()
        if self._process is not None:
            self._process.terminate()
        self._thread.join(STOP_SECONDS)

    def _keep_running(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not self._stopped.is_set():
            started_at = time.monotonic()
            # `close_fds` would make Popen wait for the end of a pipe that a worker forked in that moment holds open.
            # Python's own files are closed on exec anyway. The process is bound to this thread, which lives as long
            # as the server.
            self._process = subprocess.Popen(bound_command(self._command), close_fds=False)
            if self._stopped.is_set():
                self._process.terminate()
            status = self._process.wait()
            if time.monotonic() - started_at > LONGEST_PAUSE_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            if self._stopped.wait(pause):
                return
            logger.warning("The scrape server ended with status %d. Restarting it.", status)
            pause = min(LONGEST_PAUSE_SECONDS, 2 * pause)


class _Server(ThreadingMixIn, WSGIServer):
    """Handles each scrape in a thread of its own."""

    daemon_threads = True


class _Handler(WSGIRequestHandler):
    """Logs scrapes at level DEBUG."""

    timeout = 10  # seconds until a client that sends nothing is disconnected

    def log_message(self, format: str, *args: Any) -> None:
        logger.debug(format, *args)


def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Respond to ``GET /metrics`` with all metrics, and to anything else with 404. A WSGI application."""
    from django.conf import settings
    from django.db import connection

    from monitoring.metrics.exposition import render_metrics

    if environ["PATH_INFO"] != "/metrics" or environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
        start_response("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
        return [b"The metrics are at /metrics.\n"]
    try:
        body, content_type = render_metrics(environ.get("HTTP_ACCEPT", ""), directory=settings.MLMON_METRICS_DIR)
    finally:
        connection.close()  # each scrape has its own thread, and each thread its own connection
    start_response("200 OK", [("Content-Type", content_type), ("Content-Length", str(len(body)))])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and serve until TERM or INT."""
    parser = argparse.ArgumentParser(prog="python -m mlmon_site.scrape_server", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to bind (default: %(default)s)")
    parser.add_argument("--port", type=port_number, default=9101, help="port to bind (default: %(default)s)")
    options = parser.parse_args(arguments)
    django.setup()
    with make_server(options.host, options.port, answer, _Server, handler_class=_Handler) as server:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            logger.info("The scrape server has ended.")


if __name__ == "__main__":
    main()
