"""The capture queue, with a real Redis that becomes unavailable and available again."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from prometheus_client import REGISTRY
from redis.backoff import NoBackoff
from redis.retry import Retry

from inference import stream
from inference.capture import CaptureQueue, CaptureRule
from inference.observations import ObservationBatch
from inference.prediction_ids import new_prediction_ids
from mlmon.schema import Feature, FeatureKind, TensorType
from tests.inference.observed import await_next_millisecond
from tests.services.processes import await_condition
from tests.services.redis_server import start_redis

FEATURES = (
    Feature("width", FeatureKind.NUMERIC, False, "width", 0, TensorType.FLOAT32),
    Feature("origin", FeatureKind.CATEGORICAL, False, "origin", 0, TensorType.STRING),
)


def batch(values: list[float], *, version_id: int = 1, model_name: str = "captured") -> ObservationBatch:
    rows = len(values)
    return ObservationBatch(
        version_id=version_id,
        model_name=model_name,
        features=FEATURES,
        prediction_ids=new_prediction_ids(rows, version_id),
        observed_at_us=time.time_ns() // 1000,
        columns={"width": np.array(values), "origin": np.array(["JFK", None] * rows, dtype=object)[:rows]},
        predictions=np.array(["late"] * rows, dtype=object),
        confidence=np.full(rows, 0.75),
        latency_ms=1.5,
    )


def capture_queue(client: redis.Redis, *, stream_rows: int = 1000) -> CaptureQueue:
    return CaptureQueue(lambda: client, queue_rows=1000, flush_seconds=0.02, stream_rows=stream_rows)


def stopped_queue(client: redis.Redis, *, stream_rows: int = 1000) -> CaptureQueue:
    """Return a queue without a thread, which only an explicit flush empties."""
    queue = capture_queue(client, stream_rows=stream_rows)
    queue.flush_and_stop()
    return queue


def dropped(model_name: str) -> float:
    return REGISTRY.get_sample_value("ml_capture_dropped_total", {"model_name": model_name}) or 0.0


def pending(model_name: str) -> float | None:
    return REGISTRY.get_sample_value("ml_capture_pending", {"model_name": model_name})


def wait_for_rows(client: redis.Redis, rows: int, *, version_id: int = 1) -> None:
    await_condition(
        lambda: stream.rows_seen(client, [version_id])[version_id] >= rows, "the rows did not arrive", pause=0.01
    )


def test_the_thread_writes_the_captured_observations(redis_client: redis.Redis) -> None:
    queue = capture_queue(redis_client)
    first = batch([1.0, np.nan])
    queue.capture(first, CaptureRule())
    queue.capture(batch([3.0]), CaptureRule())
    wait_for_rows(redis_client, 3)
    window = stream.read_window(redis_client, 1, 100)
    assert window.features.to_pydict() == {"width": [1.0, None, 3.0], "origin": ["JFK", None, "JFK"]}
    assert window.table.column("prediction").to_pylist() == ["late"] * 3
    assert window.table.column("confidence").to_pylist() == [0.75] * 3
    assert window.table.column("prediction_id").to_pylist()[:2] == list(first.prediction_ids)
    queue.flush_and_stop()  # the rows arrive before the thread updates the metric
    assert pending("captured") == 0


def test_a_flush_packs_the_batches_of_a_version_into_one_entry(redis_client: redis.Redis) -> None:
    queue = stopped_queue(redis_client)
    for value in range(50):
        queue.capture(batch([float(value)], version_id=value % 2), CaptureRule())
    queue.flush()
    assert [redis_client.xlen(stream.stream_key(version_id)) for version_id in (0, 1)] == [1, 1]
    assert stream.read_window(redis_client, 1, 100).features.column("width").to_pylist() == [
        float(value) for value in range(1, 50, 2)
    ]


def test_stopping_flushes_the_queue(redis_client: redis.Redis) -> None:
    queue = capture_queue(redis_client)
    for value in range(100):
        queue.capture(batch([float(value)]), CaptureRule())
    queue.flush_and_stop()
    assert stream.rows_seen(redis_client, [1]) == {1: 100}


def test_while_redis_is_unavailable_the_oldest_are_dropped_and_the_rest_is_written_later(
    tmp_path: Path,
) -> None:
    # Nothing listens there. Retries are off, as their pauses are random and up to seconds long.
    unavailable = redis.Redis(host="127.0.0.1", port=1, socket_connect_timeout=0.2, retry=Retry(NoBackoff(), 0))
    clients = [unavailable]
    queue = CaptureQueue(lambda: clients[0], queue_rows=100, flush_seconds=0.02, stream_rows=1000)
    dropped_before = dropped("outage")
    for value in range(150):
        queue.capture(batch([float(value)], model_name="outage"), CaptureRule())
    await_condition(lambda: dropped("outage") - dropped_before == 50, "not the oldest 50 are dropped", pause=0.01)
    assert pending("outage") == 100

    server = start_redis(tmp_path)
    try:
        clients[0] = redis.Redis.from_url(server.url)
        wait_for_rows(clients[0], 100)
        queue.flush_and_stop()
        window = stream.read_window(clients[0], 1, 1000)
        widths: list[Any] = window.features.column("width").to_pylist()
        assert len(widths) == 100
        # The entry of the first flush is repeated unchanged; the latest observations fill the rest of the queue.
        first_flush = next((place for place in range(1, 100) if widths[place] != widths[place - 1] + 1), 100)
        assert widths[first_flush:] == [float(value) for value in range(50 + first_flush, 150)]
        assert pending("outage") == 0
    finally:
        clients[0].close()
        server.stop()


class LosesReplies:
    """A Redis client that executes scripts and then loses their replies."""

    def __init__(self, client: redis.Redis, *, losses: int) -> None:
        self._client, self._losses = client, losses

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def register_script(self, text: str) -> Any:
        script = self._client.register_script(text)

        def call(**arguments: Any) -> Any:
            reply = script(**arguments)
            if self._losses:
                self._losses -= 1
                raise redis.ConnectionError("the reply was lost")
            return reply

        return call


def test_an_append_whose_reply_was_lost_is_stored_once(redis_client: redis.Redis) -> None:
    lossy: Any = LosesReplies(redis_client, losses=2)
    queue = stopped_queue(lossy)
    queue.capture(batch([1.0, 2.0]), CaptureRule())
    for value in (3.0, 4.0):
        with pytest.raises(redis.ConnectionError):
            queue.flush()
        queue.capture(batch([value]), CaptureRule())
    queue.flush()
    queue.flush()
    window = stream.read_window(redis_client, 1, 100)
    assert window.features.column("width").to_pylist() == [1.0, 2.0, 3.0, 4.0]
    assert window.rows_seen == 4
    assert pending("captured") == 0


def test_the_stream_is_bounded_even_without_a_worker(redis_client: redis.Redis) -> None:
    queue = stopped_queue(redis_client, stream_rows=200)
    for value in range(40):
        queue.capture(batch([float(value)] * 20), CaptureRule())
        queue.flush()
        await_next_millisecond(redis_client)  # trimming keeps entries of one millisecond together
    kept = stream.read_window(redis_client, 1, 10_000)
    assert 200 <= kept.table.num_rows <= 280
    assert kept.rows_seen == 800


def test_one_batch_that_cannot_be_packed_does_not_affect_the_others(
    redis_client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    queue = stopped_queue(redis_client)
    broken = batch([1.0], version_id=5, model_name="broken")
    broken.columns["width"].resize(2, refcheck=False)  # two values for one id
    queue.capture(broken, CaptureRule())
    queue.capture(batch([2.0], version_id=6), CaptureRule())
    queue.flush()
    assert stream.rows_seen(redis_client, [5, 6]) == {5: 0, 6: 1}
    assert "could not be packed" in caplog.text
    assert dropped("broken") == 1
