"""Registering versions that are served elsewhere: the service, the API, the admin and the terminal."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from accounts.models import ChangeRecord, ServingGeneration
from accounts.services.tokens import create_token
from mlmon.schema import FeatureKind
from models_registry.exceptions import SchemaError
from models_registry.models import Model, ModelFeature, ModelVersion, Stage
from models_registry.schema_document import document_of_schema
from models_registry.selectors import consequences_of_stage, version_problems
from models_registry.services.external_versions import register_external_version
from models_registry.services.versions import FeatureEdit, edit_features, promote, register_model, set_stage
from tests.factories import iris_onnx, uploaded_version, version_served_elsewhere
from tests.mlmon_site.test_terminal import Ended

pytestmark = pytest.mark.django_db

VERSIONS = "/api/v1/models/loans/versions"
INFERRED = "/api/v1/models/loans/inferred-schema"
PAGE = "/admin/models_registry/modelversion/served-elsewhere/"
SCHEMA: dict[str, Any] = {
    "task": "classification",
    "classes": ["no", "yes"],
    "features": [
        {"name": "income", "type": "number", "required": True},
        {"name": "region", "type": "category", "required": False},
    ],
}
ROWS = b"income,region,prediction\n" + b"100.5,north,yes\n50.5,south,no\n" * 20
DEEP = "[" * 900 + "]" * 900


@pytest.fixture(autouse=True)
def _settings(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.MLMON_API_ACCESS = "token"
    settings.MEDIA_ROOT = tmp_path / "media"
    monkeypatch.setattr("django.core.management.base.connections.close_all", lambda: None)


@pytest.fixture
def model() -> Model:
    return register_model(name="loans")


def changed(**parts: Any) -> dict[str, Any]:
    return {**SCHEMA, **parts}


# --- the service ------------------------------------------------------------------------------------------------------


def test_a_version_is_registered_without_an_artefact(model: Model) -> None:
    generation = ServingGeneration.objects.get().number
    version = register_external_version(model=model, version="2.0.0", document=SCHEMA, notes="on Triton")
    stored = ModelVersion.objects.get()
    assert stored == version
    assert (stored.stage, stored.task_type, stored.classes) == (Stage.STAGING, "classification", ["no", "yes"])
    assert (stored.artefact.name, stored.artefact_sha256, stored.artefact_bytes) == ("", "", None)
    assert not stored.is_served_here
    assert document_of_schema(stored.schema()) == SCHEMA
    assert stored.notes == "on Triton"
    assert ServingGeneration.objects.get().number > generation
    record = ChangeRecord.objects.latest("pk")
    assert (record.message, record.model_name) == ("Registered as served elsewhere.", "loans")


def test_a_new_model_is_registered_with_its_version() -> None:
    register_external_version(model="loans", version="1.0.0", document=SCHEMA)
    assert Model.objects.get().versions.count() == 1


@pytest.mark.parametrize(
    ("name", "version", "document", "error"),
    [
        ("loans", "1.0", SCHEMA, ValidationError),
        ("Not A Name", "1.0.0", SCHEMA, ValidationError),
        ("loans", "1.0.0", changed(task="?"), SchemaError),
        ("loans", "1.0.0", None, SchemaError),
    ],
)
def test_what_is_refused_leaves_nothing_behind(name: str, version: str, document: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        register_external_version(model=name, version=version, document=document)
    assert not Model.objects.exists()
    assert not ModelVersion.objects.exists()
    assert not ChangeRecord.objects.exists()


def test_a_version_exists_once(model: Model) -> None:
    register_external_version(model=model, version="1.0.0", document=SCHEMA)
    with pytest.raises(ValidationError, match="already has a version"):
        register_external_version(model=model, version="1.0.0", document=SCHEMA)


def test_its_features_are_edited_like_others(model: Model) -> None:
    document = changed(features=[{"name": "n", "type": "integer"}, {"name": "b", "type": "boolean", "required": False}])
    version = register_external_version(model=model, version="1.0.0", document=document)
    edit_features(version=version, edits={0: FeatureEdit("count", FeatureKind.CATEGORICAL, False)})
    assert document_of_schema(ModelVersion.objects.get().schema())["features"] == [
        {"name": "count", "type": "integer", "kind": "categorical", "required": False},
        {"name": "b", "type": "boolean", "required": False},
    ]


def test_it_has_no_missing_file(model: Model) -> None:
    version = version_served_elsewhere("iris")
    assert version_problems(version) == ["It has no reference data, so drift is not checked."]
    set_stage(version=version, stage=Stage.STAGING)
    assert version_problems(version) == []


def test_the_consequences_of_a_stage_say_that_it_cannot_predict() -> None:
    version, here = version_served_elsewhere("iris", production=False), uploaded_version("iris", "1.1.0")
    promotion = " ".join(consequences_of_stage(version, Stage.PRODUCTION))
    assert "iris does not predict here any more (409)" in promotion
    assert "iris 1.1.0 loses its traffic" in promotion
    assert "gets no copies of requests" in " ".join(consequences_of_stage(version, Stage.SHADOW))
    assert "its observations are refused" in " ".join(consequences_of_stage(version, Stage.ARCHIVED))
    assert "It serves all requests" in " ".join(consequences_of_stage(here, Stage.PRODUCTION))
    set_stage(version=version, stage=Stage.PRODUCTION, traffic_weight=5)
    assert "it predicts no more (409)" in " ".join(consequences_of_stage(here, Stage.STAGING))


# --- the API ----------------------------------------------------------------------------------------------------------


class Pipeline:
    """A CI pipeline with a token."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.headers = {"Authorization": f"Bearer {create_token(name='ci', scope='registry')[1]}"}

    def register(self, schema: Any = None, *, version: str = "2.0.0", **fields: Any) -> Any:
        body = {"version": version, "schema": SCHEMA if schema is None else schema, **fields}
        return self.client.post(VERSIONS, body, content_type="application/json", headers=self.headers)

    def infer(self, content: bytes = ROWS, **fields: Any) -> Any:
        return self.client.post(
            INFERRED, {"file": SimpleUploadedFile("r.csv", content), **fields}, headers=self.headers
        )

    def send(self, content: bytes, content_type: str = "application/json") -> Any:
        return self.client.generic("POST", VERSIONS, content, content_type=content_type, headers=self.headers)


