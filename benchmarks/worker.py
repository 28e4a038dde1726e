"""A process for one side of a comparison.

``python -m benchmarks.worker SIDE FOLDER`` imports the side and reads the arrays in FOLDER. Then it answers each line
of standard input with a line of JSON: ``run`` with the duration of a check, ``memory`` with the peak of the first run,
``ks`` with the KS statistics of the last run. Start-up, imports and reading are done before, so they never count.

Competitors run in environments of their own, because their requirements conflict with each other and with ours. Only
NumPy is in all of them, so this module needs nothing else.
"""

import contextlib
import hashlib
import importlib.util
import json
import os
import pkgutil
import select
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, cast

from benchmarks.arrays import FeatureArrays, load
from benchmarks.competitors import Side
from benchmarks.memory import MemoryMeter, PeakMemory
from benchmarks.timing import Elapsed, timed

PROJECT = Path(__file__).resolve().parent.parent
WARM_UP_ROWS, WARM_UP_FEATURES = 2_000, 6
INSTALL_SECONDS = 900
START_SECONDS = 300
RUN_SECONDS = 300
STOP_SECONDS = 10
REASON_LINES, REASON_BYTES = 4, 2_000
# Switches off the usage reports of the competitors.
QUIET = {"DO_NOT_TRACK": "1", "NML_DISABLE_USAGE_LOGGING": "1"}


class CompetitorUnavailableError(Exception):
    """A competitor cannot be measured here; the message states the reason."""


class Worker:
    """A running side, started in `python`, with its log in a file."""

    def __init__(self, side: str, arrays: Path, *, python: Path, log: Path) -> None:
        self._log = log
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [str(python), "-W", "ignore", "-m", "benchmarks.worker", side, str(arrays)],
                cwd=PROJECT,
                env={**os.environ, **QUIET},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        self._questions = cast("IO[bytes]", self._process.stdin)
        self._answers = cast("IO[bytes]", self._process.stdout)
        self._read_answer(START_SECONDS)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.kill()
        self._process.communicate()

    def run(self) -> Elapsed:
        """Run the check once."""
        return Elapsed(**self._ask("run"))

    def peak_memory(self) -> PeakMemory:
        """Return the peak of the first run; later runs reuse memory that it left."""
        return PeakMemory(**self._ask("memory"))

    def ks_statistics(self) -> dict[str, float]:
        """Return the KS statistics of the last run."""
        return self._ask("ks")

    def _ask(self, question: str) -> dict[str, Any]:
        self._questions.write(f"{question}\n".encode())
        self._questions.flush()
        return self._read_answer(RUN_SECONDS)

    def _read_answer(self, seconds: float) -> dict[str, Any]:
        # Each question has one line as its answer, so the buffer holds nothing that select would not see.
        ready, _, _ = select.select([self._answers], [], [], seconds)
        if not ready:
            raise CompetitorUnavailableError(f"did not answer within {seconds:.0f} s")
        line = self._answers.readline()
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)  # it may still write its last message
        lines = self._log.read_bytes()[-REASON_BYTES:].decode(errors="replace").strip().splitlines()
        raise CompetitorUnavailableError(f"ended: {lines[-1] if lines else 'without a message'}")


def default_environments() -> Path:
    """Return a folder in the user's cache folder (XDG base directory specification)."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(cache) if Path(cache).is_absolute() else Path.home() / ".cache") / "mlmon-benchmarks"


def python_with(requirements: Path | None, environments: Path) -> Path:
    """Return an interpreter with pinned requirements. The first call creates its environment in `environments`.

    Raises
    ------
    CompetitorUnavailableError
        The requirements cannot be installed.
    """
    if requirements is None:
        return Path(sys.executable)
    content = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    environment = environments / f"{requirements.stem}-{version}-{content}"
    python = environment / "bin" / "python"
    complete = environment / "complete"
    if complete.exists():
        return python
    shutil.rmtree(environment, ignore_errors=True)
    environments.mkdir(parents=True, exist_ok=True)
    if importlib.util.find_spec("uv") is not None:
        uv = [sys.executable, "-m", "uv", "--quiet"]
        _run([*uv, "venv", "--python", sys.executable, str(environment)])
        _run([*uv, "pip", "install", "--python", str(python), "--requirement", str(requirements)])
    else:
        _run([sys.executable, "-m", "venv", str(environment)])
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, "--requirement", str(requirements)])
    complete.touch()
    return python


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise CompetitorUnavailableError(f"was not installed within {INSTALL_SECONDS} s") from error
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        reason = " ".join(line.strip() for line in lines[-REASON_LINES:])
        raise CompetitorUnavailableError(f"cannot be installed: {reason}")


def serve(side: Side, arrays: FeatureArrays, questions: IO[str], answers: IO[str]) -> None:
    """Warm up, then answer questions until the input ends."""

    def answer(values: Mapping[str, Any]) -> None:
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    side.prepare(arrays.corner(WARM_UP_ROWS, WARM_UP_FEATURES))()
    check = side.prepare(arrays)
    answer({})
    meter, peak, result = MemoryMeter(), None, None
    for question in questions:
        match question.strip():
            case "run":
                elapsed, result = timed(check)
                peak = peak or meter.peak()
                answer(asdict(elapsed))
            case "memory" if peak is not None:
                answer(asdict(peak))
            case "ks" if peak is not None:
                answer(dict(side.ks_statistics(result)))
            case unknown:
                raise ValueError(f"Unknown question, or asked before the first run: {unknown!r}.")


def _main(side: str, folder: str) -> None:
    # What a library prints goes to the log, because standard output carries only answers.
    with os.fdopen(os.dup(sys.stdout.fileno()), "w") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        serve(pkgutil.resolve_name(side), load(Path(folder)), sys.stdin, answers)


if __name__ == "__main__":
    _main(*sys.argv[1:])
