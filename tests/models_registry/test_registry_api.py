"""The registry's calls for a CI pipeline: what they store, what a repeated call changes, and what they refuse."""

import gzip
import io
import json
import pickle
import threading
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import Group, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from pytest_django.fixtures import Settings

from accounts.actors import PLATFORM
from accounts.models import ChangeRecord, ServingGeneration
from accounts.services.tokens import create_token
from models_registry.models import Model, ModelVersion, ReferenceDataset, Stage
from models_registry.services.references import activate_reference, profile_reference, upload_reference
from models_registry.services.versions import register_model, set_stage
from tests.factories import IRIS_FEATURES, iris_onnx, uploaded_version
from tests.mlmon.observed import iris_rows, profiled_reference
from tests.models_registry.onnx_models import mixed_model

pytestmark = pytest.mark.django_db

MODELS = "/api/v1/models"
VERSIONS = f"{MODELS}/iris/versions"
REFERENCE = f"{VERSIONS}/1.0.0/reference"
STAGE = f"{VERSIONS}/1.0.0/stage"
ROWS = (Path(django_settings.BASE_DIR) / "demo" / "classifier-reference.csv").read_bytes()
BAD_ROWS = b"sepal_length,sepal_width,petal_length,petal_width\n1,2,3,4\n1,2,3,wide\n"
NAMES = ",".join(IRIS_FEATURES)


class Pipeline:
    """A CI pipeline with a token."""

    def __init__(self, client: Client, token: str) -> None:
        self.client = client
        self.headers = {"Authorization": f"Bearer {token}"}

    def post(self, path: str, body: Any) -> Any:
        return self.client.post(path, body, content_type="application/json", headers=self.headers)

    def send_bytes(self, path: str, content: bytes, content_type: str, **headers: str) -> Any:
        headers = {**self.headers, **headers}
        return self.client.generic("POST", path, content, content_type=content_type, headers=headers)

    def send(self, path: str, **fields: Any) -> Any:
        """Send a multipart form; a list is a field that occurs several times."""
        return self.client.post(path, fields, headers=self.headers)

    def get(self, path: str) -> Any:
        return self.client.get(path, headers=self.headers)

    def upload(self, content: bytes | None = None, *, version: str = "1.0.0", **fields: Any) -> Any:
        return self.send(VERSIONS, version=version, artefact=onnx_file(content), **{"features": NAMES, **fields})


def onnx_file(content: bytes | None = None, name: str = "model.onnx") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, iris_onnx() if content is None else content)


def rows_file(content: bytes = ROWS, name: str = "rows.csv") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, content)


@pytest.fixture
def pipeline(client: Client, settings: Settings, tmp_path: Path) -> Pipeline:
    settings.MLMON_API_ACCESS = "token"
    settings.MEDIA_ROOT = tmp_path / "media"
    return Pipeline(client, create_token(name="ci", scope="registry")[1])


@pytest.fixture
def iris(pipeline: Pipeline) -> ModelVersion:
    return uploaded_version("iris", production=False)


def everything(settings: Settings) -> dict[str, Any]:
    """Return what a write changes: rows, stages, the generation, the audit trail and the stored files."""
    files = (path for path in Path(settings.MEDIA_ROOT).rglob("*") if path.is_file())
    return {
        "models": list(Model.objects.values()),
        "versions": list(ModelVersion.objects.values()),
        "references": list(ReferenceDataset.objects.values()),
        "changes": list(ChangeRecord.objects.values()),
        "generation": ServingGeneration.objects.get().number,
        "files": sorted((str(path), path.stat().st_mtime_ns) for path in files),
    }


def problem_of(response: Any, status: int) -> dict[str, Any]:
    assert (response.status_code, response["Content-Type"]) == (status, "application/problem+json"), response.content
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    return body


# --- a pipeline, from the model to production ------------------------------------------------------------------------