@pytest.fixture
def pipeline(client: Client, model: Model) -> Pipeline:
    return Pipeline(client)


def test_the_api_registers_once_and_names_the_token(pipeline: Pipeline) -> None:
    first, again = pipeline.register(notes="a"), pipeline.register(notes="b")
    assert (first.status_code, again.status_code) == (201, 200)
    body = first.json()
    assert again.json() == body
    assert (body["is_served_here"], body["artefact_sha256"], body["artefact_bytes"]) == (False, None, None)
    assert [(one["name"], one["kind"], one["is_required"]) for one in body["features"]] == [
        ("income", "numeric", True),
        ("region", "categorical", False),
    ]
    assert ModelVersion.objects.get().notes == "a"
    record = ChangeRecord.objects.get(message="Registered as served elsewhere.")
    assert record.actor == "API token ci"


def test_the_same_schema_in_other_words_is_the_same(pipeline: Pipeline) -> None:
    assert pipeline.register().status_code == 201
    features = [
        {"type": "number", "name": "income", "kind": "numeric"},
        {"name": "region", "type": "category", "required": False},
    ]
    assert pipeline.register(changed(features=features)).status_code == 200


@pytest.mark.parametrize(
    ("schema", "fields"),
    [
        (changed(classes=["yes", "no"]), {"classes"}),
        (changed(task="regression", classes=[]), {"task", "classes"}),
        (changed(features=SCHEMA["features"][::-1]), {"features", "features[0]", "features[1]"}),
        (changed(features=SCHEMA["features"][:1]), {"features"}),
        (changed(features=[{**SCHEMA["features"][0], "required": False}, SCHEMA["features"][1]]), {"features[0]"}),
        (changed(features=[{**SCHEMA["features"][0], "type": "integer"}, SCHEMA["features"][1]]), {"features[0]"}),
    ],
)
def test_another_schema_is_a_conflict(pipeline: Pipeline, schema: Any, fields: set[str]) -> None:
    pipeline.register()
    before = list(ModelFeature.objects.values()), ChangeRecord.objects.count()
    refused = pipeline.register(schema)
    assert refused.status_code == 409
    assert {error["field"] for error in refused.json()["errors"]} == fields
    assert (list(ModelFeature.objects.values()), ChangeRecord.objects.count()) == before


