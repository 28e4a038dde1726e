"""A virtual environment for each rival: their requirements exclude each other's and ours."""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

INSTALL_SECONDS = 900
REASON_LINES = 4


class RivalUnavailableError(Exception):
    """A rival cannot be measured here; the message says why."""


@dataclass(frozen=True, slots=True)
class Environments:
    """Where rivals are installed, once for all runs.

    Attributes
    ----------
    folder
        One environment for each rival, named after it, the Python version and a hash of its requirements.
    """

    folder: Path

    def python_with(self, requirements: Path) -> Path:
        """Return an interpreter that has these pinned requirements, installed now where they are not yet.

        Raises
        ------
        RivalUnavailableError
            They cannot be installed.
        """
        content = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        environment = self.folder / f"{requirements.stem}-{version}-{content}"
        complete = environment / "complete"
        if not complete.exists():
            shutil.rmtree(environment, ignore_errors=True)
            environment.parent.mkdir(parents=True, exist_ok=True)
            for command in _commands(environment, requirements):
                _run(command)
            complete.touch()
        return environment / "bin" / "python"


def default_folder() -> Path:
    """Return the user's cache folder, as the XDG base directory specification has it."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(cache) if Path(cache).is_absolute() else Path.home() / ".cache") / "mlmon-benchmarks"


def _commands(environment: Path, requirements: Path) -> list[list[str]]:
    python = str(environment / "bin" / "python")
    if importlib.util.find_spec("uv") is not None:
        uv = [sys.executable, "-m", "uv", "--quiet"]
        return [
            [*uv, "venv", "--python", sys.executable, str(environment)],
            [*uv, "pip", "install", "--python", python, "--requirement", str(requirements)],
        ]
    return [
        [sys.executable, "-m", "venv", str(environment)],
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(requirements)],
    ]


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise RivalUnavailableError(f"not installed after {INSTALL_SECONDS} s") from error
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise RivalUnavailableError("cannot be installed: " + " ".join(line.strip() for line in lines[-REASON_LINES:]))
