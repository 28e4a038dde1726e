"""Capture the predictions of models that KServe serves, from the events of its payload logger.

A request only puts its event into the process's queue. A thread decodes the events, joins them with their other halves
in Redis and captures the pairs as `inference.services.observations` does. A repeated event changes nothing: the ids of
its predictions follow from its own id.
"""

import logging
import os
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import redis
from django.conf import settings
from django.utils import timezone

from inference import metrics
from inference.exceptions import ArchivedVersionError, EventError, NoVersionLoadedError, PayloadError
from inference.kserve.events import (
    EventOutcome,
    LoggedEvent,
    ReceivedEvent,
    decode_event,
    prediction_id_of,
    prediction_name,
)
from inference.kserve.pairs import HalfPair, Pair, PairStore
from inference.kserve.payloads import predictions_of_response, rows_of_request
from inference.observation_items import EPOCH, LONGEST_LATENCY_MS, MICROSECOND
from inference.rejections import Rejection, RequestErrorCode
from inference.services.observations import ObservationStatus, capture_items, version_of
from inference.serving import LoadedVersion, serving
from inference.stream import redis_client
from models_registry.exceptions import UnknownModelError, UnknownVersionError
from models_registry.models import Stage

logger = logging.getLogger(__name__)

EVENT_OVERHEAD_BYTES = 2_000  # of the headers and objects of a queued event
MOST_EVENTS_AT_ONCE = 1_000
MOST_BYTES_AT_ONCE = 16 * 2**20
SWEEP_SECONDS = 2.0  # between two removals of halves that wait in vain
LONGEST_RETRY_SECONDS = 2.0
STOP_SECONDS = 2.0  # the server allows 6 s for the whole stop


class StoppedError(Exception):
    """The process ends while Redis is unavailable."""


