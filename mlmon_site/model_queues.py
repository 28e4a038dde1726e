"""Where predict requests run: quick ones on the event loop, slow ones in threads, a few of each model at a time."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import inf
from typing import TypeVar

T = TypeVar("T")

QUICK_SECONDS = 0.002
# After a slow run the model stays off the event loop for this many times its duration, so that slow runs block the
# loop for at most a hundredth of the time, whatever the model's input is. With a longer pause, one run with cold caches
# would keep a quick model in threads for seconds.
PAUSE_FACTOR = 100
LONGEST_PAUSE_SECONDS = 600.0


class ModelBusyError(Exception):
    """As many requests as allowed wait for this model already, or this one waited too long."""


class ModelQueue:
    """The runs of one model in this process.

    Runs are slow or quick by kind: the requested version and the size of the body. The first run of a kind takes place
    in a thread. CPU time is measured, as others may keep the CPU busy.

    Parameters
    ----------
    threads
        Runs the slow ones of all models.
    most_runs
        Slow runs at the same time.
    most_waiting
        Requests that may wait for their turn.
    longest_wait_seconds
        How long one waits.
    """

    def __init__(
        self, threads: ThreadPoolExecutor, *, most_runs: int, most_waiting: int, longest_wait_seconds: float
    ) -> None:
        self._threads = threads
        self._most_waiting = most_waiting
        self._longest_wait_seconds = longest_wait_seconds
        self._free = most_runs
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._slow_until: dict[tuple[str | None, int], float] = {}

    def is_quick(self, version: str | None, body_bytes: int) -> bool:
        """Return whether a run may take place on the event loop."""
        return self._slow_until.get((version, body_bytes.bit_length()), inf) <= time.monotonic()

    def run_quick(self, version: str | None, body_bytes: int, run: Callable[[], T]) -> T:
        """Run on the event loop, and find out whether the next run of this kind may do so as well."""
        begun = time.thread_time()
        try:
            return run()
        finally:
            self._measured(version, body_bytes, time.thread_time() - begun)

    async def run_in_thread(self, version: str | None, body_bytes: int, run: Callable[[], T]) -> T:
        """Run in a thread, when it is this request's turn.

        Raises
        ------
        ModelBusyError
            Too many requests are waiting, or this one has waited too long.
        """
        await self._await_turn()
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, self.run_quick, version, body_bytes, run)
        finally:
            self._end_turn()

    async def _await_turn(self) -> None:
        if self._free:
            self._free -= 1
            return
        if len(self._waiting) >= self._most_waiting:
            raise ModelBusyError
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(self._longest_wait_seconds):
                await turn
        except TimeoutError:
            if turn.cancelled() or not turn.done():  # otherwise its turn came in the last moment
                raise ModelBusyError from None

    def _end_turn(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _measured(self, version: str | None, body_bytes: int, seconds: float) -> None:
        pause = min(LONGEST_PAUSE_SECONDS, PAUSE_FACTOR * seconds) if seconds > QUICK_SECONDS else 0.0
        key = (version, body_bytes.bit_length())
        if pause or key not in self._slow_until:
            self._slow_until[key] = time.monotonic() + pause
