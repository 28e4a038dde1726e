"""The process that answers scrapes, kept running beside the web server's workers."""

import logging
import subprocess
import sys
import threading
import time

from mlmon_site.processes import bound_command

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
STOP_SECONDS = 5


class ScrapeProcess:
    """Starts the scrape server, and again with a growing pause where it ends.

    A thread would have to live in granian's main process, which forks its workers: they would inherit its locks as they
    stand at that moment.
    """

    def __init__(self, *, host: str, port: int) -> None:
        self._command = [sys.executable, "-m", "mlmon_site.scrape_server", "--host", host, "--port", str(port)]
        self._stopped = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep_running, name="mlmon-scrape-process", daemon=True)

    def start(self) -> None:
        """Start it in the background."""
        self._thread.start()

    def stop(self) -> None:
        """End it and wait until it has ended."""
        self._stopped.set()
        if self._process is not None:
            self._process.terminate()
        self._thread.join(STOP_SECONDS)

    def _keep_running(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not self._stopped.is_set():
            begun_at = time.monotonic()
            self._process = self._begun()
            if self._stopped.is_set():
                self._process.terminate()
            status = self._process.wait()
            if time.monotonic() - begun_at > LONGEST_PAUSE_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            if self._stopped.wait(pause):
                return
            logger.warning("The scrape server ended with status %d; it is started again.", status)
            pause = min(LONGEST_PAUSE_SECONDS, 2 * pause)

    def _begun(self) -> subprocess.Popen[bytes]:
        """Return the process, bound to this thread, which lives as long as the server.

        With `close_fds` a child tells by the end of a pipe that it has begun: a worker that the server forks in that
        moment holds the pipe open, and this thread would wait for that worker's end. Python's files close themselves.
        """
        return subprocess.Popen(bound_command(self._command), close_fds=False)
