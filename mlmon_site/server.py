"""The web server: ``python -m mlmon_site.server --port 8000 --workers 2``.

Granian's main process loads Django and binds the port. It forks, monitors and restarts the workers, which share the
memory of what it has loaded (docs/adr/0041). Sessions of models, connections and threads begin in each worker.
"""

import argparse
import gc
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from django.conf import settings
from granian._granian import ListenerSpec, SocketHolder
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import Server

from mlmon_site.database import OutdatedDatabaseError, refuse_outdated_database
from mlmon_site.ports import port_number
from mlmon_site.processes import end_when_orphaned, wake_for_signals
from mlmon_site.scrape_server import ScrapeProcess
from monitoring.metrics.slots import reset_metrics

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mlmon_site.settings")

# Connections per worker, most of which may be slow: the event loop serves the others meanwhile.
CONNECTIONS = 2048
# Docker and the supervisor of the embedded run allow 10 s for the whole stop.
STOP_SECONDS = 6


class _Server(Server):  # type: ignore[misc, valid-type]  # granian chooses the class by the system
    """Keeps the sockets on which the workers accept, one for each, so that a new worker continues its predecessor's.

    On Linux, granian lets each worker open its own, between which the kernel distributes connections. When a worker
    ended, the connections that it had not accepted yet were reset.
    """

    def _init_shared_socket(self) -> None:
        self._listeners: list[SocketHolder] = []
        if multiprocessing.get_start_method() != "fork":
            super()._init_shared_socket()
            return
        self._ssp = self._sso = None
        specification = ListenerSpec(self.bind_addr, self.bind_port, self.backlog)
        self._listeners = [specification.build() for _ in range(self.workers)]

    def _drop_shared_socket(self) -> None:
        super()._drop_shared_socket()
        self._shd: SocketHolder | None = None
        self._listeners.clear()

    def _spawn_worker(self, idx: int, target: Any, callback_loader: Any) -> Any:
        if not self._listeners:
            return super()._spawn_worker(idx, target, callback_loader)
        self._shd = self._listeners[idx]
        return super()._spawn_worker(idx, target, partial(self._load_in_worker, idx, callback_loader))

    def _load_in_worker(self, idx: int, load: Callable[[], Any]) -> Any:
        # A fork has copies of the other workers' sockets, with which it would keep them open after those have ended.
        for other, listener in enumerate(self._listeners):
            if other != idx:
                os.close(listener.get_fd())
        return load()


def load_application() -> Any:
    """Return the RSGI application; runs in each worker process, before it serves."""
    parent = multiprocessing.parent_process()
    # A fork inherits the main process's handlers, which only set a flag. Until granian installs the worker's own, a
    # worker that is still loading would ignore TERM.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN if parent else signal.SIG_DFL)
    if parent is not None and parent.pid is not None:
        end_when_orphaned(parent.pid, within_seconds=STOP_SECONDS)
    wake_for_signals()
    # Imported already if this process was forked. On systems that spawn processes instead, each loads it here.
    from mlmon_site import rsgi, wsgi

    wsgi.start_process()
    return rsgi.application


def _load_for_workers() -> None:
    """Load what every worker needs, before they are forked."""
    from mlmon_site import rsgi as rsgi
    from mlmon_site import urls as urls

    gc.collect()
    gc.freeze()  # a collection in a worker would write to, and so copy, the pages of every object that it visits


def serve(*, host: str, port: int, workers: int, access_log: bool, scrape_port: int = 0) -> None:
    """Serve until TERM or INT, then complete the requests that have begun. Counters start at 0.

    Parameters
    ----------
    scrape_port
        The port of the scrape server, which works while all workers are busy; 0 starts none.
    """
    reset_metrics(settings.MLMON_METRICS_DIR)  # before anything opens a file of metrics
    if multiprocessing.get_start_method() == "fork":
        _load_for_workers()
    try:
        refuse_outdated_database()  # it closes its connection, so that the workers inherit none
    except OutdatedDatabaseError as error:
        sys.exit(f"The web server does not start. {error}")
    server = _Server(
        "mlmon_site.rsgi:application",
        address=host,
        port=port,
        interface=Interfaces.RSGI,
        loop=Loops.uvloop,
        # If granian guessed the protocol from the first bytes, a connection that never sends any would never end.
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=1000 * settings.MLMON_HEADER_TIMEOUT_SECONDS),
        workers=workers,
        backpressure=CONNECTIONS,
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_SECONDS,
        websockets=False,
        log_level=LogLevels.info,
        log_access=access_log,
    )
    scrapes = ScrapeProcess(host=host, port=scrape_port) if scrape_port else None
    try:
        server.serve(target_loader=load_application, wrap_loader=False)
    finally:
        if scrapes is not None:
            scrapes.stop()


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m mlmon_site.server", description="Serve mlmon over HTTP.")
    parser.add_argument("--host", default="127.0.0.1", help="address to bind (default: %(default)s)")
    parser.add_argument("--port", type=port_number, default=8000, help="port to bind (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="number of processes (default: %(default)s)")
    parser.add_argument(
        "--scrape-port",
        type=lambda text: 0 if text == "0" else port_number(text),
        default=settings.MLMON_SCRAPE_PORT,
        help="port of a separate process for Prometheus, which responds while all others are busy; 0 starts none "
        "(default: %(default)s)",
    )
    parser.add_argument("--access-log", action="store_true", help="write a line for each request")
    options = parser.parse_args(arguments)
    if options.workers < 1:
        parser.error("argument --workers: must be 1 or more")
    serve(
        host=options.host,
        port=options.port,
        workers=options.workers,
        access_log=options.access_log,
        scrape_port=options.scrape_port,
    )


if __name__ == "__main__":
    main()
