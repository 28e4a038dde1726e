"""Kill a controller with -9 at one line after the other; a test runs this program.

Each controller is a process of its own, forked before Django has opened a connection. It kills itself before the first
line of the controller's code at which no earlier one was killed, until one reaches the end.
"""

import json
import os
import signal
import sys
from functools import partial

from tests.inference.killed_archiver import ended_child, kill_before_new_line

FILES = ("controller.py", "counting.py", "labels.py", "traffic.py", "transitions.py")


def main() -> None:
    rollout_id = int(sys.argv[1])

    import django

    django.setup()
    from rollouts.services.controller import control_rollout

    read_end, write_end = os.pipe()
    killed_at: list[str] = []
    while True:
        work = partial(control_rollout, rollout_id=rollout_id)
        status = ended_child(work, kill_before_new_line(FILES, killed_at, write_end))
        if status == 0:
            break
        if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
            raise RuntimeError(f"A controller ended with status {status}.")
        killed_at.append(os.read(read_end, 1000).decode())
    print(json.dumps(killed_at))  # noqa: T201 -- the test reads it


if __name__ == "__main__":
    main()
