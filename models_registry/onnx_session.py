"""ONNX Runtime sessions, loaded the same way in the server and in an upload's trial, and their time limits."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state

from mlmon.values import category_name
from models_registry.exceptions import ArtefactError

# Every error of ONNX Runtime: its own exceptions have no common base class, and its bindings raise built-in ones. The
# time limit of a Celery task, raised by a signal handler while a model runs, is none of them.
ONNX_RUNTIME_ERRORS: tuple[type[Exception], ...] = (
    *(
        kind
        for kind in vars(onnxruntime_pybind11_state).values()
        if isinstance(kind, type) and issubclass(kind, Exception)
    ),
    RuntimeError,
    TypeError,
    ValueError,
    MemoryError,
)
# A severity of ONNX Runtime. It raises its errors as exceptions, so only fatal messages are worth a line.
_FATAL_ONLY = 4


def load_session(artefact: Path | bytes) -> ort.InferenceSession:
    """Return a session that computes in the calling thread only: the server's processes provide the parallelism.

    Raises
    ------
    ArtefactError
        ONNX Runtime cannot load the model.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = _FATAL_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Otherwise a file's first bytes decide, in memory but not on disk: two readings of one file.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    source = artefact if isinstance(artefact, bytes) else str(artefact)
    try:
        return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except ONNX_RUNTIME_ERRORS as error:
        raise ArtefactError(f"ONNX Runtime cannot load the model: {error}") from error


def results_by_row(result: object, rows: int) -> NDArray[Any] | None:
    """Return an output of one run as an array of shape rows x width; None if it does not have a result for each row.

    Exporters write one result for each row as rows, rows x width, 1 x rows, or as a scalar for a single row.
    """
    array = np.asarray(result)
    if array.ndim > 2 or array.size % rows:
        return None
    if rows == 1 or array.shape[0] == rows:
        return array.reshape(rows, -1)
    return array.reshape(rows, 1) if array.shape == (1, rows) else None


def label_text(label: object) -> str:
    """Return a predicted label as the name of a class: 2.0 is "2", and a boolean is "true" or "false"."""
    if isinstance(label, float):
        return category_name(label)
    return str(label).lower() if isinstance(label, bool) else str(label)


@dataclass(slots=True, eq=False)
class Deadline:
    """The time limit of a call, which `expire` stops. Call `lift` when the call has ended."""

    watchdog: "_Watchdog"
    at: float
    expire: Callable[[], object]
    has_passed: bool = False

    def lift(self) -> None:
        """Remove the deadline; `expire` will not be called any more."""
        with self.watchdog.condition:
            self.watchdog.deadlines.discard(self)


@dataclass(slots=True, eq=False)
class _Watchdog:
    """A thread that expires deadlines.

    It wakes at the earliest deadline that it knew when it fell asleep, even if that was lifted since. So a busy process
    wakes it about once per time limit, not once per prediction, and an idle process never.
    """

    condition: threading.Condition = field(default_factory=threading.Condition)
    deadlines: set[Deadline] = field(default_factory=set)
    wakes_at: float = inf
    thread: threading.Thread | None = None

    def run(self) -> None:
        with self.condition:
            while True:
                now = time.monotonic()
                for passed in [each for each in self.deadlines if each.at <= now]:
                    self.deadlines.discard(passed)
                    passed.has_passed = True
                    passed.expire()
                self.wakes_at = min((each.at for each in self.deadlines), default=inf)
                self.condition.wait(None if self.wakes_at == inf else self.wakes_at - now)


_watchdog = _Watchdog()


def deadline(seconds: float, expire: Callable[[], object]) -> Deadline:
    """Call ``expire`` from the watchdog's thread in ``seconds``, unless the deadline is lifted before."""
    watchdog = _watchdog
    made = Deadline(watchdog, time.monotonic() + seconds, expire)
    with watchdog.condition:
        watchdog.deadlines.add(made)
        if watchdog.thread is None:
            watchdog.thread = threading.Thread(target=watchdog.run, name="prediction-watchdog", daemon=True)
            watchdog.thread.start()
        elif made.at < watchdog.wakes_at:
            watchdog.wakes_at = made.at
            watchdog.condition.notify()
    return made


def _replace_watchdog() -> None:
    # A forked child inherits the lock and the deadlines of its parent, but not the thread.
    global _watchdog  # noqa: PLW0603
    _watchdog = _Watchdog()


os.register_at_fork(after_in_child=_replace_watchdog)