def test_a_pipeline_brings_a_model_into_production(pipeline: Pipeline, client: Client) -> None:
    made = pipeline.post(MODELS, {"name": "iris", "description": "flowers", "time_zone": "Europe/Berlin"})
    assert made.status_code == 201
    about = {"name": "iris", "description": "flowers", "time_zone": "Europe/Berlin", "versions": []}
    assert made.json() == {**about, "created_at": made.json()["created_at"]}

    uploaded = pipeline.upload(optional="petal_width", categorical='["petal_length"]', notes="run 7")
    assert uploaded.status_code == 201
    body = uploaded.json()
    assert (body["version"], body["stage"], body["classes"]) == (
        "1.0.0",
        "staging",
        ["setosa", "versicolor", "virginica"],
    )
    kinds = [(one["name"], one["kind"], one["is_required"]) for one in body["features"]]
    assert kinds == [
        ("sepal_length", "numeric", True),
        ("sepal_width", "numeric", True),
        ("petal_length", "categorical", True),
        ("petal_width", "numeric", False),
    ]
    assert ModelVersion.objects.get().notes == "run 7"

    sent = pipeline.send(REFERENCE, file=rows_file(), label_column="species")
    assert sent.status_code == 202
    job = sent.json()
    assert (job["state"], job["progress_percent"], job["rows"]) == ("pending", 0, None)
    assert pipeline.get(job["url"]).json() == job
    profile_reference(reference_id=job["id"])
    done = pipeline.get(job["url"]).json()
    assert (done["state"], done["progress_percent"], done["error_message"]) == ("ready", 100, "")
    assert (done["rows"], done["labelled_rows"], done["label_column"]) == (150, 150, "species")
    assert done["is_active"]

    promoted = pipeline.post(STAGE, {"stage": "production"})
    assert promoted.status_code == 200
    change = {"version": "1.0.0", "stage_before": "staging", "traffic_weight_before": 0}
    assert promoted.json() == {
        "model_name": "iris",
        "model_version": "1.0.0",
        "stage": "production",
        "traffic_weight": 100,
        "changes": [{**change, "stage": "production", "traffic_weight": 100}],
    }
    _, token = create_token(name="app", scope="predict")
    predicted = client.post(
        f"{MODELS}/iris/predict",
        {"features": [5.1, 3.5, 1.4, 0.2]},
        content_type="application/json",
        headers={"Authorization": f"Bearer {token}"},
    )
    assert predicted.json()["prediction"] == "setosa"
    assert pipeline.get(f"{MODELS}/iris").json()["versions"][0]["stage"] == "production"


def test_the_audit_trail_names_the_token(pipeline: Pipeline) -> None:
    ChangeRecord.objects.all().delete()
    pipeline.post(MODELS, {"name": "iris"})
    pipeline.upload()
    job = pipeline.send(REFERENCE, file=rows_file()).json()
    profile_reference(reference_id=job["id"])
    for stage in ("production", "archived"):
        pipeline.post(STAGE, {"stage": stage})
    records = ChangeRecord.objects.order_by("pk")
    assert [
        (record.actor, record.message.split(",")[0].split(" from")[0], record.model_name) for record in records
    ] == [
        ("API token ci", "Registered.", "iris"),
        ("API token ci", "Uploaded", "iris"),
        ("API token ci", "Uploaded.", "iris"),
        (PLATFORM.name, "Activated after profiling.", "iris"),
        ("API token ci", "Stage changed", "iris"),
        ("API token ci", "Stage changed", "iris"),
    ]
    assert {record.user_id for record in records} == {None}


# --- repeated calls --------------------------------------------------------------------------------------------------


def test_the_same_calls_again_change_nothing(pipeline: Pipeline, settings: Settings) -> None:
    form = {"label_column": "species", "missing_values": "NA,-999", "encoding": "UTF8"}

    def statuses() -> list[int]:
        return [
            pipeline.post(MODELS, {"name": "iris", "description": "flowers"}).status_code,
            pipeline.upload(optional="petal_width").status_code,
            pipeline.send(REFERENCE, file=rows_file(), **form).status_code,
            pipeline.post(STAGE, {"stage": "production"}).status_code,
            pipeline.post(f"{VERSIONS}/1.0.0/stage", {"stage": "production"}).status_code,
        ]

    assert statuses() == [201, 201, 202, 200, 200]
    stored = everything(settings)
    assert statuses() == [200] * 5
    profile_reference(reference_id=ReferenceDataset.objects.get().pk)
    profiled = everything(settings)
    assert statuses() == [200] * 5
    assert (everything(settings), len(stored["files"])) == (profiled, 2)
    assert pipeline.post(STAGE, {"stage": "production"}).json()["changes"] == []


