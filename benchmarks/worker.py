"""One side of a comparison in a process of its own, and that process: it loads the data once, then runs on request.

``python -m benchmarks.worker MODULE FOLDER`` imports the side's module and reads the arrays in FOLDER. Then it answers
each line of standard input with a line of JSON: ``run`` with the times, ``memory`` with the peak of the first run,
``answers`` with what the last run found. The interpreter's start, imports and loading are over by then and never
count. It runs under the rivals' own interpreters, so it uses nothing but numpy.
"""

import contextlib
import importlib
import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Protocol

from benchmarks.arrays import FeatureArrays, load
from benchmarks.environments import RivalUnavailableError
from benchmarks.memory import MemoryWatch, PeakMemory
from benchmarks.timing import Elapsed, timed

PROJECT = Path(__file__).resolve().parent.parent
WARM_UP_ROWS, WARM_UP_FEATURES = 2_000, 6
START_SECONDS = 300
RUN_SECONDS = 300
STOP_SECONDS = 10
REASON_BYTES = 2_000
# No rival tells its makers that a benchmark runs.
QUIET = {"DO_NOT_TRACK": "1", "NML_DISABLE_USAGE_LOGGING": "1"}


class Side(Protocol):
    """What a side's module defines."""

    def prepare(self, arrays: FeatureArrays) -> Callable[[], Any]:
        """Set up what the side's interface lets one set up once, and return the check of the window."""
        ...

    def answers(self, found: Any) -> Mapping[str, float]:
        """Return the KS statistic by numeric feature from what the check returned; empty where it has none."""
        ...


class Worker:
    """A running side."""

    def __init__(self, module: str, arrays: Path, *, python: Path, log: Path) -> None:
        self._log = log
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [str(python), "-W", "ignore", "-m", "benchmarks.worker", module, str(arrays)],
                cwd=PROJECT,
                env={**os.environ, **QUIET},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        self._answered(START_SECONDS)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.kill()
        self._process.communicate()

    def run(self) -> Elapsed:
        """Run the check once."""
        return Elapsed(**self._asked("run"))

    def peak_memory(self) -> PeakMemory:
        """Return the peak of the first run: later ones use again what it left."""
        return PeakMemory(**self._asked("memory"))

    def answers(self) -> dict[str, float]:
        """Return what the last run found."""
        return self._asked("answers")

    def _asked(self, question: str) -> dict[str, Any]:
        _pipe(self._process.stdin).write(f"{question}\n".encode())
        _pipe(self._process.stdin).flush()
        return self._answered(RUN_SECONDS)

    def _answered(self, seconds: float) -> dict[str, Any]:
        # One line answers one question, so nothing is left in the reader's buffer that select would not see.
        ready, _, _ = select.select([_pipe(self._process.stdout)], [], [], seconds)
        if not ready:
            raise RivalUnavailableError(f"gave no answer within {seconds:.0f} s")
        line = _pipe(self._process.stdout).readline()
        if not line:
            raise RivalUnavailableError(f"ended: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _last_words(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)  # it may still be writing them
        lines = self._log.read_bytes()[-REASON_BYTES:].decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "without a word"


def serve(side: Side, arrays: FeatureArrays, questions: IO[str], answers: IO[str]) -> None:
    """Answer questions until there are none."""
    side.prepare(arrays.corner(WARM_UP_ROWS, WARM_UP_FEATURES))()
    check = side.prepare(arrays)
    _say(answers, {})
    watch, peak, found = MemoryWatch(), None, None
    for question in questions:
        match question.strip():
            case "run":
                elapsed, found = timed(check)
                peak = peak or watch.peak()
                _say(answers, asdict(elapsed))
            case "memory" if peak is not None:
                _say(answers, asdict(peak))
            case "answers":
                _say(answers, dict(side.answers(found)))
            case unknown:
                raise ValueError(f"Not a question, or too early: {unknown!r}.")


def _say(answers: IO[str], answer: Mapping[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise RivalUnavailableError("has no pipe")
    return pipe


def _main(module: str, folder: str) -> None:
    # What a library prints goes to the log: standard output carries answers only.
    with os.fdopen(os.dup(sys.stdout.fileno()), "w") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        side: Any = importlib.import_module(module)
        serve(side, load(Path(folder)), sys.stdin, answers)


if __name__ == "__main__":
    _main(*sys.argv[1:])
