"""Clients that send predict requests without pause until TERM and log every response; the tests run this program.

Each line of the log is either a prediction id in hexadecimal and the pid of the web process that predicted, or
``failed`` and the error of a request without a response. Such a request is not sent again.
"""

import argparse
import contextlib
import http.client
import itertools
import json
import os
import signal
import threading
import time
from pathlib import Path

REQUESTS_OF_A_CONNECTION = 200  # then a new one, so that a restarted process gets its share
FLOWER = [5.1, 3.5, 1.4, 0.2]
PAUSE_SECONDS = 0.02  # after a failure
TIMEOUT_SECONDS = 10
UNKNOWN_PID = 0


class Clients:
    """Threads with one connection each, which share a log.

    Parameters
    ----------
    port, server_pid
        Port of the web server on the loopback interface, and the pid of its main process.
    token
        API token.
    log
        The file to append to.
    """

    def __init__(self, *, port: int, server_pid: int, token: str, log: Path) -> None:
        self._port = port
        self._server_pid = server_pid
        self._headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        self._numbers = itertools.count(1)
        self._stopping = threading.Event()
        self._file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def run(self, threads: int) -> None:
        """Send until `stop` is called."""
        running = [threading.Thread(target=self._send) for _ in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()

    def stop(self) -> None:
        """Stop after the current requests."""
        self._stopping.set()

    def _send(self) -> None:
        while not self._stopping.is_set():
            self._send_over_one_connection()

    def _send_over_one_connection(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_SECONDS)
        pid = UNKNOWN_PID
        try:
            for number in range(REQUESTS_OF_A_CONNECTION):
                prediction_id = self._predict(connection)
                if number == 0:
                    pid = self._predicting_pid(connection)
                self._log_line(f"{prediction_id} {pid}")
                if self._stopping.is_set():
                    break
        except (OSError, http.client.HTTPException) as error:
            self._log_line(f"failed {type(error).__name__}")
            time.sleep(PAUSE_SECONDS)
        finally:
            connection.close()

    def _predict(self, connection: http.client.HTTPConnection) -> str:
        body = json.dumps({"features": [*FLOWER[:3], next(self._numbers) / 1000]})
        connection.request("POST", "/predict", body, self._headers)
        response = connection.getresponse()
        body_of_response = response.read()
        if response.status != http.client.OK:
            raise http.client.HTTPException(response.status)
        prediction_id: str = json.loads(body_of_response)["prediction_id"]
        return prediction_id.replace("-", "")

    def _predicting_pid(self, connection: http.client.HTTPConnection) -> int:
        """Return the process at the other end of the connection, as reported by the kernel."""
        inode = _inode_of_other_end(self._port, connection.sock.getsockname()[1])
        children = Path(f"/proc/{self._server_pid}/task/{self._server_pid}/children").read_text().split()
        return next((int(pid) for pid in children if inode and _holds(pid, inode)), UNKNOWN_PID)

    def _log_line(self, line: str) -> None:
        os.write(self._file, f"{line}\n".encode())


def _inode_of_other_end(server_port: int, client_port: int) -> str:
    ends = (f":{server_port:04X}", f":{client_port:04X}")
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(ends[0]) and fields[2].endswith(ends[1]):
            return fields[9]
    return ""


def _holds(pid: str, inode: str) -> bool:
    for one in _open_files(pid):
        with contextlib.suppress(OSError):  # closed meanwhile
            if one.readlink() == Path(f"socket:[{inode}]"):
                return True
    return False


def _open_files(pid: str) -> list[Path]:
    try:
        return list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:  # the process has ended
        return []


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("--port", "--server-pid", "--threads"):
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("--log", type=Path, required=True)
    options = parser.parse_args()
    clients = Clients(
        port=options.port,
        server_pid=options.server_pid,
        token=os.environ["MLMON_TOKEN"],
        log=options.log,
    )
    signal.signal(signal.SIGTERM, lambda *_: clients.stop())
    clients.run(options.threads)


if __name__ == "__main__":
    main()