@pytest.mark.parametrize(
    "again",
    [
        {"name": "iris"},
        {"name": "iris", "description": "flowers"},
        {"name": "iris", "description": "flowers", "time_zone": "UTC"},
    ],
)
def test_a_registered_model_is_returned(pipeline: Pipeline, again: dict[str, str]) -> None:
    first = pipeline.post(MODELS, {"name": "iris", "description": "flowers"}).json()
    response = pipeline.post(MODELS, again)
    assert (response.status_code, response.json()) == (200, first)


def test_another_description_or_time_zone_is_a_conflict(pipeline: Pipeline, settings: Settings) -> None:
    register_model(name="iris", description="flowers")
    before = everything(settings)
    body = problem_of(pipeline.post(MODELS, {"name": "iris", "description": "cars", "time_zone": "Asia/Tokyo"}), 409)
    assert body["errors"] == [
        {
            "field": "description",
            "reason": 'it is "flowers", not "cars". Send the stored value, or leave the field out.',
        },
        {
            "field": "time_zone",
            "reason": 'it is "UTC", not "Asia/Tokyo". Send the stored value, or leave the field out.',
        },
    ]
    assert everything(settings) == before


@pytest.mark.parametrize(
    ("content", "fields", "field"),
    [
        (iris_onnx(1), {}, "artefact"),
        (None, {"features": "sepal_width,sepal_length,petal_length,petal_width"}, "features"),
        (None, {"optional": "petal_width"}, "optional"),
        (None, {"categorical": "petal_width"}, "categorical"),
        (b"no model", {}, "artefact"),
    ],
)
def test_another_file_or_other_features_for_a_version_are_a_conflict(
    pipeline: Pipeline, iris: ModelVersion, settings: Settings, content: bytes | None, fields: Any, field: str
) -> None:
    before = everything(settings)
    body = problem_of(pipeline.upload(content, **fields), 409)
    assert [error["field"] for error in body["errors"]] == [field]
    assert everything(settings) == before


def test_options_that_are_left_out_are_not_compared(pipeline: Pipeline) -> None:
    register_model(name="iris")
    assert pipeline.upload(optional="petal_width", notes="first").status_code == 201
    assert pipeline.send(VERSIONS, version="1.0.0", artefact=onnx_file(), notes="second").status_code == 200
    assert ModelVersion.objects.get().notes == "first"


def test_what_the_graph_says_is_no_contradiction(pipeline: Pipeline) -> None:
    register_model(name="iris")
    content = mixed_model().content  # carrier and origin are strings

    def status(**fields: Any) -> int:
        form = {"version": "1.0.0", "artefact": onnx_file(content), **fields}
        return int(pipeline.send(VERSIONS, **form).status_code)

    assert status(categorical="hour") == 201
    assert status(categorical="hour,carrier") == 200
    assert status(categorical="hour,distance") == 409


def test_the_same_file_may_be_another_version(pipeline: Pipeline, iris: ModelVersion) -> None:
    assert pipeline.upload(version="1.0.1").status_code == 201
    assert ModelVersion.objects.count() == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"file": rows_file(ROWS + b"5,3,1,0.2,setosa\n")},
        {"label_column": "petal_width"},
        {"time_column": "sepal_length"},
        {"encoding": "cp1252"},
        {"missing_values": "NA"},
    ],
)
def test_another_file_or_another_way_to_read_it_is_another_reference(
    pipeline: Pipeline, iris: ModelVersion, fields: dict[str, Any]
) -> None:
    first = pipeline.send(REFERENCE, file=rows_file()).json()
    second = pipeline.send(REFERENCE, **{"file": rows_file(), **fields})
    assert second.status_code == 202
    assert second.json()["id"] != first["id"]


def test_an_upload_in_the_admin_is_recognised(pipeline: Pipeline, iris: ModelVersion) -> None:
    reference = upload_reference(version=iris, file=rows_file(), filename="by hand.csv")
    response = pipeline.send(REFERENCE, file=rows_file(name="by ci.csv"))
    assert (response.status_code, response.json()["id"]) == (200, reference.pk)


def test_a_failed_reference_is_uploaded_again(pipeline: Pipeline, iris: ModelVersion) -> None:
    first = pipeline.send(REFERENCE, file=rows_file(BAD_ROWS)).json()
    profile_reference(reference_id=first["id"])
    failed = pipeline.get(first["url"]).json()
    assert (failed["state"], failed["rows"], failed["is_active"]) == ("failed", None, False)
    assert "petal_width" in failed["error_message"]
    assert "wide" in failed["error_message"]
    again = pipeline.send(REFERENCE, file=rows_file(BAD_ROWS))
    assert (again.status_code, again.json()["id"] != first["id"]) == (202, True)


