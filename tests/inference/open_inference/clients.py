"""The environment with the clients of the protocol, and how tests run programs in it."""

import json
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.worker import default_environments, python_with

REQUIREMENTS = Path(__file__).with_name("clients.txt")
SECONDS = 90


def python_of_clients() -> Path:
    """Return an interpreter that has the clients. The first call on a machine installs them, in the user's cache."""
    return python_with(REQUIREMENTS, default_environments().with_name("mlmon-tests"))


def run_script(script: str, *, given: Any = None, **environment: str) -> str:
    """Return what a script prints that reads `given` from its standard input as JSON."""
    done = subprocess.run(
        [python_of_clients(), "-c", script],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env={"PATH": "/usr/bin:/bin", **environment},
    )
    assert done.returncode == 0, f"{script}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stdout
