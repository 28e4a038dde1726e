"""Reference data, from upload to active profile."""

import gzip
import html
import re
import subprocess
import threading
from collections.abc import Callable
from datetime import timedelta
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django.utils.datastructures import MultiValueDict
from pytest_django.fixtures import Settings

from accounts.models import ChangeRecord, ServingGeneration
from mlmon.exceptions import ReferenceFileError
from mlmon.profile import CategoricalProfile, NumericProfile
from models_registry.admin.references import ReferenceUploadForm
from models_registry.exceptions import ConflictError
from models_registry.models import ModelVersion, ReferenceDataset, ReferenceStatus, Stage
from models_registry.selectors import active_reference, load_profile
from models_registry.services.references import (
    GIVEN_UP_AFTER,
    activate_reference,
    enqueue_waiting_references,
    profile_reference,
    upload_reference,
)
from models_registry.services.stored_files import ABANDONED_AFTER, store_file
from models_registry.services.versions import set_stage
from models_registry.tasks import profile_uploaded_reference
from tests.factories import diabetes_onnx, uploaded_version
from tests.services.processes import await_condition

REFERENCE = Path(__file__).resolve().parent.parent.parent / "demo" / "classifier-reference.csv"
BAD = b"sepal_length,sepal_width,petal_length,petal_width\n1,2,3,wide\n"

pytestmark = pytest.mark.django_db


@pytest.fixture
def version() -> ModelVersion:
    return uploaded_version("classifier")


def uploaded(version: ModelVersion, content: bytes | None = None) -> ReferenceDataset:
    return upload_reference(
        version=version, file=ContentFile(content or REFERENCE.read_bytes()), filename="flowers.csv", enqueue=False
    )


def profiled(version: ModelVersion, content: bytes | None = None) -> ReferenceDataset:
    return profile_reference(reference_id=uploaded(version, content).pk)


def wait_for_end(reference: ReferenceDataset) -> None:
    def has_ended() -> bool:
        reference.refresh_from_db()
        return reference.status not in (ReferenceStatus.PENDING, ReferenceStatus.PROFILING)

    await_condition(has_ended, "the worker did not profile the file", seconds=60, pause=0.1)


@pytest.mark.django_db(transaction=True)
def test_a_worker_profiles_an_upload(celery_worker_process: subprocess.Popen[bytes]) -> None:
    version = uploaded_version("classifier")
    good = upload_reference(version=version, file=ContentFile(REFERENCE.read_bytes()), filename="flowers.csv")
    wait_for_end(good)
    assert (good.status, good.is_active, good.rows, good.progress_percent) == ("ready", True, 150, 100)
    bad = upload_reference(version=version, file=ContentFile(BAD), filename="bad.csv")
    wait_for_end(bad)
    assert (bad.status, bad.is_active) == ("failed", False)
    assert bad.error_message == 'Column "petal_width", row 1: expected a number, got "wide".'
    assert active_reference(version.pk) == good


def test_the_profile_contains_rows_and_predictions(version: ModelVersion) -> None:
    """Oracles: NumPy's moments and the predictions of the exported scikit-learn model."""
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    data = load_iris()
    model = LogisticRegression(max_iter=1000, C=1.0).fit(data.data, data.target_names[data.target])
    profile = load_profile(profiled(version))
    for index, (_, column) in enumerate(profile.features.items()):
        assert isinstance(column, NumericProfile)
        np.testing.assert_allclose(column.sorted_values, np.sort(data.data[:, index]))
        assert column.mean == pytest.approx(data.data[:, index].mean(), rel=1e-12)
    assert isinstance(profile.prediction, CategoricalProfile)
    names, counts = np.unique(model.predict(data.data), return_counts=True)
    assert dict(zip(profile.prediction.categories, profile.prediction.counts, strict=True)) == dict(
        zip(names, counts, strict=True)
    )


def test_a_regression_has_a_profile_of_numbers() -> None:
    from sklearn.datasets import load_diabetes

    version = uploaded_version("progression", onnx=diabetes_onnx(), features=None)
    names = [feature.name for feature in version.features.all()]
    rows = "\n".join(",".join(map(repr, row)) for row in load_diabetes().data.tolist())
    profile = load_profile(profiled(version, f"{','.join(names)}\n{rows}\n".encode()))
    assert isinstance(profile.prediction, NumericProfile)
    assert len(profile.prediction.sorted_values) == 442


def test_a_second_delivery_of_the_task_does_nothing(version: ModelVersion) -> None:
    reference = profiled(version)
    first = reference.profiled_at
    profile_uploaded_reference(reference.pk)
    reference.refresh_from_db()
    assert reference.profiled_at == first


