"""A sampling profiler: records the stack a thousand times a second.

A timer interrupts the main thread by wall-clock time, so waiting for a server counts too. Unlike a tracing profiler, it
does not slow down Python code. A call into C counts for the line that made it.
"""

import linecache
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
INTERVAL_SECONDS = 0.001
NOT_MEASURED = ("tests", "benchmarks")
_ROOTS = tuple(
    f"{package.parent}/" for package in PROJECT.glob("*/__init__.py") if package.parent.name not in NOT_MEASURED
)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the project's code."""

    file: str
    number: int
    function: str

    @property
    def text(self) -> str:
        """Its place and its code."""
        code = linecache.getline(str(PROJECT / self.file), self.number).strip()
        return f"{self.file}:{self.number} {self.function}: {code}"


@dataclass(slots=True)
class Samples:
    """Recorded lines.

    Attributes
    ----------
    innermost
        By line of the project: how often it was the innermost one on the stack.
    within
        The same for the lines of one file.
    """

    innermost: Counter[Line] = field(default_factory=Counter)
    within: Counter[Line] = field(default_factory=Counter)
    total: int = 0

    def report(self, lines: Counter[Line], most: int) -> dict[str, float]:
        """Return the most frequent lines with their shares of all samples."""
        return {line.text: count / max(1, self.total) for line, count in lines.most_common(most)}


def report_lines(shares: dict[str, float]) -> list[str]:
    """Return a report as lines for a person."""
    return [f"{share:6.1%}  {text}" for text, share in shares.items()]


def sampled(function: Callable[[], Any], *, file: str) -> Samples:
    """Run `function` in the main thread and return where its time went, in all code and in one file."""
    samples = Samples()
    recording = threading.Lock()

    def record(_signal: int, frame: FrameType | None) -> None:
        if not recording.acquire(blocking=False):  # on a busy machine, the next signal can arrive during this one
            return
        lines = list(_project_lines(frame))
        samples.total += 1
        samples.innermost.update(lines[:1])
        samples.within.update([line for line in lines if line.file == file][:1])
        recording.release()

    before = signal.signal(signal.SIGALRM, record)
    signal.setitimer(signal.ITIMER_REAL, INTERVAL_SECONDS, INTERVAL_SECONDS)
    try:
        function()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return samples


def _project_lines(frame: FrameType | None) -> Iterator[Line]:
    """Yield the project's lines on the stack, the innermost first."""
    while frame is not None:
        path = frame.f_code.co_filename
        if path.startswith(_ROOTS):
            relative = sys.intern(path.removeprefix(f"{PROJECT}/"))
            yield Line(relative, frame.f_lineno, frame.f_code.co_name)
        frame = frame.f_back
