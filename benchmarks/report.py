"""What a benchmark prints and writes."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a text table: the first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in (headers, *rows)) for column in range(len(headers))]
    lines = [_line(headers, widths), "  ".join("-" * width for width in widths)]
    return "\n".join(lines + [_line(row, widths) for row in rows])


def write_json(path: Path | None, figures: Mapping[str, Any]) -> None:
    """Write the figures to `path`; nowhere without one."""
    if path is not None:
        path.write_text(json.dumps(figures, indent=2, allow_nan=False) + "\n")


def progress(text: str) -> None:
    """Tell a person who waits what happens now; on standard error, so that the report can be kept."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def seconds_text(seconds: float) -> str:
    """Return a duration with three digits that mean something."""
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    return f"{seconds:.3g} s"


def bytes_text(size: int) -> str:
    """Return a size in MiB."""
    return f"{size / 2**20:,.0f} MiB"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first = cells[0].ljust(widths[0])
    return "  ".join([first, *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))]).rstrip()