def test_a_file_and_a_schema_are_not_one_version(pipeline: Pipeline) -> None:
    uploaded_version("loans", "1.0.0", production=False)
    refused = pipeline.register(version="1.0.0")
    assert refused.status_code == 409
    assert "is served here" in refused.json()["errors"][0]["reason"]
    pipeline.register()
    artefact = SimpleUploadedFile("m.onnx", iris_onnx())
    sent = pipeline.client.post(VERSIONS, {"version": "2.0.0", "artefact": artefact}, headers=pipeline.headers)
    assert sent.status_code == 409
    error = {"field": "artefact", "reason": "it is served elsewhere. Give the file a new version."}
    assert sent.json()["errors"] == [error]


def test_an_invalid_schema_names_each_place(pipeline: Pipeline) -> None:
    features = [{"name": "a", "type": "text"}, {"name": "b", "type": "number", "optional": True}]
    refused = pipeline.register(changed(task="?", features=features))
    assert refused.status_code == 422
    assert {error["field"] for error in refused.json()["errors"]} == {
        "task",
        "features[0].type",
        "features[1].optional",
    }
    assert not ModelVersion.objects.exists()


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 422),
        (b'{"version": "2.0.0"}', "application/json", 422),
        (b'{"version": "2.0.0", "schema": null}', "application/json", 422),
        (b'{"version": "2.0.0", "schema": "x"}', "application/json", 422),
        (b'{"version": "2.0.0", "schema": {}, "model": 1}', "application/json", 422),
        (f'{{"version": "2.0.0", "schema": {DEEP}}}'.encode(), "application/json", 422),
        (f'{{"version": "2.0.0", "schema": {{"features": {DEEP}}}}}'.encode(), "application/json", 422),
        (b'{"version": "2.0.0", "schema": {"task": "\\ud800"}}', "application/json", 400),
        (b'{"version": "2\\u0000", "schema": {}}', "application/json", 422),
        (b"a=1", "text/csv", 415),
        (b"a=1", "application/json2", 415),
        (b"{}", "multipart/form-data", 400),
    ],
)
def test_hostile_bodies_are_refused(pipeline: Pipeline, body: bytes, content_type: str, status: int) -> None:
    refused = pipeline.send(body, content_type)
    assert (refused.status_code, refused["Content-Type"]) == (status, "application/problem+json"), refused.content
    assert not ModelVersion.objects.exists()


def test_registration_needs_the_scope(client: Client, model: Model) -> None:
    sent = {"version": "2.0.0", "schema": SCHEMA}
    for scope, status in (("predict", 403), ("read", 403), (None, 401)):
        headers = {"Authorization": f"Bearer {create_token(name=scope, scope=scope)[1]}"} if scope else {}
        for path in (VERSIONS, INFERRED):
            answer = client.post(path, sent, headers=headers, content_type="application/json")
            assert answer.status_code == status


@pytest.mark.django_db(transaction=True)
def test_simultaneous_calls_store_one_row(client: Client) -> None:
    register_model(name="loans")
    pipeline = Pipeline(client)
    statuses: list[int] = []

    def call() -> None:
        try:
            statuses.append(pipeline.register().status_code)
        finally:
            connection.close()

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(statuses) == [200, 200, 200, 201]
    assert (ModelVersion.objects.count(), ModelFeature.objects.count()) == (1, 2)


def test_the_api_infers_a_schema_and_stores_nothing(pipeline: Pipeline, settings: Settings) -> None:
    before = ChangeRecord.objects.count(), ServingGeneration.objects.get().number
    found = pipeline.infer()
    assert found.status_code == 200
    body = found.json()
    assert body == {
        "schema": changed(features=[SCHEMA["features"][0], {**SCHEMA["features"][1], "required": True}]),
        "left_out": [{"column": "prediction", "reason": "It has the predictions."}],
        "notes": [],
    }
    assert not ModelVersion.objects.exists()
    assert (ChangeRecord.objects.count(), ServingGeneration.objects.get().number) == before
    assert not list(Path(settings.MEDIA_ROOT).rglob("*"))
    assert pipeline.register(body["schema"]).status_code == 201


def test_the_api_infers_by_the_columns_that_are_named(pipeline: Pipeline) -> None:
    content = ROWS.replace(b"prediction", b"paid").replace(b"100.5", b"-999")
    found = pipeline.infer(content, prediction_column="paid", missing_values="-999", task="classification")
    assert [one["required"] for one in found.json()["schema"]["features"]] == [False, True]


