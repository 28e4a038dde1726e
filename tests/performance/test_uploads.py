"""Ground truth from CSV and Parquet files, with the same outcomes as the API."""

import gzip
import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import redis
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from inference.observations import append_observations
from models_registry.models import ModelVersion
from performance.exceptions import GroundTruthFileError
from performance.models import GroundTruth, GroundTruthUpload, UploadStatus
from performance.services import uploads
from performance.services.ground_truth import record_ground_truth
from performance.services.uploads import UPLOAD_QUEUE, read_ground_truth_upload, upload_ground_truth
from tests.inference.observed import observations, registered_version
from tests.performance.test_ground_truth import ids_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def ids(redis_client: redis.Redis) -> list[str]:
    """Ids of predictions of a model with the classes a and b, in the stream."""
    version = registered_version("labelled")
    ModelVersion.objects.filter(pk=version.pk).update(classes=["a", "b"])
    table = observations([1.0] * 40, version_id=version.pk)
    append_observations(redis_client, version.pk, table, max_entries=1000)
    return ids_of(table)


def csv_of(rows: Sequence[Sequence[Any]], header: str = "prediction_id,actual") -> bytes:
    return "\n".join([header, *(",".join(map(str, row)) for row in rows)]).encode() + b"\n"


def parquet_of(**columns: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def read(content: bytes) -> GroundTruthUpload:
    upload = upload_ground_truth(file=ContentFile(content), filename="labels.csv", enqueue=False)
    return read_ground_truth_upload(upload_id=upload.pk)


def test_a_csv_file_is_stored_row_by_row(ids: list[str]) -> None:
    rows = [(ids[0], "a"), (ids[1], "z"), ("x", "a"), (ids[0], "a"), (ids[0], "b"), (ids[2], ""), (ids[3], "b")]
    upload = read(csv_of([(*row, "ignored") for row in rows], header="prediction_id,actual,comment"))
    assert (upload.status, upload.rows_done, upload.progress_percent) == (UploadStatus.DONE, 7, 100)
    assert upload.counts == {"accepted": 2, "invalid": 3, "duplicate": 1, "corrected": 1}
    assert upload.problems == [
        {"row": 2, "field": "actual", "reason": '"z" is not one of the model\'s classes: a, b'},
        {"row": 3, "field": "prediction_id", "reason": "must be a UUID, as in the response of the predict call"},
        {"row": 6, "field": "actual", "reason": "is required: the true class or number"},
    ]
    assert GroundTruth.objects.count() == 2


def test_a_file_in_another_encoding_compressed_and_with_semicolons(ids: list[str]) -> None:
    content = gzip.compress(f"prediction_id;actual;größe\n{ids[0]};a;ü\n".encode("cp1252"))
    assert "choose its encoding, which is often cp1252" in read(content).error_message
    upload = upload_ground_truth(file=ContentFile(content), filename="labels.csv.gz", encoding="cp1252", enqueue=False)
    assert read_ground_truth_upload(upload_id=upload.pk).counts == {"accepted": 1}


def test_a_parquet_file_may_contain_times(ids: list[str]) -> None:
    observed_at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    times = pa.array([observed_at, None], pa.timestamp("ns", tz="UTC"))
    upload = read(parquet_of(prediction_id=ids[:2], actual=["a", "b"], observed_at=times))
    assert upload.counts == {"accepted": 2}
    assert GroundTruth.objects.get(pk=ids[0]).observed_at == observed_at
    naive = pa.array([datetime(2026, 3, 1)] * 2, pa.timestamp("us"))  # noqa: DTZ001
    upload = read(parquet_of(prediction_id=ids[:2], actual=["a", "b"], observed_at=naive))
    assert "must have a UTC offset" in upload.problems[0]["reason"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "The file is empty."),
        (b"prediction_id\nx\n", 'Column "actual" is not in the file. It has: "prediction_id".'),
        (b"prediction_id,actual,actual\n", 'Column "actual" is in the file 2 times: as columns 2 and 3.'),
        (b"PK\x03\x04", "an Excel workbook"),
        (parquet_of(prediction_id=["x"], actual=[["a"]]), "has neither strings nor numbers"),
        (b"prediction_id,actual\nx,a,b\n", "Every row has 3 values; the header has 2."),
    ],
)
def test_a_file_that_cannot_be_read_says_why(content: bytes, reason: str) -> None:
    upload = read(content)
    assert upload.status == UploadStatus.FAILED
    assert reason in upload.error_message
    assert "0 rows before it were read." in upload.error_message


