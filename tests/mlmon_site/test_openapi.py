"""The OpenAPI description is valid and complete, its examples run, and its page needs no outside host.

Bodies are validated by jsonschema against the description itself; its OpenAPI 3.0 says ``nullable`` where JSON Schema
has a type "null".
"""

import json
import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import redis
from django.conf import settings as django_settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.test import Client
from pytest_django.fixtures import Settings

from accounts.services.tokens import create_token
from drift.services.checks import run_drift_check
from models_registry.api import examples
from models_registry.models import Model, ModelVersion, ReferenceDataset, Stage
from models_registry.services.external_versions import register_external_version
from models_registry.services.versions import set_stage
from rest.problems import DETAILS, MEANINGS, PROBLEM_JSON, STATUS_OF_ERROR, problem_responses
from tests.factories import uploaded_version
from tests.mlmon.observed import iris_rows, observe, profiled_reference
from tests.services.processes import await_condition

DEMO = Path(django_settings.BASE_DIR) / "demo"
ANY_ID = re.compile(r"\{(incident_id|rollout_id)\}")


def _description() -> dict[str, Any]:
    output = StringIO()
    call_command("spectacular", "--format", "openapi-json", stdout=output)
    described: dict[str, Any] = json.loads(output.getvalue())
    return described


DESCRIPTION = _description()
OPERATIONS = [
    pytest.param(path, method, operation, id=f"{method} {path}")
    for path, operations in DESCRIPTION["paths"].items()
    for method, operation in operations.items()
]