def test_a_repeated_upload_does_not_undo_another_activation(pipeline: Pipeline, iris: ModelVersion) -> None:
    job = pipeline.send(REFERENCE, file=rows_file()).json()
    profile_reference(reference_id=job["id"])
    other = profiled_reference(iris, iris_rows(200))
    again = pipeline.send(REFERENCE, file=rows_file())
    assert (again.status_code, again.json()["is_active"]) == (200, False)
    other.refresh_from_db()
    assert other.is_active
    activate_reference(reference=ReferenceDataset.objects.get(pk=job["id"]))
    assert pipeline.get(job["url"]).json()["is_active"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("path", "forms", "expected", "rows"),
    [
        (VERSIONS, [{"version": "1.0.0"}, {"version": "1.0.0"}], [200, 201], ModelVersion),
        (VERSIONS, [{"version": "1.0.0"}, {"version": "1.0.0", "artefact": iris_onnx(1)}], [201, 409], ModelVersion),
        (f"{MODELS}/kept/versions/1.0.0/reference", [{"file": ROWS}, {"file": ROWS}], [200, 202], ReferenceDataset),
    ],
    ids=["same file", "other file", "reference"],
)
def test_simultaneous_calls_store_one_row_and_one_file(
    pipeline: Pipeline,
    settings: Settings,
    path: str,
    forms: list[dict[str, Any]],
    expected: list[int],
    rows: type[ModelVersion] | type[ReferenceDataset],
) -> None:
    uploaded_version("kept", onnx=iris_onnx(2))
    register_model(name="iris")
    before = everything(settings)
    statuses = []
    start = threading.Barrier(2)

    def send(form: dict[str, Any]) -> None:
        filled = form if "file" in form else {"artefact": iris_onnx(), **form}
        files = {name: SimpleUploadedFile(f"{name}.onnx", text) for name, text in filled.items() if type(text) is bytes}
        own = Pipeline(Client(), pipeline.headers["Authorization"].split()[1])
        start.wait()
        statuses.append(own.send(path, **{**filled, **files}).status_code)
        connection.close()

    threads = [threading.Thread(target=send, args=(form,)) for form in forms]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == expected
    assert rows.objects.count() == (2 if rows is ModelVersion else 1)
    assert len(everything(settings)["files"]) == len(before["files"]) + 1


# --- stages ----------------------------------------------------------------------------------------------------------


def test_a_promotion_takes_the_traffic_of_the_others(pipeline: Pipeline, iris: ModelVersion) -> None:
    set_stage(version=uploaded_version("iris", "0.9.0", onnx=iris_onnx(1)), stage=Stage.PRODUCTION, traffic_weight=7)
    changes = pipeline.post(STAGE, {"stage": "production"}).json()["changes"]
    moves = [
        (one["version"], one["stage_before"], one["traffic_weight_before"], one["stage"], one["traffic_weight"])
        for one in changes
    ]
    assert sorted(moves) == [("0.9.0", "production", 7, "staging", 0), ("1.0.0", "staging", 0, "production", 100)]


def test_a_traffic_weight_leaves_the_others_in_production(pipeline: Pipeline, iris: ModelVersion) -> None:
    uploaded_version("iris", "0.9.0", onnx=iris_onnx(1))
    canary = pipeline.post(STAGE, {"stage": "production", "traffic_weight": 5}).json()
    assert ([one["version"] for one in canary["changes"]], canary["traffic_weight"]) == (["1.0.0"], 5)
    assert ModelVersion.objects.filter(stage=Stage.PRODUCTION).count() == 2
    assert pipeline.post(STAGE, {"stage": "production", "traffic_weight": 5}).json()["changes"] == []
    for stage in ("shadow", "staging", "archived"):
        moved = pipeline.post(STAGE, {"stage": stage}).json()
        assert (moved["stage"], moved["traffic_weight"], len(moved["changes"])) == (stage, 0, 1)


@pytest.mark.parametrize(
    "body", [{"stage": "production", "traffic_weight": 0}, {"stage": "shadow", "traffic_weight": 5}]
)
def test_a_weight_that_does_not_fit_the_stage_is_a_conflict(
    pipeline: Pipeline, iris: ModelVersion, settings: Settings, body: dict[str, Any]
) -> None:
    before = everything(settings)
    problem_of(pipeline.post(STAGE, body), 409)
    assert everything(settings) == before


