"""Programs from Debian that tests run: where one is missing the test fails and says what to install."""

import shutil
import subprocess
from pathlib import Path

from tests.services.processes import ServiceError

PACKAGES = {
    "promtool": "prometheus",
    "prometheus": "prometheus",
    "amtool": "prometheus-alertmanager",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "npm": "npm",
}


def program(name: str) -> str:
    """Return the path of a program of `PACKAGES`."""
    found = shutil.which(name)
    if found is None:
        raise ServiceError(
            f"The tests need {name}, and there is none on PATH. On Debian: apt-get install {PACKAGES[name]}"
        )
    return found


def output_of(name: str, *arguments: str | Path, given: str | None = None) -> str:
    """Run a program that is to succeed on what it is given, and return what it says, which a failure shows."""
    done = subprocess.run(
        [program(name), *map(str, arguments)], input=given, capture_output=True, text=True, timeout=100
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def npm_project(source: Path, folder: Path) -> Path:
    """Copy a folder with a ``package.json`` and its lock to `folder`, install what it names there, and return it."""
    shutil.copytree(source, folder, dirs_exist_ok=True)
    done = subprocess.run(
        [program("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder
