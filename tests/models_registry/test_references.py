"""Reference data from upload to the profile in force."""

import subprocess
import time
from datetime import timedelta
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django.fixtures import Settings

from models_registry.exceptions import ConflictError, ReferenceFileError
from models_registry.models import ModelVersion, ReferenceDataset, ReferenceStatus
from models_registry.profile import CategoricalProfile, NumericProfile
from models_registry.selectors import active_reference, load_profile
from models_registry.services.references import (
    ABANDONED_AFTER,
    activate_reference,
    enqueue_waiting_references,
    profile_reference,
    upload_reference,
)
from models_registry.tasks import profile_reference_task
from tests.factories import diabetes_onnx, uploaded_version

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
    deadline = time.monotonic() + 60
    while reference.status in (ReferenceStatus.PENDING, ReferenceStatus.PROFILING):
        assert time.monotonic() < deadline, "the worker did not profile the file"
        time.sleep(0.1)
        reference.refresh_from_db()


@pytest.mark.django_db(transaction=True)
def test_a_worker_profiles_what_was_uploaded(celery_worker_process: subprocess.Popen[bytes]) -> None:
    version = uploaded_version("classifier")
    good = upload_reference(version=version, file=ContentFile(REFERENCE.read_bytes()), filename="flowers.csv")
    wait_for_end(good)
    assert (good.status, good.is_active, good.rows, good.progress_percent) == ("ready", True, 150, 100)
    bad = upload_reference(version=version, file=ContentFile(BAD), filename="bad.csv")
    wait_for_end(bad)
    assert (bad.status, bad.is_active) == ("failed", False)
    assert bad.error_message == "Column 'petal_width', row 1: 'wide' is not a number."
    assert active_reference(version.pk) == good


def test_the_profile_holds_the_rows_and_the_models_own_predictions(version: ModelVersion) -> None:
    """Moments are numpy's; predictions those of the scikit-learn model that was exported."""
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
    assert dict(zip(profile.prediction.levels, profile.prediction.counts, strict=True)) == dict(
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
    profile_reference_task(reference.pk)
    reference.refresh_from_db()
    assert reference.profiled_at == first


def test_what_a_dead_worker_left_is_taken_again(version: ModelVersion) -> None:
    reference = uploaded(version)
    rows = ReferenceDataset.objects.filter(pk=reference.pk)
    rows.update(status=ReferenceStatus.PROFILING, claimed_at=timezone.now())
    assert profile_reference(reference_id=reference.pk).status == ReferenceStatus.PROFILING  # somebody is at it
    assert enqueue_waiting_references() == 0
    rows.update(claimed_at=timezone.now() - ABANDONED_AFTER - timedelta(seconds=1))
    assert enqueue_waiting_references() == 1
    assert profile_reference(reference_id=reference.pk).status == ReferenceStatus.READY


def test_what_never_reached_the_broker_is_enqueued_again(version: ModelVersion) -> None:
    reference = uploaded(version)
    assert enqueue_waiting_references() == 0
    ReferenceDataset.objects.filter(pk=reference.pk).update(created_at=timezone.now() - timedelta(minutes=2))
    assert enqueue_waiting_references() == 1


def test_the_newest_ready_reference_is_in_force_and_an_older_one_can_be(version: ModelVersion) -> None:
    older, newer = profiled(version), profiled(version)
    assert active_reference(version.pk) == newer
    activate_reference(reference=older)
    assert active_reference(version.pk) == older
    with pytest.raises(ConflictError, match="only a ready reference"):
        activate_reference(reference=profiled(version, BAD))


def test_a_file_beyond_the_bound_is_not_kept(version: ModelVersion, settings: Settings) -> None:
    settings.MLMON_MAX_REFERENCE_BYTES = 100
    with pytest.raises(ReferenceFileError, match="at most 0 MiB"):
        uploaded(version)
    assert not ReferenceDataset.objects.exists()


def test_a_fault_of_ours_is_said_as_ours(version: ModelVersion, caplog: pytest.LogCaptureFixture) -> None:
    reference = uploaded(version)
    Path(reference.file.path).unlink()
    profile_reference(reference_id=reference.pk)
    reference.refresh_from_db()
    assert reference.status == ReferenceStatus.FAILED
    assert "broke on our side" in reference.error_message
    assert "could not be profiled" in caplog.text


def test_the_command_profiles_and_reports(version: ModelVersion) -> None:
    out = StringIO()
    call_command("upload_reference", "classifier", "1.0.0", str(REFERENCE), stdout=out)
    assert "150 rows are its reference now" in out.getvalue()
    assert "sepal_length: 4.3 to 7.9, mean 5.843" in out.getvalue()
    assert active_reference(version.pk) is not None


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("classifier", "2.0.0", str(REFERENCE)), "no version 2.0.0"),
        (("classifier", "1.0.0", "absent.csv"), "no file absent.csv"),
        (("classifier", "1.0.0", __file__), "The file lacks the columns"),
    ],
)
def test_the_command_says_what_is_wrong(version: ModelVersion, arguments: tuple[str, ...], reason: str) -> None:
    with pytest.raises(CommandError, match=reason):
        call_command("upload_reference", *arguments, stdout=StringIO())
