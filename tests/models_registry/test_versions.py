"""Registering models, uploading versions, their stages, and the registry's API."""

from io import StringIO
from pathlib import Path

import pytest
from django.core.exceptions import ValidationError
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django.fixtures import DjangoAssertNumQueries

from accounts.models import ChangeRecord, ServingGeneration
from mlmon.schema import FeatureKind
from models_registry.exceptions import ArtefactError, ConflictError
from models_registry.models import Model, ModelVersion, Stage
from models_registry.services.references import upload_reference
from models_registry.services.versions import (
    FeatureEdit,
    edit_features,
    promote,
    register_model,
    set_stage,
    upload_version,
)
from tests.factories import IRIS_FEATURES, iris_onnx, uploaded_version

pytestmark = pytest.mark.django_db


def generation() -> int:
    return ServingGeneration.objects.values_list("number", flat=True).first() or 0


@pytest.mark.parametrize("name", ["", "Upper", "-a", "a-", "a b", "a/b", "ä", "x" * 64, "a\x00"])
def test_a_malformed_name_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        register_model(name=name)


def test_a_duplicate_name_is_refused() -> None:
    register_model(name="a")
    with pytest.raises(ValidationError, match="already exists"):
        register_model(name="a")


@pytest.mark.parametrize("version", ["1", "1.0", "01.0.0", "1.0.0+build", "v1.0.0", "1.0.0-", "1.0.0-01", ""])
def test_other_than_semantic_versions_are_refused(version: str) -> None:
    with pytest.raises(ValidationError):
        upload_version(model=register_model(name="a"), version=version, files=[ContentFile(iris_onnx())])


def test_a_duplicate_version_is_refused() -> None:
    uploaded_version("a", "1.0.0-rc.1")
    with pytest.raises(ValidationError, match="already has a version"):
        uploaded_version("a", "1.0.0-rc.1")


def test_a_refused_file_stores_nothing() -> None:
    model = register_model(name="a")
    with pytest.raises(ArtefactError):
        upload_version(model=model, version="1.0.0", files=[ContentFile(b"no model")])
    assert not ModelVersion.objects.exists()


def test_identical_files_are_stored_once() -> None:
    one, other = uploaded_version("a"), uploaded_version("b")
    assert one.artefact.name == other.artefact.name == f"artefacts/{one.artefact_sha256}.onnx"
    assert Path(one.artefact.path).read_bytes() == iris_onnx()


def test_every_change_bumps_the_generation() -> None:
    seen = [generation()]
    version = uploaded_version("a", production=False)
    seen.append(generation())
    for stage in (Stage.PRODUCTION, Stage.SHADOW, Stage.ARCHIVED):
        set_stage(version=version, stage=stage)
        seen.append(generation())
    assert seen == sorted(set(seen))


def test_a_promotion_takes_all_traffic() -> None:
    first = uploaded_version("a")
    second = uploaded_version("a", "2.0.0", onnx=iris_onnx(1), production=False)
    set_stage(version=second, stage=Stage.PRODUCTION, traffic_weight=10)
    third = uploaded_version("a", "3.0.0", onnx=iris_onnx(2), production=False)
    promote(version=third)
    stages = dict(ModelVersion.objects.values_list("pk", "stage"))
    assert stages == {first.pk: "staging", second.pk: "staging", third.pk: "production"}


@pytest.mark.parametrize(("stage", "weight"), [(Stage.PRODUCTION, 0), (Stage.SHADOW, 5), (Stage.STAGING, 1)])
def test_only_production_takes_traffic(stage: Stage, weight: int) -> None:
    with pytest.raises(ConflictError):
        set_stage(version=uploaded_version("a", production=False), stage=stage, traffic_weight=weight)


def test_archived_is_final() -> None:
    version = uploaded_version("a")
    set_stage(version=version, stage=Stage.ARCHIVED)
    with pytest.raises(ConflictError, match="final"):
        promote(version=version)