def test_the_work_of_a_dead_worker_is_repeated(version: ModelVersion) -> None:
    reference = uploaded(version)
    rows = ReferenceDataset.objects.filter(pk=reference.pk)
    rows.update(status=ReferenceStatus.PROFILING, claimed_at=timezone.now())
    assert profile_reference(reference_id=reference.pk).status == ReferenceStatus.PROFILING  # another worker does it
    assert enqueue_waiting_references() == 0
    rows.update(claimed_at=timezone.now() - ABANDONED_AFTER - timedelta(seconds=1))
    assert enqueue_waiting_references() == 1
    assert profile_reference(reference_id=reference.pk).status == ReferenceStatus.READY


def test_a_reference_that_kills_workers_fails(version: ModelVersion) -> None:
    reference = uploaded(version)
    ReferenceDataset.objects.filter(pk=reference.pk).update(
        status=ReferenceStatus.PROFILING,
        claimed_at=timezone.now() - ABANDONED_AFTER - timedelta(seconds=1),
        created_at=timezone.now() - GIVEN_UP_AFTER - timedelta(seconds=1),
    )
    assert enqueue_waiting_references() == 0
    reference.refresh_from_db()
    assert reference.status == ReferenceStatus.FAILED
    assert "Upload a sample of the rows" in reference.error_message


def test_a_lost_message_is_sent_again(version: ModelVersion) -> None:
    reference = uploaded(version)
    assert enqueue_waiting_references() == 0
    ReferenceDataset.objects.filter(pk=reference.pk).update(created_at=timezone.now() - timedelta(minutes=2))
    assert enqueue_waiting_references() == 1


def test_the_latest_reference_is_active_and_an_older_one_can_be_activated(version: ModelVersion) -> None:
    older, newer = profiled(version), profiled(version)
    assert active_reference(version.pk) == newer
    activate_reference(reference=older)
    assert active_reference(version.pk) == older
    with pytest.raises(ConflictError, match="only a ready reference"):
        activate_reference(reference=profiled(version, BAD))


def test_activating_the_active_reference_changes_nothing(version: ModelVersion) -> None:
    reference = profiled(version)
    before = ChangeRecord.objects.count()
    activate_reference(reference=reference)
    assert ChangeRecord.objects.count() == before


def test_an_archived_version_accepts_no_reference(version: ModelVersion) -> None:
    older, _ = profiled(version), profiled(version)
    set_stage(version=version, stage=Stage.ARCHIVED)
    with pytest.raises(ConflictError, match="is archived"):
        uploaded(version)
    with pytest.raises(ConflictError, match="is archived"):
        activate_reference(reference=older)
    file = SimpleUploadedFile("late.csv", b"a\n1\n")
    form = ReferenceUploadForm({"version": version.pk}, MultiValueDict({"file": [file]}))
    assert form.errors["version"] == [f"{version} is archived. Upload reference data for a version that is in use."]
    assert version.references.count() == 2


def test_an_earlier_upload_does_not_replace_a_later_one(version: ModelVersion) -> None:
    earlier, later = uploaded(version), uploaded(version)
    profile_reference(reference_id=later.pk)
    assert profile_reference(reference_id=earlier.pk).status == ReferenceStatus.READY
    assert active_reference(version.pk) == later


def wait_until_blocked() -> None:
    """Wait until a transaction waits for a lock of another one."""

    def is_blocked() -> bool:
        cursor.execute("SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted)")
        return bool(cursor.fetchone() == (True,))

    with connection.cursor() as cursor:
        await_condition(is_blocked, "no transaction waits for a lock", seconds=30)


def in_a_thread(work: Callable[[], object]) -> threading.Thread:
    def run() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.django_db(transaction=True)
def test_concurrent_activations_wait_for_each_other() -> None:
    version = uploaded_version("classifier")
    older, _, latest = profiled(version), profiled(version), uploaded(version)
    with transaction.atomic():
        activate_reference(reference=older)
        other = in_a_thread(lambda: profile_reference(reference_id=latest.pk))
        wait_until_blocked()
        assert other.is_alive()
    other.join(30)
    latest.refresh_from_db()
    assert (latest.status, latest.error_message) == (ReferenceStatus.READY, "")
    assert list(version.references.filter(is_active=True)) == [latest]


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_lost_its_claim_changes_nothing() -> None:
    version = uploaded_version("classifier")
    active, slow = profiled(version), uploaded(version)
    with transaction.atomic():
        activate_reference(reference=active)  # locks the version, so the slow worker waits with its result
        worker = in_a_thread(lambda: profile_reference(reference_id=slow.pk))
        wait_until_blocked()
        assert worker.is_alive()
        taken_over = timezone.now()
        ReferenceDataset.objects.filter(pk=slow.pk).update(claimed_at=taken_over)
    worker.join(30)
    slow.refresh_from_db()
    assert (slow.status, slow.claimed_at, slow.is_active) == (ReferenceStatus.PROFILING, taken_over, False)
    assert active_reference(version.pk) == active


