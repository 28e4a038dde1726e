"""What a figure was measured on."""

import importlib.metadata
import os
import platform
from pathlib import Path


def machine() -> dict[str, str | int]:
    """Return the processor, the number of cores that may be used, the system and the Python."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def library_versions(*names: str) -> dict[str, str]:
    """Return the versions of installed distributions."""
    return {name: importlib.metadata.version(name) for name in names}


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
