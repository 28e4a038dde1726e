"""Ground truth is joined with predictions: real Redis and PostgreSQL, through the services."""

import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
import redis
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from inference import stream
from inference.models import ObservationChunk
from inference.observations import append_observations
from inference.services.archiving import archive_observations
from inference.services.compaction import compact_archive
from models_registry.models import ModelVersion
from monitoring.models import JobRun
from performance import tasks
from performance.models import GroundTruth, GroundTruthCorrection
from performance.services.ground_truth import (
    Outcome,
    delete_old_ground_truth,
    look_up_waiting,
    record_ground_truth,
)
from tests.inference.observed import observations, registered_version

pytestmark = pytest.mark.django_db

ROWS = 5


@pytest.fixture
def version(redis_client: redis.Redis) -> ModelVersion:
    row = registered_version("labelled")
    ModelVersion.objects.filter(pk=row.pk).update(classes=["a", "b"])
    return row


def predicted(client: redis.Redis, version: ModelVersion, rows: int = ROWS) -> list[str]:
    """Append rows whose prediction is "a"; return their ids."""
    table = observations([1.0] * rows, version_id=version.pk)
    append_observations(client, version.pk, table, max_entries=100_000)
    return ids_of(table)


def ids_of(table: Any) -> list[str]:
    return [str(uuid.UUID(bytes=one)) for one in table.column("prediction_id").to_pylist()]


def outcomes(ids: Sequence[str], actual: Any = "b", **fields: Any) -> list[str]:
    items = [{"prediction_id": one, "actual": actual, **fields} for one in ids]
    return [result.outcome.value for result in record_ground_truth(items=items)]


def test_labels_are_joined_with_predictions_that_are_not_archived_yet(
    version: ModelVersion, redis_client: redis.Redis
) -> None:
    ids = predicted(redis_client, version)
    assert outcomes(ids) == ["accepted"] * ROWS
    row = GroundTruth.objects.get(pk=ids[0])
    assert (row.version_id, row.prediction, row.actual, row.confidence) == (version.pk, "a", "b", 0.5)
    assert row.predicted_at is not None
    assert timedelta(0) <= row.received_at - row.predicted_at < timedelta(minutes=1)
    assert row.next_lookup_at is None


def test_labels_are_joined_with_archived_predictions_after_the_stream_is_deleted(
    version: ModelVersion, redis_client: redis.Redis
) -> None:
    ids = [one for _ in range(10) for one in predicted(redis_client, version)]
    archive_observations(seconds=10)
    redis_client.delete(stream.stream_key(version.pk))
    assert outcomes(ids[:7]) == ["accepted"] * 7
    for chunk in ObservationChunk.objects.all():
        assert not chunk.has_given_ids
    compact_archive(seconds=10)
    assert outcomes(ids) == ["duplicate"] * 7 + ["accepted"] * 43