def test_an_archived_version_is_final(pipeline: Pipeline, iris: ModelVersion) -> None:
    other = uploaded_version("iris", "0.9.0", onnx=iris_onnx(1))
    assert pipeline.post(STAGE, {"stage": "archived"}).status_code == 200
    assert pipeline.post(STAGE, {"stage": "archived"}).json()["changes"] == []
    assert "final" in problem_of(pipeline.post(STAGE, {"stage": "production"}), 409)["detail"]
    other.refresh_from_db()
    assert (other.stage, other.traffic_weight) == (Stage.PRODUCTION, 100)
    assert "archived" in problem_of(pipeline.send(REFERENCE, file=rows_file()), 409)["detail"]


# --- who may call ----------------------------------------------------------------------------------------------------


def statuses_of(client: Client, headers: dict[str, str]) -> dict[str, int]:
    """Return the statuses of the registry's calls, which change nothing when allowed: they are repeated calls."""
    job = ReferenceDataset.objects.get()

    def json_call(path: str, body: dict[str, str]) -> int:
        return client.post(path, body, content_type="application/json", headers=headers).status_code

    return {
        "list": client.get(MODELS, headers=headers).status_code,
        "show": client.get(f"{MODELS}/iris", headers=headers).status_code,
        "job": client.get(f"{MODELS}/iris/jobs/{job.pk}", headers=headers).status_code,
        "register": json_call(MODELS, {"name": "iris"}),
        "upload": client.post(VERSIONS, {"version": "1.0.0", "artefact": onnx_file()}, headers=headers).status_code,
        "reference": client.post(REFERENCE, {"file": rows_file()}, headers=headers).status_code,
        "stage": json_call(STAGE, {"stage": "staging"}),
    }


READS, WRITES = ("list", "show", "job"), ("register", "upload", "reference", "stage")


@pytest.mark.parametrize(
    ("scope", "reading", "writing"),
    [("predict", 403, 403), ("read", 200, 403), ("registry", 200, 200), ("all", 200, 200), (None, 401, 401)],
)
@pytest.mark.parametrize("access", ["token", "open"])
def test_scopes(
    pipeline: Pipeline,
    client: Client,
    iris: ModelVersion,
    settings: Settings,
    scope: str | None,
    reading: int,
    writing: int,
    access: str,
) -> None:
    settings.MLMON_API_ACCESS = access
    upload_reference(version=iris, file=rows_file(), filename="rows.csv")
    headers = {"Authorization": f"Bearer {create_token(name='t', scope=scope)[1]}"} if scope else {}
    before = everything(settings)
    expected = dict.fromkeys(READS, 200 if access == "open" else reading) | dict.fromkeys(WRITES, writing)
    assert statuses_of(client, headers) == expected
    assert everything(settings) == before


@pytest.mark.parametrize(("role", "reading"), [("viewer", 200), ("admin", 200), (None, 403)])
def test_a_login_may_read_only(
    pipeline: Pipeline, client: Client, iris: ModelVersion, role: str | None, reading: int
) -> None:
    upload_reference(version=iris, file=rows_file(), filename="rows.csv")
    person = User.objects.create_user("anna", is_staff=True)
    person.groups.set(Group.objects.filter(name=role))
    client.force_login(person)
    assert statuses_of(client, {}) == dict.fromkeys(READS, reading) | dict.fromkeys(WRITES, 403)
    refused = client.post(MODELS, {"name": "other"}, content_type="application/json")
    assert problem_of(refused, 403)["detail"] == "Send a token with the scope registry. A login is enough to read only."


# --- what is refused -------------------------------------------------------------------------------------------------


def form(**fields: Any) -> tuple[bytes, str]:
    return encode_multipart(BOUNDARY, fields), MULTIPART_CONTENT


def as_json(body: Any) -> tuple[bytes, str]:
    return (body if isinstance(body, bytes) else json.dumps(body).encode()), "application/json"


def version_form(**fields: Any) -> tuple[bytes, str]:
    return form(**{"version": "1.0.0", "artefact": onnx_file(), **fields})


