"""Uploads of what exporters write by default: what is stored, served and shown, at each entry point."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django.fixtures import Settings

from mlmon.schema import TaskType
from models_registry.engine import Engine
from models_registry.exceptions import ArtefactError, CheckFileError, UndeclaredOutputError
from models_registry.models import Model, ModelVersion
from models_registry.schema import Declaration, ScoreKind
from models_registry.services.versions import promote, register_model, upload_version
from tests.models_registry.zoo import ZooModel, read_model

pytestmark = pytest.mark.django_db

DYNAMO = "torch-hidden-64-dynamo"  # the default of torch.onnx.export: one row, external data
SIGMOID = "torch-sigmoid-legacy-dynamic"


@pytest.fixture(autouse=True)
def _own_media(settings: Settings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path / "media"


def files_of(model: ZooModel) -> list[ContentFile[bytes]]:
    return [ContentFile(path.read_bytes(), name=path.name) for path in (model.path, *model.data_files)]


def zipped(contents: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return packed.getvalue()


def logits(model: ZooModel) -> Declaration:
    return Declaration(TaskType.CLASSIFICATION, ScoreKind.LOGITS, tuple(str(name) for name in model.classes or ()))


def rows_of(model: ZooModel, version: ModelVersion) -> dict[str, Any]:
    names = [feature.name for feature in version.features.all()]
    return {name: np.array([row[place] for row in model.rows], np.float64) for place, name in enumerate(names)}


def test_a_network_with_external_data_is_served_and_its_files_are_kept() -> None:
    model = read_model(DYNAMO)
    version = upload_version(model="net", version="1.0.0", files=files_of(model), declared=logits(model))
    assert version.remarks[0].endswith("tensors of the data files were stored in the model.")
    assert "fixed the number of rows at 1; it is free now" in version.remarks[1]
    predicted = Engine(version.served_path(), version.schema(), timeout_seconds=5).predict(rows_of(model, version))
    assert predicted.labels.tolist() == [str(label) for label in model.predictions]
    with zipfile.ZipFile(version.artefact.path) as kept:
        assert {name: kept.read(name) for name in kept.namelist()} == {
            path.name: path.read_bytes() for path in (model.path, *model.data_files)
        }


def test_a_zip_archive_is_served_like_its_files() -> None:
    model = read_model(DYNAMO)
    contents = {f"export/{path.name}": path.read_bytes() for path in (model.path, *model.data_files)}
    archive = zipped({"__MACOSX/export/._net.onnx": b"x", **contents})
    version = upload_version(
        model="net", version="1.0.0", files=[ContentFile(archive, name="net.zip")], declared=logits(model)
    )
    again = upload_version(model=version.model, version="1.0.1", files=files_of(model), declared=logits(model))
    assert version.normalised.name == again.normalised.name
    assert Path(version.artefact.path).read_bytes() == archive


def test_a_missing_data_file_is_refused_and_nothing_is_stored() -> None:
    model = read_model(DYNAMO)
    with pytest.raises(ArtefactError, match=r"which was not uploaded\. Upload it together with the model"):
        upload_version(model="net", version="1.0.0", files=files_of(model)[:1], declared=logits(model))
    assert not Model.objects.exists()


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        ({}, r"None of the files ends in \.onnx \(none\)"),
        ({"archive/data.pkl": b"x"}, r"None of the files ends in \.onnx \(archive/data\.pkl\)"),
        ({"a.onnx": b"x", "b.onnx": b"x"}, r"Several files end in \.onnx \(a\.onnx, b\.onnx\)"),
        ({f"{place}.bin": b"" for place in range(101)}, "has 101 files; at most 100"),
    ],
)
def test_an_archive_without_exactly_one_model_is_refused(contents: dict[str, bytes], reason: str) -> None:
    with pytest.raises(ArtefactError, match=reason):
        upload_version(model="net", version="1.0.0", files=[ContentFile(zipped(contents), name="net.zip")])


def test_a_zip_bomb_stops_at_the_limit(settings: Settings) -> None:
    settings.MLMON_MAX_ARTEFACT_BYTES = 2**20
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("net.onnx", "w") as member:
        for _ in range(64):
            member.write(bytes(2**20))
    assert len(packed.getvalue()) < 2**17
    with pytest.raises(ArtefactError, match=r"the limit is 1\.0 MiB"):
        upload_version(model="net", version="1.0.0", files=[ContentFile(packed.getvalue(), name="net.zip")])


@pytest.mark.parametrize("name", ["../weights.bin", "/weights.bin", "C:\\weights.bin"])
def test_an_archive_writes_nothing_beside_its_folder(name: str, tmp_path: Path) -> None:
    archive = zipped({"net.onnx": read_model(DYNAMO).path.read_bytes(), name: b"x"})
    with pytest.raises(ArtefactError, match="was not uploaded"):
        upload_version(model="net", version="1.0.0", files=[ContentFile(archive, name="net.zip")])
    assert not list(tmp_path.rglob("weights.bin"))


# --- what the graph does not prove ----------------------------------------------------------------------------------


def test_a_sigmoid_is_asked_for_and_the_second_class_starts_at_one_half() -> None:
    model = read_model(SIGMOID)
    with pytest.raises(UndeclaredOutputError, match="State task=classification") as asked:
        upload_version(model="sig", version="1.0.0", files=files_of(model))
    assert [(task, kind) for task, kind, _ in asked.value.choices] == [
        (TaskType.CLASSIFICATION, None),
        (TaskType.REGRESSION, None),
    ]
    declared = Declaration(TaskType.CLASSIFICATION, classes=("benign", "malignant"))
    version = upload_version(model="sig", version="1.0.0", files=files_of(model), declared=declared)
    assert (version.score_kind, version.classes) == ("probabilities", ["benign", "malignant"])
    predicted = Engine(version.served_path(), version.schema(), timeout_seconds=5).predict(rows_of(model, version))
    assert model.probabilities is not None
    second = np.array(model.probabilities)[:, -1]
    assert predicted.labels.tolist() == ["malignant" if one >= 0.5 else "benign" for one in second]
    assert predicted.confidence is not None
    np.testing.assert_allclose(predicted.confidence, np.maximum(second, 1 - second), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "declared", "reason"),
    [
        (SIGMOID, Declaration(TaskType.CLASSIFICATION, ScoreKind.LOGITS), "numbers are probabilities"),
        (SIGMOID, Declaration(TaskType.ANOMALY), "needs an output with its label"),
        (SIGMOID, Declaration(TaskType.REGRESSION, classes=("a", "b")), "leave out classes and scores"),
        (SIGMOID, Declaration(classes=("a", "b", "c")), "3 classes were stated"),
        ("torch-logits-legacy-dynamic", Declaration(classes=("a", "b")), "2 classes were stated; output"),
        ("torch-logits-legacy-dynamic", Declaration(scores=ScoreKind.PROBABILITIES, classes=("a", "b", "c")),
         "is not a probability: for a sample row it is outside 0 to 1"),
        ("keras-softmax-tf2onnx", Declaration(scores=ScoreKind.LOGITS), "are probabilities, not logits"),
        ("sklearn-logistic-2-raw-scores", Declaration(scores=ScoreKind.LOGITS), "each other's negative"),
        ("sklearn-forest-3-strings-no-zipmap", Declaration(classes=("a", "b", "c")), "Leave out the classes"),
        ("sklearn-forest-3-strings-no-zipmap", Declaration(TaskType.REGRESSION), "the task is classification"),
        ("sklearn-forest-regressor", Declaration(TaskType.ANOMALY), "needs an output with its label"),
    ],
)  # fmt: skip
def test_a_statement_that_contradicts_the_file_is_refused(name: str, declared: Declaration, reason: str) -> None:
    with pytest.raises(ArtefactError, match=reason):
        upload_version(model="m", version="1.0.0", files=files_of(read_model(name)), declared=declared)


def test_classes_that_the_framework_only_numbers_can_be_named() -> None:
    model = read_model("xgboost-3")
    names = ("setosa", "versicolor", "virginica")
    version = upload_version(model="xgb", version="1.0.0", files=files_of(model), declared=Declaration(classes=names))
    predicted = Engine(version.served_path(), version.schema(), timeout_seconds=5).predict(rows_of(model, version))
    assert predicted.labels.tolist() == [names[int(label)] for label in model.predictions]


# --- the user's own predictions -------------------------------------------------------------------------------------


def check_file(model: ZooModel, version_features: list[str], **columns: list[Any]) -> ContentFile[bytes]:
    lines = [",".join([*version_features, *columns])]
    for place, row in enumerate(model.rows):
        lines.append(",".join(str(value) for value in [*row, *(column[place] for column in columns.values())]))
    return ContentFile("\n".join(lines).encode(), name="check.csv")


def test_a_check_names_the_first_row_that_differs() -> None:
    model = read_model("sklearn-forest-3-strings-no-zipmap")
    names = [f"f{place}" for place in range(len(model.features))]
    wrong = list(model.predictions)
    wrong[3] = next(name for name in model.classes or () if name != wrong[3])
    with pytest.raises(ArtefactError, match=f'Row 4 of the rows to check: the file\'s prediction is "{wrong[3]}"'):
        upload_version(
            model="m", version="1.0.0", files=files_of(model), check=check_file(model, names, prediction=wrong)
        )
    right = check_file(
        model, names, prediction=model.predictions, probability=[max(row) for row in model.probabilities or []]
    )
    version = upload_version(model="m", version="1.0.0", files=files_of(model), check=right)
    compared = f"Equal to the framework's own numbers for {len(model.rows)} rows (prediction, probability)."
    assert version.remarks == [compared]


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({}, "has no column 'prediction'"),
        ({"prediction": ["setosa"], "probability_rose": [1]}, 'no class "rose"'),
        ({"prediction": ["setosa"], "score": [1]}, "no scores beside probabilities"),
        ({"prediction": ["rose"]}, 'row 1: "rose" is not one of the model\'s classes'),
        ({"prediction": [""]}, "row 1: is missing"),
    ],
)
def test_a_check_file_that_cannot_be_compared_is_refused(columns: dict[str, list[Any]], reason: str) -> None:
    model = read_model("sklearn-forest-3-strings-no-zipmap")
    names = [f"f{place}" for place in range(len(model.features))]
    file = check_file(model, names, **{name: values * len(model.rows) for name, values in columns.items()})
    with pytest.raises(CheckFileError, match=reason):
        upload_version(model="m", version="1.0.0", files=files_of(model), check=file)
    assert not ModelVersion.objects.exists()


# --- entry points ---------------------------------------------------------------------------------------------------


@pytest.fixture
def admin(client: Client, admin_user: User) -> Client:
    client.force_login(admin_user)
    return client


def test_the_form_asks_and_accepts_several_files(admin: Client) -> None:
    model, registered = read_model(DYNAMO), register_model(name="net")
    uploads = [SimpleUploadedFile(path.name, path.read_bytes()) for path in (model.path, *model.data_files)]
    form = {"model": registered.pk, "version": "1.0.0", "feature_names": "", "notes": "", "task": "", "scores": ""}
    add = "/admin/models_registry/modelversion/add/"
    asked = admin.post(add, {**form, "classes": "", "artefact": uploads})
    assert "The file does not say what output" in asked.content.decode()
    assert not ModelVersion.objects.exists()
    for upload in uploads:
        upload.seek(0)
    stated = {"task": "classification", "scores": "logits", "classes": "\n".join(map(str, model.classes or ()))}
    assert admin.post(add, {**form, **stated, "artefact": uploads}).status_code == 302
    version = ModelVersion.objects.get()
    page = admin.get(f"/admin/models_registry/modelversion/{version.pk}/change/").content.decode()
    assert "fixed the number of rows at 1; it is free now" in page
    kept = admin.get(f"/admin/models_registry/modelversion/{version.pk}/artefact/")
    assert kept["Content-Disposition"] == 'attachment; filename="net-1.0.0.zip"'
    assert b"".join(kept.streaming_content) == Path(version.artefact.path).read_bytes()  # type: ignore[attr-defined]


def test_the_uploaded_file_is_not_shown_to_strangers(client: Client) -> None:
    version = upload_version(model="m", version="1.0.0", files=files_of(read_model("xgboost-3")))
    response = client.get(f"/admin/models_registry/modelversion/{version.pk}/artefact/")
    assert (response.status_code, "login" in response["Location"]) == (302, True)


def test_the_terminal_names_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    path = read_model(SIGMOID).path
    with pytest.raises(CommandError, match=r"State --task classification .* or --task regression") as asked:
        call_command("upload_version", "sig", "1.0.0", str(path))
    assert asked.value.returncode == 1
    call_command("upload_version", "sig", "1.0.0", str(path), "--task", "classification", "--json")
    assert json.loads(capsys.readouterr().out)["score_kind"] == "probabilities"


def test_the_api_returns_margins_and_scores_of_anomalies(client: Client) -> None:
    for name in ("sklearn-linear-svc-2", "sklearn-isolation-forest"):
        model = read_model(name)
        version = upload_version(model=name.replace("sklearn-", ""), version="1.0.0", files=files_of(model))
        promote(version=version)
        body = json.dumps({"rows": model.rows})
        url = f"/api/v1/models/{version.model.name}/predict"
        rows = client.post(url, body, content_type="application/json").json()["predictions"]
        assert [row["prediction"] for row in rows] == [str(label) for label in model.predictions]
        assert {row["confidence"] for row in rows} == {None}
        assert model.scores is not None
        expected = np.array(model.scores, np.float64).reshape(len(rows), -1)[:, -1]
        np.testing.assert_allclose([row["score"] for row in rows], expected, rtol=1e-4, atol=1e-5)


def test_rows_are_predicted_one_by_one_if_the_graph_needs_it(client: Client) -> None:
    model = read_model("torch-view-legacy")  # view(1, -1): only one row at a time
    version = upload_version(model="view", version="1.0.0", files=files_of(model), declared=logits(model))
    promote(version=version)
    assert version.rows_at_once == 1
    assert "each row is predicted separately, which is slower" in version.remarks[0]
    body = json.dumps({"rows": model.rows})
    rows = client.post("/api/v1/models/view/predict", body, content_type="application/json").json()["predictions"]
    assert [row["prediction"] for row in rows] == [str(label) for label in model.predictions]


def test_the_normalised_file_is_a_valid_model() -> None:
    version = upload_version(model="cat", version="1.0.0", files=files_of(read_model("catboost-3-strings")))
    onnx.checker.check_model(onnx.load(version.served_path()))
    assert "dictionary for each row (ZipMap)" in version.remarks[0]
