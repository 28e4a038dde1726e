"""Scrapes answered in a process of their own: ``python -m mlmon_site.scrape_server --port 9101``.

The web server starts it beside its workers, so a scrape is answered also while every one of them is busy. It reads the
workers' files and the database, and loads no model.
"""

import argparse
import logging
import os
import signal
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mlmon_site.settings")

import django

from mlmon_site.ports import port_number

logger = logging.getLogger(__name__)


class _Server(ThreadingMixIn, WSGIServer):
    """Answers each scrape in a thread of its own."""

    daemon_threads = True


class _Handler(WSGIRequestHandler):
    """Writes no line for each scrape."""

    timeout = 10  # seconds, of a client that sends nothing

    def log_message(self, format: str, *args: Any) -> None:
        logger.debug(format, *args)


def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer ``GET /metrics`` with all metrics, anything else with 404."""
    from django.conf import settings
    from django.db import connection

    from monitoring.exposition import render_metrics

    if environ["PATH_INFO"] != "/metrics" or environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
        start_response(_status_line(HTTPStatus.NOT_FOUND), [("Content-Type", "text/plain; charset=utf-8")])
        return [b"The metrics are at /metrics.\n"]
    try:
        body, content_type = render_metrics(environ.get("HTTP_ACCEPT", ""), directory=settings.MLMON_METRICS_DIR)
    finally:
        connection.close()  # each scrape has a thread of its own, and with it a connection
    start_response(_status_line(HTTPStatus.OK), [("Content-Type", content_type), ("Content-Length", str(len(body)))])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and serve until TERM or INT."""
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
            logger.info("Scrapes are answered no more.")


def _status_line(status: HTTPStatus) -> str:
    return f"{status.value} {status.phrase}"


if __name__ == "__main__":
    main()
