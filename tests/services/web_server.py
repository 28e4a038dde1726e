"""The real web server on the test database."""

import contextlib
import http.client
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.services.processes import await_start, free_port, start_process, stop_group

LOG_TAIL = 3_000  # characters


@dataclass(frozen=True, slots=True)
class WebServer:
    """A running web server with several processes.

    Attributes
    ----------
    url
        The address, without a slash at the end.
    folder
        The folder of its log (``web.log``) and its metrics files.
    """

    url: str
    port: int
    folder: Path
    process: subprocess.Popen[bytes]


@contextlib.contextmanager
def running_web_server(environment: Mapping[str, str], folder: Path, *, workers: int = 2) -> Iterator[WebServer]:
    """Run the server with `workers` processes on a free port."""
    port = free_port()
    command = [sys.executable, "-m", "mlmon_site.server", "--port", str(port), "--workers", str(workers)]
    process = start_process(command, folder / "web.log", environment=environment)
    try:
        await_start(process, "The web server", lambda: answers(port), seconds=60)
        yield WebServer(url=f"http://127.0.0.1:{port}", port=port, folder=folder, process=process)
    except BaseException as error:
        error.add_note("The end of the web server's log:\n" + (folder / "web.log").read_text()[-LOG_TAIL:])
        raise
    finally:
        stop_group(process)


def answers(port: int) -> bool:
    """Return whether ``/healthz`` returns 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
