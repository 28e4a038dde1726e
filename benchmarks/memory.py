"""How much memory a piece of work needs at its peak, measured in a process that does nothing else.

tracemalloc sees only what Python's own allocator and numpy's hooks report: neither Arrow's pools nor the buffers of
compiled libraries. So the process's resident memory is watched, by the kernel's own high-water mark. On Linux that is
VmHWM, which can be reset just before the work; ``ru_maxrss`` there also counts the parent that the process was forked
from, and is used only where there is no /proc (then as growth of the mark, a lower bound).
"""

import ctypes
import gc
import resource
import sys
from dataclasses import dataclass
from pathlib import Path

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")
_RESET_HIGH_WATER_MARK = "5"  # proc(5)


@dataclass(frozen=True, slots=True)
class PeakMemory:
    """Resident memory of a process at the peak of some work.

    Attributes
    ----------
    added_bytes
        Above what was resident when the work began.
    total_bytes
        Of the whole process: interpreter, libraries, data and work.
    """

    added_bytes: int
    total_bytes: int


class MemoryWatch:
    """Watches the process from now on."""

    def __init__(self) -> None:
        gc.collect()
        _give_back_what_is_free()
        self._before = _resident_bytes()

    def peak(self) -> PeakMemory:
        """Return the peak up to now; work that comes later, in the same process, finds memory that is still held."""
        peak = _high_water_bytes()
        return PeakMemory(added_bytes=max(0, peak - self._before), total_bytes=peak)


def _give_back_what_is_free() -> None:
    """Return freed memory to the system, which else the work could use again without being seen to."""
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:  # glibc's
        trim(0)
    if (pyarrow := sys.modules.get("pyarrow")) is not None:
        pyarrow.default_memory_pool().release_unused()


def _resident_bytes() -> int:
    """Return what is resident now, and let the high-water mark begin there; the mark itself where that cannot be."""
    try:
        _RESET.write_text(_RESET_HIGH_WATER_MARK)
    except OSError:
        return _high_water_bytes()
    return _status_bytes("VmRSS")


def _high_water_bytes() -> int:
    if _STATUS.exists():
        return _status_bytes("VmHWM")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _status_bytes(field: str) -> int:
    for line in _STATUS.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise LookupError(f"{_STATUS} has no {field}.")
