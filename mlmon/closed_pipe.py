"""Output to a reader that stops early, such as ``| head``."""

import io
import os
import sys
from typing import Any, TextIO


class _Output(io.FileIO):
    """A file descriptor for writing that is replaced by the null device once nobody reads it any more."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)
            return memoryview(data).nbytes


def ignore_closed_pipes() -> None:
    """Discard further output to stdout and stderr once their reader has gone, instead of ending with a traceback.

    The exit status stays that of the command: it does not depend on how much the reader has read.
    """
    sys.stdout, sys.stderr = _tolerant(sys.stdout), _tolerant(sys.stderr)


def _tolerant(stream: TextIO) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper):
        return stream  # there is none, or a program that embeds this one has its own
    output = _Output(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        output if stream.write_through else io.BufferedWriter(output),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