@pytest.mark.parametrize(
    ("content", "fields", "field"),
    [
        (b"", {}, "file"),
        (b"\x00\x01\x02", {}, "file"),
        (b"a,b\n1,2\n", {}, "file"),
        (ROWS, {"prediction_column": "absent"}, "file"),
        (ROWS, {"encoding": "klingon"}, "encoding"),
        (ROWS, {"task": "clustering"}, "task"),
        (ROWS, {"version": "1.0.0"}, "version"),
    ],
)
def test_an_unusable_file_is_refused(pipeline: Pipeline, content: bytes, fields: dict[str, str], field: str) -> None:
    refused = pipeline.infer(content, **fields)
    assert refused.status_code == 422, refused.content
    assert [error["field"] for error in refused.json()["errors"]] == [field]
    assert "mlmon-schema" not in refused.content.decode()


def test_large_files_and_unknown_models_are_refused(pipeline: Pipeline, settings: Settings) -> None:
    settings.MLMON_MAX_REFERENCE_BYTES = 100
    assert pipeline.infer().status_code == 413
    path = INFERRED.replace("loans", "absent")
    assert pipeline.client.post(path, {}, headers=pipeline.headers).status_code == 404


# --- the admin --------------------------------------------------------------------------------------------------------


def test_the_page_infers_shows_and_registers_what_the_person_confirms(admin_client: Client, model: Model) -> None:
    versions = reverse("admin:models_registry_modelversion_changelist")
    assert PAGE in admin_client.get(versions).content.decode()
    assert "Infer the schema from the file" in admin_client.get(PAGE).content.decode()
    sent = {"model": model.pk, "version": "2.0.0", "notes": "on Triton"}
    shown = admin_client.post(PAGE, {**sent, "file": SimpleUploadedFile("r.csv", ROWS), "_infer": "1"})
    page = shown.content.decode()
    assert shown.status_code == 200
    assert "Nothing is stored yet." in page
    assert "<strong>prediction</strong>: It has the predictions." in page
    assert not ModelVersion.objects.exists()
    suggested = shown.context["adminform"].form["schema"].value()
    document = json.loads(suggested)
    assert document["features"][1] == {"name": "region", "type": "category", "required": True}
    document["features"][1]["required"] = False  # the person knows better
    done = admin_client.post(PAGE, {**sent, "schema": json.dumps(document)})
    version = ModelVersion.objects.get()
    assert done["Location"] == reverse("admin:models_registry_modelversion_change", args=[version.pk])
    assert document_of_schema(version.schema()) == SCHEMA
    assert version.notes == "on Triton"
    assert (version.created_by, ChangeRecord.objects.latest("pk").actor) == (User.objects.get(), "admin")


@pytest.mark.parametrize(
    ("sent", "field", "reason"),
    [
        ({"_infer": "1"}, "file", "Choose a file."),
        ({"_infer": "1", "file": b"a,b\n1,2\n"}, "file", "does not show what the model predicts"),
        ({"_infer": "1", "file": ROWS, "prediction_column": "p"}, "file", "Choose the file again."),
        ({"_infer": "1", "file": ROWS, "encoding": "klingon"}, "encoding", "klingon"),
        ({"_infer": "1", "file": ROWS, "task": "clustering"}, "task", "not one of the available choices"),
        ({}, "schema", "This field is required."),
        ({"schema": "{"}, "schema", "This is not valid JSON"),
        ({"schema": DEEP}, "schema", "expected an object"),
        ({"schema": json.dumps(changed(task="?"))}, "schema", "task: expected classification"),
        ({"schema": json.dumps(SCHEMA), "version": "1.0"}, "version", "semantic version"),
        ({"schema": json.dumps(SCHEMA), "version": ""}, "version", "This field is required."),
        ({"schema": json.dumps(SCHEMA), "model": "0"}, "model", "Select a valid choice"),
        ({"schema": json.dumps(SCHEMA), "model": ""}, "model", "This field is required."),
    ],
)
def test_the_page_shows_why_something_is_refused(
    admin_client: Client, model: Model, sent: dict[str, Any], field: str, reason: str
) -> None:
    if "file" in sent:
        sent = {**sent, "file": SimpleUploadedFile("r.csv", sent["file"])}
    refused = admin_client.post(PAGE, {"model": model.pk, "version": "2.0.0", **sent})
    assert refused.status_code == 200
    assert reason in " ".join(refused.context["adminform"].form.errors[field])
    assert not ModelVersion.objects.exists()