NEW = f"{MODELS}/new/versions"
ZIP_BOMB = gzip.compress(b"\0" * 10**6)
REFUSALS: list[tuple[str, tuple[bytes, str], int, str | None]] = [
    # a model
    (MODELS, as_json({}), 422, "name"),
    (MODELS, as_json({"name": ""}), 422, "name"),
    (MODELS, as_json({"name": None}), 422, "name"),
    (MODELS, as_json({"name": ["a"]}), 422, "name"),
    (MODELS, as_json({"name": "a\0b"}), 422, "name"),
    (MODELS, as_json({"name": "Not A Name"}), 422, "name"),
    (MODELS, as_json({"name": "../etc"}), 422, "name"),
    (MODELS, as_json({"name": "a" * 64}), 422, "name"),
    (MODELS, as_json({"name": "a" * 10**6}), 422, "name"),
    (MODELS, as_json({"name": "a", "description": "\0"}), 422, "description"),
    (MODELS, as_json({"name": "a", "time_zone": "Mars/Base"}), 422, "time_zone"),
    (MODELS, as_json({"name": "a", "time_zone": ""}), 422, "time_zone"),
    (MODELS, as_json({"name": "a", "descripton": "typo"}), 422, "descripton"),
    (MODELS, as_json({"name": "a", "x" * 10**5: 1}), 422, ""),
    (MODELS, as_json([]), 422, None),
    (MODELS, as_json("a"), 422, None),
    (MODELS, as_json(None), 422, None),
    (MODELS, as_json(b'{"name": '), 400, ""),
    (MODELS, as_json(b'{"name": "\xff"}'), 400, ""),
    (MODELS, as_json(b'{"name": "\\ud800"}'), 400, ""),
    (MODELS, as_json(b""), 422, "name"),
    (MODELS, form(name="a"), 415, ""),
    (MODELS, (b"name=a", "application/x-www-form-urlencoded"), 415, ""),
    # a version
    (f"{MODELS}/absent/versions", version_form(), 404, ""),
    (f"{MODELS}/a%00b/versions", version_form(), 404, ""),
    (f"{MODELS}/{'a' * 5000}/versions", version_form(), 404, ""),
    (NEW, as_json({"version": "1.0.0"}), 422, "schema"),
    (NEW, (iris_onnx(), "application/octet-stream"), 415, ""),
    (NEW, (b"x", "nonsense"), 415, ""),
    (NEW, (b"x", "multipart/form-data"), 400, ""),
    (NEW, (b"x", "multipart/form-data; boundary="), 400, ""),
    (NEW, (b"x", "multipart/form-data; boundary=a; charset=nonsense"), 422, ""),
    (NEW, (version_form()[0][:300], MULTIPART_CONTENT), 422, ""),
    (NEW, (b"", MULTIPART_CONTENT), 422, ""),
    (NEW, form(version="1.0.0"), 422, "artefact"),
    (NEW, form(artefact=onnx_file()), 422, "version"),
    (NEW, version_form(artefact="model.onnx"), 422, "artefact"),
    (NEW, version_form(artefact=onnx_file(b"")), 422, "artefact"),
    (NEW, version_form(artefact=onnx_file(b"just text")), 422, "artefact"),
    (NEW, version_form(artefact=onnx_file(pickle.dumps({"a": 1}))), 422, "artefact"),
    (NEW, version_form(artefact=onnx_file(ZIP_BOMB)), 422, "artefact"),
    (NEW, version_form(artefact=onnx_file(iris_onnx()[:-100])), 422, "artefact"),
    (NEW, version_form(artefact=[onnx_file(), onnx_file(iris_onnx(1), "other.onnx")]), 422, "artefact"),
    (NEW, version_form(artefact=[onnx_file(name="a.data"), onnx_file(name="b.data")]), 422, "artefact"),
    (NEW, version_form(version="1.0"), 422, "version"),
    (NEW, version_form(version="latest"), 422, "version"),
    (NEW, version_form(version=""), 422, "version"),
    (NEW, version_form(version="1.0.0\0"), 422, "version"),
    (NEW, version_form(version="1.0.0-" + "a" * 10**5), 422, "version"),
    (NEW, version_form(version=["1.0.0", "1.0.1"]), 422, "version"),
    (NEW, version_form(version=onnx_file()), 422, "version"),
    (NEW, version_form(feature="a,b,c,d"), 422, "feature"),
    (NEW, version_form(features="a,b"), 422, "artefact"),
    (NEW, version_form(features=[NAMES, NAMES]), 422, "features"),
    (NEW, version_form(features="a,a,b,c"), 422, None),
    (NEW, version_form(features="a\0,b,c,d"), 422, "features"),
    (NEW, version_form(features=f"{'a' * 129},b,c,d"), 422, None),
    (NEW, version_form(features='["a", "b", "c", "d\\u0000"]'), 422, "features"),
    (NEW, version_form(features='["a", "b", "c", 4]'), 422, "features"),
    (NEW, version_form(features='["a", "b"'), 422, "features"),
    (NEW, version_form(features="[" * 10**5), 422, "features"),
    (NEW, version_form(optional="absent"), 422, None),
    (NEW, version_form(categorical="absent"), 422, None),
    (NEW, version_form(notes="a\0b"), 422, "notes"),
    (NEW, version_form(**{"artefact[0]": onnx_file()}), 422, "artefact[0]"),
    # reference data
    (f"{MODELS}/absent/versions/1.0.0/reference", form(file=rows_file()), 404, ""),
    (f"{VERSIONS}/9.9.9/reference", form(file=rows_file()), 404, ""),
    (f"{VERSIONS}/1.0.0%00/reference", form(file=rows_file()), 404, ""),
    (f"{VERSIONS}/{'1' * 5000}/reference", form(file=rows_file()), 404, ""),
    (REFERENCE, as_json({"file": "rows.csv"}), 415, ""),
    (REFERENCE, (ROWS, "text/csv"), 415, ""),
    (REFERENCE, form(label_column="species"), 422, "file"),
    (REFERENCE, form(file=rows_file(), prediction_column="species"), 422, "prediction_column"),
    (REFERENCE, form(file="rows.csv"), 422, "file"),
    (REFERENCE, form(file=rows_file(b"")), 422, "file"),
    (REFERENCE, form(file=[rows_file(), rows_file()]), 422, "file"),
    (REFERENCE, form(file=rows_file(), encoding="klingon"), 422, "encoding"),
    (REFERENCE, form(file=rows_file(), encoding="rot13"), 422, "encoding"),
    (REFERENCE, form(file=rows_file(), encoding="a" * 33), 422, "encoding"),
    (REFERENCE, form(file=rows_file(), label_column="a" * 256), 422, "label_column"),
    (REFERENCE, form(file=rows_file(), label_column="a\0"), 422, "label_column"),
    (REFERENCE, form(file=rows_file(), time_column="a\0"), 422, "time_column"),
    (REFERENCE, form(file=rows_file(), missing_values="a\0"), 422, "missing_values"),
    (REFERENCE, form(file=rows_file(), missing_values='["\\u0000"]'), 422, "missing_values"),
    (REFERENCE, form(file=rows_file(), time="timestamp"), 422, "time"),
    # a stage
    (f"{VERSIONS}/9.9.9/stage", as_json({"stage": "production"}), 404, ""),
    (f"{VERSIONS}/1.0.0%00/stage", as_json({"stage": "production"}), 404, ""),
    (STAGE, as_json({}), 422, "stage"),
    (STAGE, as_json({"stage": "nowhere"}), 422, "stage"),
    (STAGE, as_json({"stage": "production\0"}), 422, "stage"),
    (STAGE, as_json({"stage": ["production"]}), 422, "stage"),
    (STAGE, as_json({"stage": {}}), 422, "stage"),
    (STAGE, as_json({"stage": "production", "weight": 5}), 422, "weight"),
    (STAGE, as_json({"stage": "production", "traffic_weight": -1}), 422, "traffic_weight"),
    (STAGE, as_json({"stage": "production", "traffic_weight": 32_768}), 422, "traffic_weight"),
    (STAGE, as_json({"stage": "production", "traffic_weight": 10**400}), 400, ""),
    (STAGE, as_json({"stage": "production", "traffic_weight": 1e300}), 422, "traffic_weight"),
    (STAGE, as_json({"stage": "production", "traffic_weight": True}), 422, "traffic_weight"),
    (STAGE, as_json({"stage": "production", "traffic_weight": "5" * 2000}), 422, "traffic_weight"),
    (STAGE, as_json({"stage": "production", "traffic_weight": None}), 422, "traffic_weight"),
    (STAGE, form(stage="production"), 415, ""),
]