class EventReceiver:
    """The process's queue of events, and the thread that empties it.

    Parameters
    ----------
    queue_bytes
        Most bytes in the queue; further events are dropped.
    pause_seconds
        Pause between two flushes.
    """

    def __init__(self, store: Callable[[], PairStore], *, queue_bytes: int, pause_seconds: float) -> None:
        self._store = store
        self._queue_bytes = queue_bytes
        self._pause_seconds = pause_seconds
        self._queue: deque[ReceivedEvent] = deque()
        self._bytes = 0
        self._lock = threading.Lock()  # guards the queue and its size
        self._waiting = 0  # halves in Redis, of all processes, at the last flush
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Empty the queue in the background from now on."""
        self._thread = threading.Thread(target=self._run, name="mlmon-kserve", daemon=True)
        self._thread.start()

    def receive(self, event: ReceivedEvent) -> None:
        """Queue an event; drop and count it if the queue is full."""
        metrics.KSERVE_RECEIVED.inc()
        size = len(event.body) + EVENT_OVERHEAD_BYTES
        with self._lock:
            is_full = self._bytes + size > self._queue_bytes
            if not is_full:
                self._queue.append(event)
                self._bytes += size
        if is_full:
            metrics.count_kserve_events(metrics.UNKNOWN, EventOutcome.QUEUE_FULL)
        else:
            self._wake.set()

    def flush(self) -> None:
        """Process all queued events, and count those that wait in vain.

        Raises
        ------
        redis.RedisError
            Redis is unavailable and the receiver was not started, so that nothing repeats the step.
        """
        while True:
            events = self._take()
            self._process(events)
            if not events:
                return

    def stop(self) -> None:
        """End the thread after it has processed what is queued, if that takes less than `STOP_SECONDS`."""
        self._stopped.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        is_last = False
        while not is_last:
            self._wake.wait(SWEEP_SECONDS if self._waiting else None)
            self._wake.clear()
            is_last = self._stopped.is_set()  # before the flush: what was received until then is processed
            try:
                self.flush()
            except StoppedError as error:
                logger.error("Events of KServe were lost when the process ended: %s", error)
                return
            except Exception:
                logger.exception("Events of KServe could not be processed; the next flush takes the rest.")
            self._stopped.wait(self._pause_seconds)

    def _take(self) -> list[ReceivedEvent]:
        taken: list[ReceivedEvent] = []
        size = 0
        with self._lock:
            while self._queue and len(taken) < MOST_EVENTS_AT_ONCE and size < MOST_BYTES_AT_ONCE:
                taken.append(self._queue.popleft())
                size += len(taken[-1].body) + EVENT_OVERHEAD_BYTES
            self._bytes -= size
        return taken

    def _process(self, events: Sequence[ReceivedEvent]) -> None:
        """Join events and capture the pairs. Each step can be repeated, so that a lost reply of Redis loses nothing."""
        store = self._store()
        accepted = accept_events(events)
        joined = self._insist(lambda: store.join(accepted))
        self._waiting = joined.waiting
        for half, model_name in joined.expired:
            metrics.count_kserve_events(model_name, half.alone)
        for model_name, count in Counter(joined.again).items():
            metrics.count_kserve_events(model_name, EventOutcome.DUPLICATE, count)
        groups: dict[tuple[str, str], list[Pair]] = defaultdict(list)
        for pair in joined.pairs:
            groups[pair.request.model_name, pair.version].append(pair)
        for (model_name, version), pairs in groups.items():
            self._insist(partial(capture_pairs, model_name, version, pairs))
        self._insist(lambda: store.finish(joined.pairs))

    def _insist(self, step: Callable[[], Any]) -> Any:
        """Return the result of a step that needs Redis, repeated until Redis is available again."""
        pause = self._pause_seconds
        while True:
            try:
                return step()
            except redis.RedisError as error:
                if self._thread is None:
                    raise
                logger.warning("Redis is unavailable; %d events of KServe are queued: %s", len(self._queue), error)
                if self._stopped.wait(pause):
                    raise StoppedError(str(error)) from error
                pause = min(LONGEST_RETRY_SECONDS, pause * 2)


def accept_events(events: Sequence[ReceivedEvent]) -> list[tuple[LoggedEvent, HalfPair]]:
    """Return the events that belong to a model, with the part that waits for the other half; count the others."""
    snapshot = serving().snapshot()
    accepted = []
    for received in events:
        try:
            event = decode_event(received)
            target = snapshot.kserve_services.target(event.namespace, event.service, snapshot.models)
            if target is None:
                reason = f"No model belongs to the service {event.namespace}/{event.service}."
                raise EventError(EventOutcome.UNKNOWN_SERVICE, reason)
        except EventError as error:
            logger.debug("An event of KServe was refused: %s", error)
            metrics.count_kserve_events(metrics.UNKNOWN, EventOutcome(error.outcome))
            continue
        model_name, version = target
        half = HalfPair(event.half, model_name, event.version or version, event.time_us, event.body)
        accepted.append((event, half))
    return accepted


def capture_pairs(model_name: str, version_name: str, pairs: Sequence[Pair]) -> None:
    """Capture the predictions of one version and count the pairs.

    Raises
    ------
    redis.RedisError
        Some pairs may be captured. Those are duplicates when the call is repeated.
    """
    try:
        version = version_of(model_name, version_name or None)
    except (UnknownModelError, UnknownVersionError, ArchivedVersionError, NoVersionLoadedError, PayloadError) as error:
        rejection = Rejection.of_request(RequestErrorCode.UNKNOWN_VERSION, str(error))
        for _ in pairs:
            metrics.count_rejected_without_version(model_name, rejection, serving().tally)
        metrics.count_kserve_events(model_name, EventOutcome.NO_VERSION, 2 * len(pairs))
        return
    now = timezone.now()
    items: list[dict[str, Any]] = []
    pair_of_item: list[int] = []
    for number, pair in enumerate(pairs):
        try:
            found = _items(pair, version, now)
        except EventError as error:
            _count_undecodable(version, str(error))
            continue
        if len(items) + len(found) > settings.MLMON_MAX_ROWS_PER_REQUEST:
            _capture(version, items, pair_of_item)
            items, pair_of_item = [], []
        items += found
        pair_of_item += [number] * len(found)
    _capture(version, items, pair_of_item)


def _items(pair: Pair, version: LoadedVersion, now: datetime) -> list[dict[str, Any]]:
    """Return the observations in a pair; raise EventError if its bodies cannot be decoded."""
    rows = rows_of_request(pair.request.body, version.schema.features, most_rows=settings.MLMON_MAX_ROWS_PER_REQUEST)
    predictions = predictions_of_response(pair.response.body, version.schema, rows=len(rows))
    time_us = pair.response.time_us or pair.request.time_us
    known: dict[str, Any] = {"observed_at": min(now, EPOCH + time_us * MICROSECOND) if time_us else now}
    if pair.latency_ms is not None and pair.latency_ms <= LONGEST_LATENCY_MS:
        known["latency_ms"] = pair.latency_ms
    return [
        {
            "features": row,
            **prediction,
            **known,
            "prediction_id": str(prediction_id_of(prediction_name(pair.event_id, index, len(rows)))),
        }
        for index, (row, prediction) in enumerate(zip(rows, predictions, strict=True))
    ]


def _capture(version: LoadedVersion, items: Sequence[Mapping[str, Any]], pair_of_item: Sequence[int]) -> None:
    """Capture observations and count their pairs as requests: one with an invalid row is rejected."""
    if not items:
        return
    statuses: dict[int, Counter[ObservationStatus]] = defaultdict(Counter)
    outcomes = capture_items(version, items, request_of_item=pair_of_item)
    for number, outcome in zip(pair_of_item, outcomes, strict=True):
        statuses[number][outcome.status] += 1
    for counts in statuses.values():
        if counts[ObservationStatus.DUPLICATE] == counts.total():
            metrics.count_kserve_events(version.model_name, EventOutcome.DUPLICATE)
            continue
        metrics.count_kserve_events(version.model_name, EventOutcome.PAIRED, 2)
        if version.stage is not Stage.SHADOW:
            is_rejected = counts[ObservationStatus.INVALID] > 0
            version.metrics.count_request("rejected" if is_rejected else "success")
            if not is_rejected:
                version.metrics.count_batch_sizes([counts.total()])


def _count_undecodable(version: LoadedVersion, reason: str) -> None:
    logger.debug("A pair of events for %s cannot be decoded: %s", version.model_name, reason)
    metrics.count_kserve_events(version.model_name, EventOutcome.UNDECODABLE, 2)
    version.metrics.count_rejection(Rejection.of_request(RequestErrorCode.WRONG_BODY, reason))
    if version.stage is not Stage.SHADOW:
        version.metrics.count_request("rejected")


_of_process: dict[int, EventReceiver] = {}


def event_receiver() -> EventReceiver:
    """Return the receiver of this process; a forked child creates its own."""
    pid = os.getpid()
    if pid not in _of_process:
        receiver = EventReceiver(
            _pair_store,
            queue_bytes=settings.MLMON_KSERVE_QUEUE_BYTES,
            pause_seconds=settings.MLMON_CAPTURE_FLUSH_MS / 1000,
        )
        _of_process.setdefault(pid, receiver)
    return _of_process[pid]


def stop_receiving() -> None:
    """Stop and forget the receiver of this process, if there is one."""
    receiver = _of_process.pop(os.getpid(), None)
    if receiver is not None:
        receiver.stop()


def _pair_store() -> PairStore:
    return PairStore(
        redis_client(),
        wait_seconds=settings.MLMON_KSERVE_PAIR_SECONDS,
        most_halves=settings.MLMON_KSERVE_WAITING_EVENTS,
        most_bytes=settings.MLMON_KSERVE_WAITING_BYTES,
    )