def test_a_move_to_the_same_stage_is_not_recorded() -> None:
    version = uploaded_version("classifier")
    before, seen = ChangeRecord.objects.count(), generation()
    promote(version=version)
    assert (ChangeRecord.objects.count(), generation()) == (before, seen)
    for _ in range(2):
        set_stage(version=version, stage=Stage.ARCHIVED)
    assert ChangeRecord.objects.count() == before + 1


def test_features_can_be_edited_in_staging_only() -> None:
    version = uploaded_version("a", production=False)
    edit = FeatureEdit(name="length", kind=FeatureKind.NUMERIC, is_required=False)
    edit_features(version=version, edits={0: edit})
    first = version.features.get(position=0)
    assert (first.name, first.is_required, first.input_name, first.column) == ("length", False, first.input_name, 0)
    promote(version=version)
    with pytest.raises(ConflictError, match="only while a version is in staging"):
        edit_features(version=version, edits={0: edit})


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "has no name"),
        ("x" * 129, "at most 128 characters"),
        ("a\x00b", "all printable"),
        ("petal_width", "Two features are named"),
    ],
)
def test_invalid_feature_names_are_refused(name: str, reason: str) -> None:
    version = uploaded_version("a", production=False)
    with pytest.raises(ValidationError, match=reason):
        edit_features(version=version, edits={0: FeatureEdit(name=name, kind=FeatureKind.NUMERIC, is_required=True)})
    assert [feature.name for feature in version.features.all()] == list(IRIS_FEATURES)


def test_features_with_reference_data_keep_their_names() -> None:
    version = uploaded_version("a", production=False)
    upload_reference(version=version, file=ContentFile(b"x"), filename="r.csv", enqueue=False)
    with pytest.raises(ConflictError, match="reference data"):
        edit_features(
            version=version, edits={0: FeatureEdit(name="length", kind=FeatureKind.NUMERIC, is_required=True)}
        )


def test_the_number_of_queries_does_not_depend_on_the_number_of_models(
    client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for name in ("a", "b", "c"):
        uploaded_version(name)
        uploaded_version(name, "1.1.0", production=False)
    with django_assert_max_num_queries(4):  # count, models, versions, features
        assert client.get("/api/v1/models").json()["count"] == 3


def test_the_api_lists_models_and_shows_one(client: Client) -> None:
    uploaded_version("a")
    register_model(name="b")
    listed = client.get("/api/v1/models").json()
    assert [model["name"] for model in listed["results"]] == ["a", "b"]
    shown = client.get("/api/v1/models/a").json()
    assert shown == listed["results"][0]
    (version,) = shown["versions"]
    assert (version["version"], version["stage"], version["traffic_weight"]) == ("1.0.0", "production", 100)
    assert [feature["name"] for feature in version["features"]] == list(IRIS_FEATURES)
    assert version["classes"] == ["setosa", "versicolor", "virginica"]


@pytest.mark.parametrize("name", ["absent", "a%00b", "%2e%2e", "ä"])
def test_an_unknown_model_is_a_404_problem(client: Client, name: str) -> None:
    response = client.get(f"/api/v1/models/{name}")
    assert response.status_code == 404
    assert response["Content-Type"] == "application/problem+json"


def test_the_command_uploads_and_promotes(tmp_path: Path) -> None:
    file = tmp_path / "iris.onnx"
    file.write_bytes(iris_onnx())
    out = StringIO()
    arguments = ["iris", "1.0.0", str(file), "--features", ",".join(IRIS_FEATURES), "--promote"]
    call_command("upload_version", *arguments, stdout=out)
    assert "iris 1.0.0: production, classification" in out.getvalue()
    assert ModelVersion.objects.get().stage == Stage.PRODUCTION
    with pytest.raises(CommandError, match="already has a version"):
        call_command("upload_version", *arguments, stdout=out)
    with pytest.raises(CommandError, match="no file"):
        call_command("upload_version", "iris", "2.0.0", str(tmp_path / "absent"), stdout=out)
    file.write_bytes(b"\x80\x04pickled")
    with pytest.raises(CommandError, match="pickle"):
        call_command("upload_version", "iris", "2.0.0", str(file), stdout=out)
    assert Model.objects.get().versions.count() == 1
