"""``load_demo``: what it registers, and that it can be repeated."""

import json
import threading
from datetime import date
from io import StringIO
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command
from django.db import connection

from demo.loading import DEMO_MODELS, load_demo_model
from drift.models import DriftPolicy
from models_registry.models import Model, ModelVersion, ReferenceDataset, ReferenceStatus, Stage
from models_registry.services.references import upload_reference
from models_registry.services.versions import set_stage

FOLDER = Path(settings.BASE_DIR) / "demo"
CLASSIFIER, FLIGHT_DELAY = DEMO_MODELS


def load() -> list[dict[str, Any]]:
    output = StringIO()
    call_command("load_demo", json=True, stdout=output)
    loaded: list[dict[str, Any]] = json.loads(output.getvalue())
    return loaded


@pytest.mark.django_db
def test_both_models_are_in_production_with_a_profiled_reference() -> None:
    loaded = load()
    assert [(each["name"], each["stage"], each["reference_rows"], each["changed"]) for each in loaded] == [
        ("classifier", "production", 150, True),
        ("flight-delay", "production", 10_000, True),
    ]
    classifier = ModelVersion.objects.get(model__name="classifier")
    assert [feature.name for feature in classifier.features.all()] == list(CLASSIFIER.feature_names)
    assert classifier.classes == ["setosa", "versicolor", "virginica"]
    flights = ModelVersion.objects.get(model__name="flight-delay")
    optional = {feature.name for feature in flights.features.filter(is_required=False)}
    assert optional == FLIGHT_DELAY.may_be_missing
    assert flights.classes == ["late", "on_time"]
    reference = flights.references.get()
    assert reference.ignored_columns == ["month"]
    assert (flights.model.time_zone, classifier.model.time_zone) == ("America/New_York", "UTC")
    assert (reference.time_column, reference.timed_rows) == ("scheduled_departure", 10_000)
    assert reference.first_time is not None
    assert reference.first_time.astimezone(ZoneInfo("America/New_York")).date() == date(2013, 1, 1)
    assert classifier.references.get().times_note == "No column of the file looks like times."
    assert (reference.label_column, reference.rows) == ("late", 10_000)
    assert classifier.references.get().label_column == "species"
    assert DriftPolicy.objects.get(model__name="flight-delay").window_rows == 2000


@pytest.mark.django_db
def test_a_second_run_changes_nothing() -> None:
    load()
    before = list(ModelVersion.objects.values()), list(ReferenceDataset.objects.values())
    assert [each["changed"] for each in load()] == [False, False]
    assert (list(ModelVersion.objects.values()), list(ReferenceDataset.objects.values())) == before


@pytest.mark.django_db
def test_changes_that_people_made_stay() -> None:
    load()
    archived = ModelVersion.objects.get(model__name="classifier")
    set_stage(version=archived, stage=Stage.ARCHIVED)
    DriftPolicy.objects.filter(model__name="flight-delay").update(window_rows=5000)
    assert [each["stage"] for each in load()] == ["archived", "production"]
    assert DriftPolicy.objects.get(model__name="flight-delay").window_rows == 5000


@pytest.mark.django_db
def test_an_interrupted_run_is_completed() -> None:
    load()
    ReferenceDataset.objects.filter(version__model__name="flight-delay").delete()
    version = ModelVersion.objects.get(model__name="flight-delay")
    content = ContentFile((FOLDER / FLIGHT_DELAY.reference).read_bytes())
    upload_reference(version=version, file=content, filename=FLIGHT_DELAY.reference, enqueue=False)
    assert [each["changed"] for each in load()] == [False, True]
    assert version.references.get().status == ReferenceStatus.READY


@pytest.mark.django_db
def test_a_failed_reference_is_replaced() -> None:
    load()
    ReferenceDataset.objects.filter(version__model__name="classifier").update(
        status=ReferenceStatus.FAILED, is_active=False, error_message="The disk was full."
    )
    loaded = load_demo_model(CLASSIFIER, folder=FOLDER)
    assert (loaded.changed, loaded.reference_status) == (True, ReferenceStatus.READY)


@pytest.mark.django_db
def test_missing_files_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_demo_model(CLASSIFIER, folder=tmp_path)
    assert not ModelVersion.objects.exists()


@pytest.mark.django_db
def test_a_reference_that_cannot_be_profiled_is_an_error(tmp_path: Path) -> None:
    (tmp_path / CLASSIFIER.artefact).write_bytes((FOLDER / CLASSIFIER.artefact).read_bytes())
    (tmp_path / CLASSIFIER.reference).write_text("a,b\n1,2\n")
    loaded = load_demo_model(CLASSIFIER, folder=tmp_path)
    assert loaded.reference_status == ReferenceStatus.FAILED
    assert "sepal_length" in loaded.error_message


@pytest.mark.django_db(transaction=True)
def test_two_simultaneous_runs_load_each_model_once() -> None:
    errors: list[Exception] = []
    barrier = threading.Barrier(2)

    def run() -> None:
        barrier.wait()
        try:
            load_demo_model(CLASSIFIER, folder=FOLDER)
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert Model.objects.count() == ModelVersion.objects.count() == ReferenceDataset.objects.count() == 1
    assert ReferenceDataset.objects.get().status == ReferenceStatus.READY


@pytest.mark.django_db
def test_the_text_output_names_both_models() -> None:
    output = StringIO()
    call_command("load_demo", stdout=output)
    assert "flight-delay 1.0.0: production, 10,000 reference rows" in output.getvalue()
    again = StringIO()
    call_command("load_demo", stdout=again)
    assert again.getvalue().count("(unchanged)") == 2


@pytest.mark.django_db
def test_the_command_fails_if_the_files_are_missing(settings: Any, tmp_path: Path) -> None:
    settings.BASE_DIR = tmp_path
    with pytest.raises(CommandError, match="demo's files cannot be read"):
        call_command("load_demo")
