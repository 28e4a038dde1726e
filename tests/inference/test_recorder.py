"""The recorder, with a real Redis that comes and goes."""

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
from inference.prediction_ids import new_prediction_ids
from inference.recorder import ObservationBatch, Recorder
from mlmon.schema import Feature, FeatureKind, TensorType
from tests.services.redis_server import start_redis

FEATURES = (
    Feature("width", FeatureKind.NUMERIC, False, "width", 0, TensorType.FLOAT32),
    Feature("origin", FeatureKind.CATEGORICAL, False, "origin", 0, TensorType.STRING),
)


def batch(values: list[float], *, version_id: int = 1, model_name: str = "recorded") -> ObservationBatch:
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


def recorder(client: redis.Redis, *, queue_rows: int = 1000) -> Recorder:
    return Recorder(lambda: client, queue_rows=queue_rows, flush_seconds=0.02, stream_rows=1000)


def dropped(model_name: str) -> float:
    return REGISTRY.get_sample_value("ml_capture_dropped_total", {"model_name": model_name}) or 0.0


def pending(model_name: str) -> float | None:
    return REGISTRY.get_sample_value("ml_capture_pending", {"model_name": model_name})


def wait_for_rows(client: redis.Redis, rows: int, *, version_id: int = 1) -> None:
    deadline = time.monotonic() + 10
    while stream.rows_seen(client, [version_id])[version_id] < rows:
        assert time.monotonic() < deadline, "the rows did not arrive"
        time.sleep(0.01)


def test_the_thread_writes_what_is_recorded(redis_client: redis.Redis) -> None:
    recording = recorder(redis_client)
    first = batch([1.0, np.nan])
    recording.record(first)
    recording.record(batch([3.0]))
    wait_for_rows(redis_client, 3)
    window = stream.read_window(redis_client, 1, 100)
    assert window.features.to_pydict() == {"width": [1.0, None, 3.0], "origin": ["JFK", None, "JFK"]}
    assert window.table.column("prediction").to_pylist() == ["late"] * 3
    assert window.table.column("confidence").to_pylist() == [0.75] * 3
    assert window.table.column("prediction_id").to_pylist()[:2] == list(first.prediction_ids)
    recording.flush_and_stop()  # the rows are seen before the thread has said that none is pending
    assert pending("recorded") == 0


def test_a_flush_packs_the_batches_of_a_version_into_one_entry(redis_client: redis.Redis) -> None:
    recording = recorder(redis_client)
    recording._stopping = True  # no thread: the flush below is the only one
    for value in range(50):
        recording.record(batch([float(value)], version_id=value % 2))
    recording.flush()
    assert [redis_client.xlen(stream.stream_key(version_id)) for version_id in (0, 1)] == [1, 1]
    assert stream.read_window(redis_client, 1, 100).features.column("width").to_pylist() == [
        float(value) for value in range(1, 50, 2)
    ]


def test_stopping_flushes_the_queue(redis_client: redis.Redis) -> None:
    recording = recorder(redis_client)
    for value in range(100):
        recording.record(batch([float(value)]))
    recording.flush_and_stop()
    assert stream.rows_seen(redis_client, [1]) == {1: 100}


def test_redis_away_the_oldest_are_dropped_and_counted_and_redis_back_it_goes_on(tmp_path: Path) -> None:
    # Nothing listens there; without retries, as their pauses are random and up to seconds.
    away = redis.Redis(host="127.0.0.1", port=1, socket_connect_timeout=0.2, retry=Retry(NoBackoff(), 0))
    clients = [away]
    recording = Recorder(lambda: clients[0], queue_rows=100, flush_seconds=0.02, stream_rows=1000)
    dropped_before = dropped("outage")
    for value in range(150):
        recording.record(batch([float(value)], model_name="outage"))
    time.sleep(0.3)
    assert dropped("outage") - dropped_before == 50
    assert pending("outage") == 100

    server = start_redis(tmp_path)
    try:
        clients[0] = redis.Redis.from_url(server.url)
        wait_for_rows(clients[0], 100)
        recording.flush_and_stop()
        window = stream.read_window(clients[0], 1, 1000)
        widths: list[Any] = window.features.column("width").to_pylist()
        assert len(widths) == 100
        # The first flush, of whatever was there, is tried again as it was; the newest fill the rest.
        first_flush = next((place for place in range(1, 100) if widths[place] != widths[place - 1] + 1), 100)
        assert widths[first_flush:] == [float(value) for value in range(50 + first_flush, 150)]
        assert pending("outage") == 0
    finally:
        clients[0].close()
        server.stop()


class LosesAnswers:
    """A way to Redis that carries commands out and then loses their answers."""

    def __init__(self, client: redis.Redis, *, losses: int) -> None:
        self._client, self._losses = client, losses

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def register_script(self, text: str) -> Any:
        script = self._client.register_script(text)

        def call(**arguments: Any) -> Any:
            answer = script(**arguments)
            if self._losses:
                self._losses -= 1
                raise redis.ConnectionError("the answer was lost")
            return answer

        return call


def test_an_append_whose_answer_was_lost_is_there_once(redis_client: redis.Redis) -> None:
    lossy: Any = LosesAnswers(redis_client, losses=2)
    recording = recorder(lossy)
    recording._stopping = True
    recording.record(batch([1.0, 2.0]))
    for value in (3.0, 4.0):
        with pytest.raises(redis.ConnectionError):
            recording.flush()
        recording.record(batch([value]))
    recording.flush()
    recording.flush()
    window = stream.read_window(redis_client, 1, 100)
    assert window.features.column("width").to_pylist() == [1.0, 2.0, 3.0, 4.0]
    assert window.rows_seen == 4
    assert pending("recorded") == 0


def test_the_stream_is_bounded_also_where_no_worker_trims_it(redis_client: redis.Redis) -> None:
    recording = Recorder(lambda: redis_client, queue_rows=1000, flush_seconds=0.02, stream_rows=200)
    recording._stopping = True
    for value in range(40):
        recording.record(batch([float(value)] * 20))
        recording.flush()
        time.sleep(0.002)  # entries share milliseconds otherwise, and are then kept together
    kept = stream.read_window(redis_client, 1, 10_000)
    assert 200 <= kept.table.num_rows <= 280
    assert kept.rows_seen == 800


def test_one_batch_that_cannot_be_packed_does_not_take_the_others_along(
    redis_client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    recording = recorder(redis_client)
    recording._stopping = True
    broken = batch([1.0], version_id=5, model_name="broken")
    broken.columns["width"].resize(2, refcheck=False)  # two values for one id
    recording.record(broken)
    recording.record(batch([2.0], version_id=6))
    recording.flush()
    assert stream.rows_seen(redis_client, [5, 6]) == {5: 0, 6: 1}
    assert "could not be packed" in caplog.text
    assert dropped("broken") == 1
