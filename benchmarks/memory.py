"""Measure the peak memory of some work, in a process that does nothing else.

tracemalloc sees only the allocations of Python and NumPy, not those of Arrow and of compiled libraries. These functions
read the high-water mark of resident memory that the kernel keeps: on Linux VmHWM, which can be reset before the work.
On other systems they use ``ru_maxrss`` and report how much it grew, a lower bound.
"""

import ctypes
import gc
import multiprocessing
import os
import resource
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WARM_UP_ROWS = 1_000
_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")
_RESET_HIGH_WATER_MARK = "5"  # proc(5)


@dataclass(frozen=True, slots=True)
class PeakMemory:
    """Resident memory of a process at the peak of some work.

    Attributes
    ----------
    added_bytes
        Above what was resident before the work.
    total_bytes
        Of the whole process: interpreter, libraries, data and work.
    """

    added_bytes: int
    total_bytes: int


class MemoryMeter:
    """Measures the process from the creation of the object on."""

    def __init__(self) -> None:
        gc.collect()
        # Free memory goes back to the system. Otherwise the work could reuse it without being measured.
        if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:  # glibc
            trim(0)
        if (pyarrow := sys.modules.get("pyarrow")) is not None:
            pyarrow.default_memory_pool().release_unused()
        try:
            _RESET.write_text(_RESET_HIGH_WATER_MARK)
            self._before = _status_bytes("VmRSS")
        except OSError:
            self._before = _high_water_bytes()

    def peak(self) -> PeakMemory:
        """Return the peak until now. Memory that this work keeps would hide the peak of later work."""
        peak = _high_water_bytes()
        return PeakMemory(added_bytes=max(0, peak - self._before), total_bytes=peak)


def peak_of(read: Callable[[int], Any], rows: int) -> PeakMemory:
    """Return the peak of reading `rows`, after a small read that opens connections and fills caches."""
    read(WARM_UP_ROWS)
    meter = MemoryMeter()
    read(rows)
    return meter.peak()


def in_new_process(function: Callable[..., PeakMemory], *arguments: Any) -> PeakMemory:
    """Call a function in a process that does nothing else, with Django set up if its settings are named."""
    import django

    context = multiprocessing.get_context("spawn")
    initializer = django.setup if "DJANGO_SETTINGS_MODULE" in os.environ else None
    with ProcessPoolExecutor(1, mp_context=context, initializer=initializer) as pool:
        return pool.submit(function, *arguments).result()


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
    raise LookupError(f"{_STATUS} has no field {field}.")