def test_a_worker_continues_a_file_where_a_dead_one_stopped(ids: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "BATCH_ROWS", 10)
    upload = upload_ground_truth(file=ContentFile(csv_of([(one, "a") for one in ids])), filename="l.csv", enqueue=False)
    batches = iter([True, True])

    class Killed(BaseException):
        """The end of the process."""

    def record_two_batches(*, items: Any) -> Any:
        if next(batches, None) is None:
            raise Killed
        return record_ground_truth(items=items)

    with monkeypatch.context() as patched:
        patched.setattr(uploads, "record_ground_truth", record_two_batches)
        with pytest.raises(Killed):
            read_ground_truth_upload(upload_id=upload.pk)
    assert read_ground_truth_upload(upload_id=upload.pk).rows_done == 20  # not abandoned yet: nothing happens
    GroundTruthUpload.objects.update(claimed_at=timezone.now() - timedelta(minutes=6))
    upload = read_ground_truth_upload(upload_id=upload.pk)
    assert (upload.status, upload.rows_done, upload.counts) == (UploadStatus.DONE, 40, {"accepted": 40})


def test_uploads_that_no_worker_reads_are_enqueued_again(redis_client: redis.Redis) -> None:
    upload = upload_ground_truth(file=ContentFile(b"x"), filename="l.csv", enqueue=False)
    assert UPLOAD_QUEUE.enqueue_waiting() == 0
    GroundTruthUpload.objects.update(created_at=timezone.now() - timedelta(minutes=2))
    assert UPLOAD_QUEUE.enqueue_waiting() == 1
    (message,) = (json.loads(one) for one in redis_client.lrange("celery", 0, -1))
    assert message["headers"]["task"] == "performance.tasks.read_ground_truth_upload"
    assert message["headers"]["argsrepr"] == f"[{upload.pk}]"


def test_a_file_that_is_too_large_is_refused(settings: Settings) -> None:
    settings.MLMON_MAX_REFERENCE_BYTES = 10
    with pytest.raises(GroundTruthFileError, match="11 bytes; the limit is 0 MiB"):
        upload_ground_truth(file=ContentFile(b"x" * 11), filename="l.csv", enqueue=False)


def test_the_admin_uploads_a_file_and_shows_the_outcomes_of_its_rows(ids: list[str], admin_client: Client) -> None:
    content = csv_of([(ids[0], "a"), (ids[1], "<b>")])
    file = SimpleUploadedFile("labels.csv", content)
    response = admin_client.post("/admin/performance/groundtruthupload/add/", {"file": file})
    upload = GroundTruthUpload.objects.get()
    assert (response.status_code, response["Location"]) == (
        302,
        f"/admin/performance/groundtruthupload/{upload.pk}/change/",
    )
    assert upload.created_by == User.objects.get(username="admin")
    page = admin_client.get(response["Location"]).content.decode()
    assert "Reading labels.csv" in page
    read_ground_truth_upload(upload_id=upload.pk)
    page = admin_client.get(response["Location"]).content.decode()
    assert "&quot;&lt;b&gt;&quot; is not one of the model" in page
    assert "accepted: the prediction was found" in page
    assert "labels.csv" in admin_client.get("/admin/performance/groundtruthupload/").content.decode()


def test_the_admin_shows_ground_truth_with_its_corrections(ids: list[str], admin_client: Client) -> None:
    read(csv_of([(ids[0], "a"), (ids[0], "b")]))
    assert ids[0] in admin_client.get("/admin/performance/groundtruth/").content.decode()
    assert ids[0] in admin_client.get(f"/admin/performance/groundtruth/?q={ids[0]}").content.decode()
    assert admin_client.get("/admin/performance/groundtruth/?q=nothing").status_code == 200
    page = admin_client.get(f"/admin/performance/groundtruth/{ids[0]}/change/").content.decode()
    assert "actual before" in page.lower()


def test_na_is_a_missing_time_but_not_a_missing_class(ids: list[str]) -> None:
    upload = read(csv_of([(ids[0], "a", "NA"), (ids[1], "NA", "")], header="prediction_id,actual,observed_at"))
    assert upload.counts == {"accepted": 1, "invalid": 1}
    assert upload.problems == [
        {"row": 2, "field": "actual", "reason": '"NA" is not one of the model\'s classes: a, b'},
    ]
