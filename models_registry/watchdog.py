"""Deadlines for calls that cannot be interrupted from their own thread: one thread in a process keeps them all."""

import os
import threading
import time
from collections.abc import Callable
from math import inf


class Deadline:
    """A call's time limit; `lift` it when the call has ended."""

    __slots__ = ("_expire", "_watchdog", "at", "has_passed")

    def __init__(self, watchdog: "_Watchdog", at: float, expire: Callable[[], None]) -> None:
        self._watchdog = watchdog
        self._expire = expire
        self.at = at
        self.has_passed = False

    def lift(self) -> None:
        """Forget the deadline; `expire` will not be called any more."""
        self._watchdog.forget(self)

    def pass_(self) -> None:
        """Mark the deadline as passed and stop the call."""
        self.has_passed = True
        self._expire()


class _Watchdog:
    """Wakes at the earliest deadline that it knew when it fell asleep, whether or not that was lifted since.

    So a process that predicts all the time wakes this thread about once in a timeout, not once in a prediction, and
    an idle process never.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._deadlines: set[Deadline] = set()
        self._wakes_at = inf
        self._thread: threading.Thread | None = None

    def watch(self, seconds: float, expire: Callable[[], None]) -> Deadline:
        deadline = Deadline(self, time.monotonic() + seconds, expire)
        with self._condition:
            self._deadlines.add(deadline)
            if self._thread is None:
                self._thread = threading.Thread(target=self._keep, name="prediction-watchdog", daemon=True)
                self._thread.start()
            elif deadline.at < self._wakes_at:
                self._wakes_at = deadline.at
                self._condition.notify()
        return deadline

    def forget(self, deadline: Deadline) -> None:
        with self._condition:
            self._deadlines.discard(deadline)

    def _keep(self) -> None:
        with self._condition:
            while True:
                now = time.monotonic()
                for passed in [each for each in self._deadlines if each.at <= now]:
                    self._deadlines.discard(passed)
                    passed.pass_()
                self._wakes_at = min((each.at for each in self._deadlines), default=inf)
                self._condition.wait(None if self._wakes_at == inf else self._wakes_at - now)


_watchdog = _Watchdog()


def deadline(seconds: float, expire: Callable[[], None]) -> Deadline:
    """Have ``expire`` called from the watchdog's thread in ``seconds``, unless the deadline is lifted before."""
    return _watchdog.watch(seconds, expire)


def _start_anew() -> None:
    # A forked child has the lock and the deadlines of its parent, but not the thread.
    global _watchdog  # noqa: PLW0603
    _watchdog = _Watchdog()


os.register_at_fork(after_in_child=_start_anew)