@pytest.mark.parametrize(("path", "body", "status", "field"), REFUSALS)
def test_bad_input_is_refused_and_leaves_nothing_behind(
    pipeline: Pipeline, iris: ModelVersion, settings: Settings, path: str, body: Any, status: int, field: str | None
) -> None:
    register_model(name="new")
    before = everything(settings)
    content, content_type = body
    problem = problem_of(pipeline.send_bytes(path, content, content_type), status)
    assert len(problem["detail"]) <= 2_100
    if field != "":
        assert [error["field"] for error in problem["errors"]] == [field]
        assert all(error["reason"] for error in problem["errors"])
    assert everything(settings) == before


@pytest.mark.parametrize("job_id", ["0", "9" * 18, "9" * 40, "9" * 5000, "-1", "1.5", "a", "%00"])
def test_an_unknown_job_is_not_found(pipeline: Pipeline, iris: ModelVersion, job_id: str) -> None:
    problem_of(pipeline.get(f"{MODELS}/iris/jobs/{job_id}"), 404)


def test_a_job_of_another_model_is_not_found(pipeline: Pipeline, iris: ModelVersion) -> None:
    job = pipeline.send(REFERENCE, file=rows_file()).json()
    register_model(name="other")
    problem_of(pipeline.get(f"{MODELS}/other/jobs/{job['id']}"), 404)