def test_each_step_is_saved_and_the_generation_grows(version: ModelVersion) -> None:
    reference = uploaded(version)
    generation = ServingGeneration.objects.get().number
    with CaptureQueriesContext(connection) as queries:
        profile_reference(reference_id=reference.pk)
    steps = re.findall(r"\"progress_step\" = '([^']*)'", " ".join(query["sql"] for query in queries))
    assert steps == ["reading", "reading and predicting", "profiling", "saving", ""]
    assert ServingGeneration.objects.get().number > generation


def parquet(**changes: Any) -> bytes:
    names = ("sepal_length", "sepal_width", "petal_length", "petal_width")
    table, sink = pa.table({name: [1.0] * 200 for name in names} | changes), BytesIO()
    # Without the Arrow schema in the file, a reader sees a dictionary as plain strings.
    pq.write_table(table, sink, compression="zstd", store_schema=False)
    return sink.getvalue()


# 200 rows share a string of 15 MB: unpacked they need 3 GB.
BOMB = pa.DictionaryArray.from_arrays(pa.array([0] * 200, pa.int32()), pa.array(["x" * 15_000_000]))


HEADER = b"sepal_length,sepal_width,petal_length,petal_width\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(HEADER, "The file has a header but no rows.", id="no rows"),
        pytest.param(b"a,b,c,petal_width\n1,2,3,4\n", 'The file lacks the columns "sepal_length"', id="columns"),
        pytest.param(
            HEADER + b"1,2,3,4\n1,2,x,4\n", 'Column "petal_length", row 2: expected a number, got "x".', id="type"
        ),
        pytest.param(HEADER + b"1,2,3,4\n1,2,\xe9,4\n", 'Column "petal_length", row 2: byte 0xe9', id="Latin-1"),
        pytest.param((HEADER + b"1,2,3,4\n").decode().encode("utf-32"), "encoded as UTF-32", id="UTF-32"),
        pytest.param(HEADER + b"1,2,3,4\n1,2\n", "Row 2 has 2 values; the header has 4.", id="ragged"),
        pytest.param(parquet()[:-50], "damaged or cut off", id="truncated Parquet"),
        pytest.param(
            parquet(sepal_width=["a"] * 200),
            'Column "sepal_width", row 1: expected a number, got "a"',
            id="Parquet type",
        ),
        pytest.param(parquet(sepal_width=BOMB), 'Column "sepal_width", row 1: the string is longer', id="bomb"),
    ],
)
def test_a_bad_file_fails_and_the_active_reference_stays(version: ModelVersion, content: bytes, reason: str) -> None:
    active = profiled(version)
    bad = profiled(version, content)
    assert (bad.status, bad.is_active) == (ReferenceStatus.FAILED, False)
    assert reason in bad.error_message
    assert active_reference(version.pk) == active


def test_the_first_of_many_long_strings_is_named(version: ModelVersion) -> None:
    bad = profiled(version, parquet(sepal_width=["x" * 15_000_000] * 20 + ["x"] * 180))
    assert (bad.status, bad.is_active) == (ReferenceStatus.FAILED, False)
    assert 'Column "sepal_width", row 1: the string is longer' in bad.error_message


def test_an_empty_file_fails_and_the_active_reference_stays(version: ModelVersion) -> None:
    active = profiled(version)
    empty = upload_reference(version=version, file=ContentFile(b""), filename="empty.csv", enqueue=False)
    assert profile_reference(reference_id=empty.pk).error_message == "The file is empty."
    assert active_reference(version.pk) == active


def test_a_row_without_a_finite_prediction_is_named() -> None:
    version = uploaded_version("progression", onnx=diabetes_onnx(), features=None)
    names = ",".join(feature.name for feature in version.features.all())
    rows = [b"0.01,0.01,0.01,0.01,0.01,0.01,0.01,0.01,0.01,0.01"] * 30_000
    rows[25_000] = b"inf,-inf,0,0,0,0,0,0,0,0"
    content = names.encode() + b"\n" + b"\n".join(rows)
    assert len(content) > 2**20  # so the row is not in the first block
    reference = profiled(version, content)
    assert reference.error_message == "Row 25001: the prediction is not a finite number."


@pytest.mark.parametrize("filename", ["ä" * 250 + ".csv", "..", "a\\b/c.csv", ".csv", "x" * 400, "con"])
def test_any_file_name_is_accepted(version: ModelVersion, filename: str) -> None:
    reference = upload_reference(
        version=version, file=ContentFile(REFERENCE.read_bytes()), filename=filename, enqueue=False
    )
    assert reference.original_filename == Path(filename).name[:255]
    assert profile_reference(reference_id=reference.pk).status == ReferenceStatus.READY