def test_the_predictions_of_a_chunk_are_read_once(
    version: ModelVersion, redis_client: redis.Redis, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    ids = predicted(redis_client, version, 20)
    archive_observations(seconds=10)
    outcomes(ids[:1])
    with django_assert_max_num_queries(12) as captured:
        assert outcomes(ids[1:2]) == ["accepted"]
    assert not any("payload" in query["sql"] for query in captured.captured_queries)


def test_an_early_label_is_joined_when_its_prediction_is_archived(
    version: ModelVersion, redis_client: redis.Redis
) -> None:
    table = observations([1.0, 2.0], version_id=version.pk)
    ids = ids_of(table)
    assert outcomes(ids) == ["unknown", "unknown"]
    assert outcomes(ids) == ["duplicate", "duplicate"]
    append_observations(redis_client, version.pk, table, max_entries=100)
    archive_observations(seconds=10)
    assert set(GroundTruth.objects.values_list("version", "prediction", "actual")) == {(version.pk, "a", "b")}


def test_a_label_that_missed_its_prediction_is_looked_up_again(
    version: ModelVersion, redis_client: redis.Redis
) -> None:
    table = observations([1.0], version_id=version.pk)
    (prediction_id,) = ids_of(table)
    assert outcomes([prediction_id]) == ["unknown"]
    append_observations(redis_client, version.pk, table, max_entries=100)
    assert look_up_waiting() == 0  # not due yet
    due = timezone.now() - timedelta(seconds=1)
    GroundTruth.objects.update(next_lookup_at=due)
    assert look_up_waiting() == 1
    assert GroundTruth.objects.get().version_id == version.pk


def test_lookups_of_a_missing_prediction_become_rarer_and_end(version: ModelVersion) -> None:
    unknown = str(uuid.uuid4())
    assert outcomes([unknown]) == ["unknown"]
    waits = []
    for waited in (timedelta(minutes=1), timedelta(hours=5), timedelta(days=8)):
        received_at = timezone.now() - waited
        GroundTruth.objects.update(received_at=received_at, next_lookup_at=received_at)
        assert look_up_waiting() == 0
        row = GroundTruth.objects.get()
        waits.append(row.next_lookup_at and round((row.next_lookup_at - timezone.now()) / waited, 1))
    assert waits == [1.0, 1.0, None]


def test_a_correction_keeps_the_earlier_label(version: ModelVersion, redis_client: redis.Redis) -> None:
    ids = predicted(redis_client, version)
    first, second = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)
    assert outcomes(ids[:1], "b", observed_at=first.isoformat()) == ["accepted"]
    assert outcomes(ids[:1], "a", observed_at=second.isoformat()) == ["corrected"]
    assert outcomes(ids[:1], "a", observed_at=second.isoformat()) == ["duplicate"]
    row = GroundTruth.objects.get()
    assert (row.actual, row.observed_at) == ("a", second)
    correction = GroundTruthCorrection.objects.get()
    assert (correction.actual_before, correction.observed_at_before) == ("b", first)


def test_the_items_of_one_call_are_stored_in_their_order(version: ModelVersion, redis_client: redis.Redis) -> None:
    (prediction_id, other, *_) = predicted(redis_client, version)
    sent = [(prediction_id, "a"), (prediction_id, "a"), (other, "b"), (prediction_id, "b"), (prediction_id, "a")]
    results = record_ground_truth(items=[{"prediction_id": one, "actual": actual} for one, actual in sent])
    assert [result.outcome.value for result in results] == [
        "accepted",
        "duplicate",
        "accepted",
        "corrected",
        "corrected",
    ]
    assert GroundTruth.objects.get(pk=prediction_id).actual == "a"
    assert list(GroundTruthCorrection.objects.order_by("pk").values_list("actual_before", flat=True)) == ["a", "b"]


def test_a_label_that_is_no_class_is_invalid_and_the_others_are_stored(
    version: ModelVersion, redis_client: redis.Redis
) -> None:
    ids = predicted(redis_client, version)
    items = [
        {"prediction_id": one, "actual": actual} for one, actual in zip(ids, ["a", "c", "b", 5, True], strict=True)
    ]
    results = record_ground_truth(items=items)
    assert [result.outcome for result in results] == [
        Outcome.ACCEPTED,
        Outcome.INVALID,
        Outcome.ACCEPTED,
        Outcome.INVALID,
        Outcome.INVALID,
    ]
    assert (results[1].field, results[1].reason) == ("actual", '"c" is not one of the model\'s classes: a, b')
    assert GroundTruth.objects.count() == 2


def test_an_early_label_that_is_no_class_is_refused_until_it_is_corrected(
    version: ModelVersion, redis_client: redis.Redis
) -> None:
    table = observations([1.0], version_id=version.pk)
    (prediction_id,) = ids_of(table)
    assert outcomes([prediction_id], "c") == ["unknown"]
    append_observations(redis_client, version.pk, table, max_entries=100)
    archive_observations(seconds=10)
    row = GroundTruth.objects.get()
    assert (row.version_id, row.actual) == (version.pk, "c")
    assert "is not one of the model's classes" in row.refusal
    assert outcomes([prediction_id], "b") == ["corrected"]
    row.refresh_from_db()
    assert (row.actual, row.refusal) == ("b", "")


