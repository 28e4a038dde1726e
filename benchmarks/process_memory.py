"""Read the memory of running processes from /proc. Linux only."""

import re
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """Memory of a process, as the kernel reports it in ``/proc/PID/smaps_rollup``.

    Attributes
    ----------
    pss_bytes
        Proportional set size: a page that n processes map counts as 1/n. The sum over processes is their memory.
    anonymous_bytes
        The part of `pss_bytes` that is not backed by files. Processes outside the run cannot share it.
    rss_bytes
        Resident memory, in which shared pages count fully.
    """

    pss_bytes: int
    anonymous_bytes: int
    rss_bytes: int


def memory_of(pid: int) -> ProcessMemory:
    """Return the memory of a process. Raise OSError if it has ended or belongs to another user."""
    text = (_PROC / str(pid) / "smaps_rollup").read_text()
    fields = {name: 1024 * int(size) for name, size in re.findall(r"^(\w+): +(\d+) kB$", text, flags=re.MULTILINE)}
    return ProcessMemory(
        pss_bytes=fields["Pss"],
        anonymous_bytes=fields["Pss_Anon"],
        rss_bytes=fields["Rss"],
    )
