"""The benchmark of reading observations, with few rows."""

import json

import pytest
import redis
from django.db import connection

from benchmarks import window_read, window_readers
from benchmarks.memory import PeakMemory, peak_of
from benchmarks.timing import Elapsed, Pair, PairedTimes
from inference.models import ObservationChunk
from inference.stream import rows_seen

ROWS, FEATURES = 3_000, 6


@pytest.mark.django_db(transaction=True)
def test_every_reader_returns_the_same_columns(redis_client: redis.Redis) -> None:
    version_id = window_readers.new_version("read")
    window_readers.fill_stream(version_id, ROWS, FEATURES, entry_rows=70)
    window_readers.fill_jsonb(version_id, ROWS, FEATURES)
    archived_id = window_readers.new_version("archived")
    seconds = window_readers.fill_archive(archived_id, ROWS, FEATURES, entry_rows=70)
    try:
        streamed = window_readers.read_stream(version_id, FEATURES, 2_000)
        archived = window_readers.read_archive(archived_id, FEATURES, 2_000)
        from_json = window_readers.read_jsonb(version_id, FEATURES, 2_000)
        assert seconds > 0
        assert ObservationChunk.objects.exists()
        assert rows_seen(redis_client, [archived_id]) == {archived_id: 0}
        assert all(size > 8192 for size in window_readers.bytes_on_disk().values())
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE one_row_per_prediction")
    # Each call draws new ids.
    expected = window_readers.observations(ROWS, FEATURES, seed=0).slice(1_000).drop_columns(["prediction_id"])
    for table in (streamed, archived, from_json):
        assert table.schema.equals(window_readers.schema_of(FEATURES))
        assert table.drop_columns(["prediction_id"]).combine_chunks().equals(expected.combine_chunks())


def _reading(name: str, ours: float, theirs: float) -> window_read.Reading:
    pairs = tuple(Pair(Elapsed(ours, ours), Elapsed(theirs, theirs)) for _ in range(3))
    peak = PeakMemory(added_bytes=2**20, total_bytes=2**24)
    return window_read.Reading(name, 1_000_000, 20, PairedTimes(pairs), ours=peak, theirs=peak)


@pytest.mark.parametrize(("seconds", "verdict"), [(0.25, "<= 0.03: met"), (0.5, "<= 0.03: missed")])
def test_the_figures_are_ratios_and_show_whether_they_meet_the_target(seconds: float, verdict: str) -> None:
    results = window_read.Results(
        stream=_reading("stream", seconds, 10.0),
        archive=_reading("archive", 1.0, 8.0),
        archived_per_second=12_000.0,
        archive_bytes=100 * 2**20,
        jsonb_bytes=700 * 2**20,
    )
    written = json.loads(json.dumps(window_read.figures_of(results)))
    assert written["ratios"] == {"stream_vs_jsonb": pytest.approx(seconds / 10), "archive_vs_jsonb": 0.125}
    assert written["required"]["stream_vs_jsonb"] == 0.03
    text = window_read.text_of(results)
    assert verdict in text
    assert "One process archived 12,000 observations a second" in text
    assert "take 100 MiB in the archive; as JSONB rows 7.0 times as much" in text


def test_the_peak_is_measured_for_the_requested_rows() -> None:
    read: list[int] = []

    def reader(rows: int) -> None:
        read.append(rows)
        # Written, so that it is resident.
        block = bytearray(b"x") * (rows * 1000)
        assert len(block) == rows * 1000

    peak = peak_of(reader, 50_000)
    assert read == [1_000, 50_000]
    assert 45e6 < peak.added_bytes < 80e6