def _json_schema(schema: Any) -> Any:
    """Return a schema of OpenAPI 3.0 as JSON Schema."""
    if isinstance(schema, list):
        return [_json_schema(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    converted = {key: _json_schema(value) for key, value in schema.items() if key != "nullable"}
    return {"anyOf": [converted, {"type": "null"}]} if schema.get("nullable") is True else converted


COMPONENTS = _json_schema(DESCRIPTION["components"])


def _validate(body: Any, schema: dict[str, Any]) -> None:
    """Fail if `body` does not match `schema`."""
    whole = {**_json_schema(schema), "components": COMPONENTS}
    jsonschema.Draft202012Validator(whole, format_checker=jsonschema.FormatChecker()).validate(body)


def _examples(content: dict[str, Any]) -> Iterator[Any]:
    if "example" in content:
        yield content["example"]
    for example in content.get("examples", {}).values():
        yield example["value"]


def _address(path: str, operation: dict[str, Any], **values: object) -> str:
    """Return the path with example parameters, or with `values`."""
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "path":
            value = values.get(parameter["name"], parameter["example"])
            path = path.replace(f"{{{parameter['name']}}}", str(value))
    return path


def _form(example: dict[str, Any], content: dict[str, Any]) -> dict[str, Any]:
    """Return an example of a multipart body with the demo's files in place of their names."""
    fields = COMPONENTS["schemas"][content["schema"]["$ref"].rpartition("/")[2]]["properties"]

    def filled(name: str, value: Any) -> Any:
        if isinstance(value, list):
            return [filled(name, one) for one in value]
        is_file = "binary" in (fields[name].get("format"), fields[name].get("items", {}).get("format"))
        return SimpleUploadedFile(value, (DEMO / value).read_bytes()) if is_file else value

    return {name: filled(name, value) for name, value in example.items()}


def _requests(operation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what a client sends for each example of a request, or once for an operation without a body."""
    contents = operation.get("requestBody", {}).get("content", {})
    for media_type, content in contents.items():
        for example in _examples(content):
            if media_type == "application/json":
                yield {"data": json.dumps(example), "content_type": media_type}
            else:
                yield {"data": _form(example, content)}
    if not contents:
        yield {}


def _validate_answer(operation: dict[str, Any], response: Any) -> None:
    """Fail if the status, the media type or the body of the response does not match the description."""
    content = operation["responses"][str(response.status_code)].get("content")
    if content is None:
        assert response.content == b""
        return
    media_type = response.headers["Content-Type"].partition(";")[0]
    body = response.json() if "json" in media_type else response.content.decode()
    _validate(body, content[media_type]["schema"])


@pytest.fixture
def demo(db: None, settings: Settings, tmp_path: Any, redis_client: redis.Redis, client: Client) -> Client:
    """A client of a server with the demo."""
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.MLMON_METRICS_DIR = tmp_path
    call_command("load_demo", stdout=StringIO())
    return client


# --- the description ------------------------------------------------------------------------------------------------


def test_the_description_is_valid_and_causes_no_warnings() -> None:
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=StringIO())


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_each_operation_is_described_with_examples(path: str, method: str, operation: dict[str, Any]) -> None:
    assert operation["summary"]
    assert len(operation["description"]) > 20
    assert operation["tags"][0] in {tag["name"] for tag in DESCRIPTION["tags"]}
    bodies = [operation["requestBody"]] if "requestBody" in operation else []
    for described in [*bodies, *operation["responses"].values()]:
        for media_type, content in described.get("content", {}).items():
            assert list(_examples(content)), media_type
    if operation["tags"] != ["Health"]:
        refusals = [answer for status, answer in operation["responses"].items() if status >= "400"]
        assert len(refusals) >= 4
        media_type = "application/json" if path.startswith("/v2") else PROBLEM_JSON
        assert all(list(answer["content"]) == [media_type] for answer in refusals)


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_each_example_matches_its_schema(path: str, method: str, operation: dict[str, Any]) -> None:
    bodies = [operation["requestBody"]] if "requestBody" in operation else []
    for described in [*bodies, *operation["responses"].values()]:
        for content in described.get("content", {}).values():
            for example in _examples(content):
                _validate(example, content["schema"])


def test_the_validation_rejects_wrong_values() -> None:
    schema = {"$ref": "#/components/schemas/PredictResult"}
    right = {"prediction": "setosa", "confidence": None, "prediction_id": "0199f0c2-7a40-7c1e-9d3b-5f0a4f2b0001"}
    about = {"latency_ms": 1.0, "model_name": "a", "model_version": "1"}
    _validate({**right, **about}, schema)
    for wrong in ({"prediction_id": "x"}, {"latency_ms": "fast"}, {"latency_ms": None}):
        with pytest.raises(jsonschema.ValidationError):
            _validate({**right, **about, **wrong}, schema)


def test_each_status_of_an_error_is_described() -> None:
    assert {status.value for status in STATUS_OF_ERROR.values()} <= set(MEANINGS)
    assert set(DETAILS) == set(MEANINGS)


# --- the examples run -----------------------------------------------------------------------------------------------


def test_each_request_example_works_unchanged(demo: Client) -> None:
    # The demo has no such version. The example is then a call that is repeated.
    example = examples.EXTERNAL_VERSION.value
    model = Model.objects.get(name="classifier")
    register_external_version(model=model, version=example["version"], document=example["schema"])
    # Nor has it a second version to roll out.
    uploaded_version("classifier", "1.1.0", production=False)
    job_id = ReferenceDataset.objects.get(version__model__name="classifier").pk
    headers = {"Authorization": f"Bearer {create_token(name='a pipeline', scope='all')[1]}"}
    models = list(Model.objects.values()), list(ModelVersion.objects.values()), list(ReferenceDataset.objects.values())
    sent = 0
    for path, operations in DESCRIPTION["paths"].items():
        for method, operation in operations.items():
            for options in _requests(operation):
                address = _address(path, operation, job_id=job_id, rollout_id=0)
                response = getattr(demo, method)(address, headers=headers, **options)
                success = min(int(status) for status in operation["responses"] if status < "300")
                expected = 404 if ANY_ID.search(path) else success  # no incident yet: see the next test
                assert response.status_code == expected, (path, options, response.content)
                _validate_answer(operation, response)
                sent += 1
    assert sent == 54
    # The demo's models are registered already: a write that is repeated changes nothing.
    rows = (Model, ModelVersion, ReferenceDataset)
    assert models == tuple(list(kind._default_manager.values()) for kind in rows)


def test_responses_to_new_uploads_match_the_description(
    db: None, settings: Settings, tmp_path: Any, client: Client
) -> None:
    settings.MEDIA_ROOT = tmp_path
    headers = {"Authorization": f"Bearer {create_token(name='a pipeline', scope='registry')[1]}"}
    statuses = []
    for path in (
        "",
        "/{model_name}/versions",
        "/{model_name}/inferred-schema",
        "/{model_name}/versions/{version}/reference",
    ):
        operation = DESCRIPTION["paths"][f"/api/v1/models{path}"]["post"]
        for options in _requests(operation):
            response = client.post(_address(f"/api/v1/models{path}", operation), headers=headers, **options)
            _validate_answer(operation, response)
            statuses.append(response.status_code)
    assert statuses == [201, 201, 201, 200, 202]


def test_responses_with_drift_and_an_incident_match_the_description(
    db: None, settings: Settings, tmp_path: Any, redis_client: redis.Redis, client: Client
) -> None:
    settings.MEDIA_ROOT = tmp_path
    version = uploaded_version("classifier")
    profiled_reference(version, iris_rows(5000, seed=1))
    observe(version, iris_rows(1000, seed=2) + np.array([0.5, 0, 0, 0]))
    assert run_drift_check(version_id=version.pk) is not None
    incident_id = version.drift_incidents.get().pk
    paths = DESCRIPTION["paths"]
    for path, query in (
        ("/drift", ""),
        ("/drift", "?history=5&alarm=true"),
        ("/api/v1/models/{model_name}/drift", "?feature=sepal_length"),
        ("/api/v1/models/{model_name}/incidents", "?open=true"),
        ("/api/v1/models/{model_name}/incidents/{incident_id}", ""),
    ):
        operation = paths[path]["get"]
        response = client.get(_address(path, operation, incident_id=incident_id) + query)
        assert response.status_code == 200, path
        _validate_answer(operation, response)
    assert client.get("/drift").json()["verdict"]["status"] == "alarm"


def _documented(status: int) -> list[dict[str, Any]]:
    ((_, described),) = problem_responses(status).items()
    return [example.value for example in described.examples]


def _predicted(client: Client, **options: Any) -> Any:
    data = {"data": '{"features": [0.1, 0.5, 0.3, 0.8]}', "content_type": "application/json", **options}
    return client.post(data.pop("path", "/predict"), data.pop("data"), **data)


@pytest.mark.parametrize(
    ("status", "options"),
    [
        (400, {"data": '{"features": ['}),
        (404, {"path": "/api/v1/models/absent/predict"}),
        (406, {"headers": {"Accept": "text/csv"}}),
        (415, {"content_type": "text/csv"}),
        (422, {"data": '{"features": [0.1, "much", 0.3, 0.8]}'}),
        (422, {"path": "/api/v1/feedback", "data": '{"prediction_id": "x", "actual": "setosa"}'}),
    ],
    ids=str,
)
def test_each_error_response_is_documented(demo: Client, status: int, options: dict[str, Any]) -> None:
    response = _predicted(demo, **options)
    assert (response.status_code, response.headers["Content-Type"]) == (status, PROBLEM_JSON)
    assert response.json() in _documented(status)


def test_the_error_for_a_large_body_is_documented(demo: Client, settings: Settings) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    assert _predicted(demo).json() in _documented(413)


def _wait_for_response(status: int, client: Client, **options: Any) -> None:
    """Wait until the call gets the documented response: a process polls for changes once a second."""
    await_condition(
        lambda: _predicted(client, **options).status_code == status, f"the response is not {status}", pause=0.2
    )
    assert _predicted(client, **options).json() in _documented(status)


def test_the_errors_for_missing_permissions_are_documented(demo: Client, settings: Settings) -> None:
    settings.MLMON_API_ACCESS = "token"
    assert _predicted(demo).json() in _documented(401)
    _, token = create_token(name="a dashboard", scope="read")
    _wait_for_response(403, demo, headers={"Authorization": f"Bearer {token}"})


def test_the_errors_for_versions_out_of_production_are_documented(demo: Client) -> None:
    version = ModelVersion.objects.get(model__name="classifier")
    assert _predicted(demo).status_code == 200
    set_stage(version=version, stage=Stage.STAGING)
    _wait_for_response(503, demo)
    set_stage(version=version, stage=Stage.ARCHIVED)
    _wait_for_response(409, demo, path="/api/v1/models/classifier/versions/1.0.0/predict")


@pytest.mark.django_db
def test_the_page_loads_nothing_from_other_hosts(client: Client) -> None:
    page = client.get("/api/docs").content.decode()
    assert re.findall(r'(?:src|href)="(?:https?:)?//', page) == []
    assert client.get("/api/schema", headers={"Accept": "application/vnd.oai.openapi"}).status_code == 200
