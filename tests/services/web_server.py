"""The real web server beside the tests, on the test database."""

import contextlib
import http.client
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlmon_site.processes import bound_command
from tests.services.processes import free_port, stop_group, wait_until

PROJECT = Path(__file__).resolve().parent.parent.parent
LOG_TAIL = 3_000  # characters


@dataclass(frozen=True, slots=True)
class WebServer:
    """A running web server with several processes.

    Attributes
    ----------
    url
        Its address, without a slash at the end.
    folder
        Where its log (``web.log``) and its metrics files lie.
    """

    url: str
    port: int
    folder: Path
    process: subprocess.Popen[bytes]


@contextlib.contextmanager
def running_web_server(environment: Mapping[str, str], folder: Path, *, workers: int = 2) -> Iterator[WebServer]:
    """Run the server with `workers` processes under `environment` on a free port."""
    port = free_port()
    command = [sys.executable, "-m", "mlmon_site.server", "--port", str(port), "--workers", str(workers)]
    with (folder / "web.log").open("ab") as log:
        process = subprocess.Popen(
            bound_command(command), cwd=PROJECT, env=dict(environment), stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_until(lambda: answers(port), seconds=60, what="The web server", process=process)
        yield WebServer(url=f"http://127.0.0.1:{port}", port=port, folder=folder, process=process)
    except BaseException as error:
        error.add_note("The web server's log ended with:\n" + (folder / "web.log").read_text()[-LOG_TAIL:])
        raise
    finally:
        stop_group(process)


def answers(port: int) -> bool:
    """Return whether ``/healthz`` answers 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
