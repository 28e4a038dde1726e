"""The programs from Debian that tests run. `.ci/programs` lists, finds and installs them."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from tests.services.processes import PROJECT, ServiceError


class MissingProgramError(ServiceError):
    """A program that a test needs is not installed. The test is then skipped (`tests.services.not_run`)."""


@cache
def programs() -> dict[str, tuple[str, str]]:
    """Return the Debian package and the path of each program; the path of a missing program is empty."""
    done = subprocess.run(["sh", PROJECT / ".ci" / "programs", "list"], capture_output=True, text=True, check=True)
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    return {name: (package, path) for name, package, path in lines}


def program(name: str) -> str:
    """Return the path of a program."""
    package, path = programs()[name]
    if not path:
        raise MissingProgramError(f"{name} is not installed (Debian package: {package})")
    return path


def is_ci() -> bool:
    """Return whether this run is one of continuous integration, where every test must run."""
    return bool(os.environ.get("CI"))


def output_of(name: str, *arguments: str | Path, stdin: str | None = None) -> str:
    """Run a program, which must succeed, and return its output."""
    done = subprocess.run(
        [program(name), *map(str, arguments)], input=stdin, capture_output=True, text=True, timeout=100
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return output


def npm_project(source: Path, folder: Path) -> Path:
    """Copy a folder with a ``package.json`` and its lock file to `folder`, and install its packages there."""
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
