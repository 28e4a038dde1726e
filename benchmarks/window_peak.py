"""The memory that one reader of observations needs, in a process that does nothing else.

``python -m benchmarks.window_peak READER VERSION_ID FEATURES ROWS`` reads once and prints the peak as JSON. It finds
the servers in the environment, as every process of ours does.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from benchmarks.memory import MemoryWatch, PeakMemory

WARM_UP_ROWS = 1_000


def peak_of(read: Callable[[int], Any], rows: int) -> PeakMemory:
    """Return the peak of reading `rows` once connections, imports and caches are there."""
    read(WARM_UP_ROWS)
    watch = MemoryWatch()
    read(rows)
    return watch.peak()


def _main(reader: str, version_id: int, features: int, rows: int) -> None:
    import django

    django.setup()
    from benchmarks.window_readers import READERS

    peak = peak_of(lambda wanted: READERS[reader](version_id, features, wanted), rows)
    sys.stdout.write(json.dumps(asdict(peak)) + "\n")


if __name__ == "__main__":
    _main(sys.argv[1], *map(int, sys.argv[2:]))