def test_labels_of_a_regression_are_numbers(version: ModelVersion, redis_client: redis.Redis) -> None:
    ModelVersion.objects.filter(pk=version.pk).update(task_type="regression", classes=[])
    ids = predicted(redis_client, version)
    assert outcomes(ids[:1], 5) == ["accepted"]
    assert outcomes(ids[:1], "5.0") == ["duplicate"]
    assert outcomes(ids[:1], 5.25) == ["corrected"]
    assert outcomes(ids[1:2], "late") == ["invalid"]


def test_ids_chosen_by_clients_are_found_too(version: ModelVersion, redis_client: redis.Redis) -> None:
    table = observations([1.0, 2.0], version_id=version.pk)
    given = [uuid.uuid4(), uuid.uuid4()]
    column = table.schema.get_field_index("prediction_id")
    table = table.set_column(column, table.field(column), pa.array([one.bytes for one in given], pa.binary(16)))
    append_observations(redis_client, version.pk, table, max_entries=100)
    archive_observations(seconds=10)
    assert ObservationChunk.objects.get().has_given_ids
    assert outcomes([str(one) for one in given]) == ["accepted", "accepted"]


@pytest.mark.django_db(transaction=True)
def test_concurrent_calls_with_the_same_ids_store_each_label_once(
    version: ModelVersion, redis_client: redis.Redis
) -> None:
    ids = predicted(redis_client, version, 200)

    def send(number: int) -> list[str]:
        try:
            return outcomes(ids if number % 2 else ids[::-1], "b")
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(send, range(16)))
    by_id = [
        sorted(rows[place if number % 2 else -1 - place] for number, rows in enumerate(results)) for place in range(200)
    ]
    assert all(found == ["accepted"] + ["duplicate"] * 15 for found in by_id)
    assert GroundTruth.objects.count() == 200
    assert not GroundTruthCorrection.objects.exists()


@pytest.fixture
def old_ids(version: ModelVersion, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of three rows that are too old, the oldest first, and of two others; two rows are deleted at a time."""
    monkeypatch.setattr("inference.services.retention.BATCH_ROWS", 2)
    ids = predicted(redis_client, version)
    outcomes(ids)
    for days, one in zip((368, 367, 366), ids, strict=False):
        GroundTruth.objects.filter(pk=one).update(received_at=timezone.now() - timedelta(days=days))
    return ids


def stored_ids() -> list[str]:
    return [str(pk) for pk in GroundTruth.objects.order_by("received_at").values_list("pk", flat=True)]


def test_old_ground_truth_is_deleted_in_batches(old_ids: list[str]) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert delete_old_ground_truth(seconds=10) == 3
    deletes = [query["sql"] for query in queries if query["sql"].startswith('DELETE FROM "performance_groundtruth" ')]
    assert len(deletes) == 2
    assert sorted(stored_ids()) == sorted(old_ids[3:])
    assert delete_old_ground_truth(seconds=10) == 0


def test_without_time_no_ground_truth_is_deleted(old_ids: list[str]) -> None:
    assert delete_old_ground_truth(seconds=0) == 0
    assert sorted(stored_ids()) == sorted(old_ids)


@pytest.fixture
def _undeletable_row(old_ids: list[str]) -> Iterator[None]:
    """A trigger because of which the database refuses to delete the latest of the old rows."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'the disk is full'; END $$"
        )
        cursor.execute(
            "CREATE TRIGGER refuse BEFORE DELETE ON performance_groundtruth FOR EACH ROW "
            f"WHEN (OLD.prediction_id = '{uuid.UUID(old_ids[2])}') EXECUTE FUNCTION refuse()"
        )
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP FUNCTION refuse CASCADE")


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_undeletable_row")
def test_a_failure_to_delete_ground_truth_is_shown_in_jobs_and_keeps_the_rest(old_ids: list[str]) -> None:
    result = tasks.delete_old_ground_truth.apply()
    assert isinstance(result.result, DatabaseError)
    assert sorted(stored_ids()) == sorted(old_ids[2:])  # the first batch is deleted
    job = JobRun.objects.get()
    assert (job.failures, job.last_success_at) == (1, None)
    assert "the disk is full" in job.last_error