def test_the_pages_of_such_a_version_show_no_file(admin_client: Client) -> None:
    version = version_served_elsewhere("iris")
    page = admin_client.get(reverse("admin:models_registry_modelversion_change", args=[version.pk])).content.decode()
    assert "It is served elsewhere: another server predicts" in page
    assert "Download the uploaded file" not in page
    assert "SHA-256" not in page
    assert "Input name" not in page
    download = reverse("admin:models_registry_modelversion_artefact", args=[version.pk])
    assert admin_client.get(download).status_code == 404
    assert "another server" in admin_client.get("/admin/models_registry/modelversion/").content.decode()
    promotion = admin_client.get(reverse("admin:models_registry_modelversion_promote", args=[version.pk]))
    assert promotion.status_code == 200


# --- the terminal -----------------------------------------------------------------------------------------------------


def test_the_terminal_prints_a_schema_that_it_then_registers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, schema = tmp_path / "rows.csv", tmp_path / "schema.json"
    rows.write_bytes(ROWS)
    inferred = Ended(capsys, "register_version", "loans", "2.0.0", "--infer", rows)
    assert inferred.status == 0
    assert "prediction: It has the predictions." in inferred.err
    assert "Nothing is stored." in inferred.err
    assert not Model.objects.exists()
    document = json.loads(inferred.out)
    as_json = Ended(capsys, "register_version", "loans", "2.0.0", "--infer", rows, "--json")
    assert (as_json.document["schema"], as_json.err) == (document, "")
    schema.write_text(json.dumps(document))
    made = Ended(capsys, "register_version", "loans", "2.0.0", "--schema", schema, "--promote", "--json")
    assert (made.status, made.err, made.document["stage"]) == (0, "", "production")
    assert made.document["schema"] == document
    text = Ended(capsys, "register_version", "loans", "2.0.1", "--schema", schema)
    assert "loans 2.0.1: staging, classification, served elsewhere" in text.out
    listed = Ended(capsys, "models", "--json")
    rows_of_model = listed.document["models"][0]["versions"]
    assert {(one["is_served_here"], one["artefact_sha256"]) for one in rows_of_model} == {(False, None)}
    assert ChangeRecord.objects.filter(actor__startswith="register_version").exists()


@pytest.mark.parametrize(
    ("content", "words", "status", "reason"),
    [
        (b"{", ["--schema"], 1, "is not valid JSON"),
        (b"\xff", ["--schema"], 1, "is not valid JSON"),
        (b'{"task": "?"}', ["--schema"], 1, "task: expected classification, regression or anomaly"),
        (b"a,b\n1,2\n", ["--infer"], 1, "does not show what the model predicts"),
        (ROWS, ["--notes", "x", "--infer"], 2, "--infer stores nothing"),
        (b"{}", ["--prediction-column", "p", "--schema"], 2, "--prediction-column is an option of --infer."),
        (b"{}", ["--encoding", "klingon", "--schema"], 2, "klingon"),
    ],
)
def test_the_terminal_says_why_something_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, words: list[str], status: int, reason: str
) -> None:
    path = tmp_path / "given"
    path.write_bytes(content)
    ended = Ended(capsys, "register_version", "loans", "2.0.0", *words, path)
    assert (ended.status, reason in ended.err) == (status, True), ended.err
    assert not Model.objects.exists()


def test_the_terminal_needs_one_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert Ended(capsys, "register_version", "loans", "2.0.0").status == 2
    assert Ended(capsys, "register_version", "loans", "2.0.0", "--schema", tmp_path / "absent").status == 2
    assert Ended(capsys, "register_version", "loans", "2.0.0", "--infer", tmp_path / "absent").status == 2


def test_the_terminal_uploads_predictions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    register_external_version(model="loans", version="1.0.0", document=SCHEMA)
    rows = tmp_path / "rows.csv"
    rows.write_bytes(ROWS.replace(b"prediction", b"paid"))
    words = ("upload_reference", "loans", "1.0.0", rows)
    lacking = Ended(capsys, *words)
    assert "predictions: No column of the file is named like predictions." in lacking.out
    found = Ended(capsys, *words, "--prediction-column", "paid")
    assert "predictions: column paid, no 50.0 %, yes 50.0 %" in found.out
    body = Ended(capsys, *words, "--prediction-column", "paid", "--json").document
    assert (body["prediction_column"], body["predictions_note"]) == ("paid", "")
    promote(version=ModelVersion.objects.get())
    assert Ended(capsys, "models", "--check").status == 0
