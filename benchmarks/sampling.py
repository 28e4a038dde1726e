"""Where the time goes, by looking at the stack a thousand times a second.

A timer interrupts the main thread by the wall clock, so waiting for a server counts too, and nothing is slowed down the
way that a tracing profiler slows Python code. A call into C is counted at the line that made it.
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
_ROOTS = tuple(
    f"{PROJECT / name}/"
    for name in (
        "mlmon",
        "rest",
        "accounts",
        "models_registry",
        "inference",
        "performance",
        "drift",
        "monitoring",
        "mlmon_site",
        "demo",
    )
)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the project's code."""

    file: str
    number: int
    function: str

    @property
    def text(self) -> str:
        """Where it is and what it says."""
        code = linecache.getline(str(PROJECT / self.file), self.number).strip()
        return f"{self.file}:{self.number} {self.function}: {code}"


@dataclass(slots=True)
class Samples:
    """What was seen.

    Attributes
    ----------
    innermost
        How often each line of the project was the innermost of the project's on the stack.
    within
        The same for the innermost line of one file.
    """

    innermost: Counter[Line] = field(default_factory=Counter)
    within: Counter[Line] = field(default_factory=Counter)
    total: int = 0

    def shares(self, lines: Counter[Line], most: int) -> list[tuple[float, Line]]:
        """Return the commonest lines with their share of all samples."""
        return [(count / max(1, self.total), line) for line, count in lines.most_common(most)]


def sampled(function: Callable[[], Any], *, file: str) -> Samples:
    """Run `function` in the main thread and return where its time went; `file` is looked at on its own."""
    samples = Samples()
    looking = threading.Lock()

    def look(_signal: int, frame: FrameType | None) -> None:
        if not looking.acquire(blocking=False):  # on a busy machine the next look comes while this one counts
            return
        lines = list(_lines(frame))
        samples.total += 1
        samples.innermost.update(lines[:1])
        samples.within.update([line for line in lines if line.file == file][:1])
        looking.release()

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, INTERVAL_SECONDS, INTERVAL_SECONDS)
    try:
        function()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return samples


def _lines(frame: FrameType | None) -> Iterator[Line]:
    """Return the project's lines on the stack, the innermost first."""
    while frame is not None:
        path = frame.f_code.co_filename
        if path.startswith(_ROOTS):
            relative = sys.intern(path.removeprefix(f"{PROJECT}/"))
            yield Line(relative, frame.f_lineno, frame.f_code.co_name)
        frame = frame.f_back