class BreakingFile(BytesIO):
    """Breaks after the first part, like a copy to a full disk or of a killed process."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell():
            raise OSError("broken off")
        return super().read(3)


def test_a_file_is_stored_completely_or_not_at_all(tmp_path: Path) -> None:
    storage = FileSystemStorage(tmp_path)
    with pytest.raises(OSError, match="broken off"):
        store_file(storage=storage, name="profiles/a.arrow", content=BreakingFile(b"content"))
    assert list((tmp_path / "profiles").iterdir()) == []
    store_file(storage=storage, name="profiles/a.arrow", content=BytesIO(b"content"))
    store_file(storage=storage, name="profiles/a.arrow", content=BreakingFile(b"content"))  # exists: not read
    assert [path.read_bytes() for path in (tmp_path / "profiles").iterdir()] == [b"content"]


def test_a_large_file_is_not_stored(version: ModelVersion, settings: Settings) -> None:
    settings.MLMON_MAX_REFERENCE_BYTES = 100
    with pytest.raises(ReferenceFileError, match="limit is 0 MiB"):
        uploaded(version)
    assert not ReferenceDataset.objects.exists()


def test_a_server_error_is_reported_as_one(version: ModelVersion, caplog: pytest.LogCaptureFixture) -> None:
    reference = uploaded(version)
    Path(reference.file.path).unlink()
    profile_reference(reference_id=reference.pk)
    reference.refresh_from_db()
    assert reference.status == ReferenceStatus.FAILED
    assert "server failed" in reference.error_message
    assert "could not be profiled" in caplog.text


def test_the_advice_for_an_encoding_can_be_followed(version: ModelVersion, tmp_path: Path, client: Client) -> None:
    """A column of the file has a name that is not UTF-8, as Excel saves it."""
    path = tmp_path / "excel.csv"
    lines = REFERENCE.read_text().splitlines()
    path.write_bytes("\n".join([f"{lines[0]},größe", *(f"{line},1" for line in lines[1:])]).encode("cp1252"))
    with pytest.raises(CommandError, match="choose its encoding, which is often cp1252"):
        call_command("upload_reference", "classifier", "1.0.0", str(path), stdout=StringIO())
    call_command("upload_reference", "classifier", "1.0.0", str(path), "--encoding", "cp1252", stdout=StringIO())
    reference = active_reference(version.pk)
    assert reference is not None
    assert (reference.encoding, reference.ignored_columns) == ("cp1252", ["größe"])
    with pytest.raises(CommandError, match='There is no encoding "klingon"'):
        call_command("upload_reference", "classifier", "1.0.0", str(path), "--encoding", "klingon")

    client.force_login(User.objects.create_superuser("root"))
    page = reverse("admin:models_registry_referencedataset_add")
    for encoding, refusal in (("klingon", 'There is no encoding "klingon"'), ("cp1252", "")):
        sent = {"version": version.pk, "file": ContentFile(path.read_bytes(), "excel.csv"), "encoding": encoding}
        response = client.post(page, sent)
        assert refusal in html.unescape(response.content.decode())
    latest = ReferenceDataset.objects.latest("pk")
    assert profile_reference(reference_id=latest.pk).status == ReferenceStatus.READY


def test_a_compressed_csv_file_keeps_its_suffix(version: ModelVersion) -> None:
    content = ContentFile(gzip.compress(REFERENCE.read_bytes()))
    reference = upload_reference(version=version, file=content, filename="Flowers.CSV.gz", enqueue=False)
    assert str(reference.file.name).endswith(".csv.gz")
    assert profile_reference(reference_id=reference.pk).rows == 150


def test_the_command_profiles_and_reports(version: ModelVersion) -> None:
    out = StringIO()
    call_command("upload_reference", "classifier", "1.0.0", str(REFERENCE), stdout=out)
    assert "150 rows are now its reference data" in out.getvalue()
    assert "sepal_length: 4.3 to 7.9, mean 5.843" in out.getvalue()
    assert active_reference(version.pk) is not None


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("classifier", "2.0.0", str(REFERENCE)), "no version '2.0.0'"),
        (("classifier", "1.0.0", "absent.csv"), "no file absent.csv"),
        (("classifier", "1.0.0", __file__), "The file lacks the columns"),
    ],
)
def test_the_command_reports_errors(version: ModelVersion, arguments: tuple[str, ...], reason: str) -> None:
    with pytest.raises(CommandError, match=reason):
        call_command("upload_reference", *arguments, stdout=StringIO())