@pytest.mark.parametrize(
    ("setting", "path", "field"),
    [("MLMON_MAX_ARTEFACT_BYTES", NEW, "artefact"), ("MLMON_MAX_REFERENCE_BYTES", REFERENCE, "file")],
)
def test_a_file_that_is_too_large_is_refused(
    pipeline: Pipeline, iris: ModelVersion, settings: Settings, setting: str, path: str, field: str
) -> None:
    register_model(name="new")
    setattr(settings, setting, 2**10)
    before = everything(settings)
    fields = {"version": "1.0.0"} if field == "artefact" else {}
    body, content_type = form(**fields, **{field: SimpleUploadedFile("large", b"x" * 2**11)})
    problem = problem_of(pipeline.send_bytes(path, body, content_type), 413)
    assert "limit is" in problem["detail"]
    assert [error["field"] for error in problem["errors"]] == [field]
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 2**10  # now the body as a whole exceeds the limit, and is not read
    refused = pipeline.send_bytes(path, body, content_type)
    assert "The body has" in problem_of(refused, 413)["detail"]
    assert everything(settings) == before


def test_a_large_field_is_refused(pipeline: Pipeline, iris: ModelVersion, settings: Settings) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10_000
    problem_of(pipeline.upload(version="2.0.0", notes="x" * 20_000), 413)
    problem_of(pipeline.post(MODELS, {"name": "a", "description": "x" * 20_000}), 413)
    assert ModelVersion.objects.get() == iris


def test_many_fields_or_files_are_refused(pipeline: Pipeline, iris: ModelVersion) -> None:
    problem_of(pipeline.send(VERSIONS, **{f"field {number}": "x" for number in range(2000)}), 400)
    problem_of(pipeline.send(REFERENCE, file=[rows_file() for _ in range(200)]), 400)


def test_half_of_an_upload_is_refused(pipeline: Pipeline, iris: ModelVersion, settings: Settings) -> None:
    before = everything(settings)
    body, content_type = form(file=rows_file())
    lost = io.BytesIO(body[:-1000])  # the connection ended before the whole Content-Length had arrived
    headers = {"HTTP_AUTHORIZATION": pipeline.headers["Authorization"]}
    sent = {"CONTENT_TYPE": content_type, "CONTENT_LENGTH": str(len(body)), "wsgi.input": lost, **headers}
    refused = pipeline.client.request(REQUEST_METHOD="POST", PATH_INFO=REFERENCE, **sent)
    assert "No file was submitted" in problem_of(refused, 422)["detail"]  # half a CSV file could pass for a whole one
    assert everything(settings) == before


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete", "options"])
@pytest.mark.parametrize("path", [MODELS, f"{MODELS}/iris", VERSIONS, REFERENCE, STAGE, f"{MODELS}/iris/jobs/1"])
def test_other_methods_change_nothing(
    pipeline: Pipeline, iris: ModelVersion, settings: Settings, method: str, path: str
) -> None:
    before = everything(settings)
    response = getattr(pipeline.client, method)(path, headers=pipeline.headers)
    assert response.status_code in (200, 404, 405)
    assert everything(settings) == before
