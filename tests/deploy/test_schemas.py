"""The files match the schemas of Kubernetes and Compose. Two packages contain these schemas."""

import json
from importlib import resources
from typing import Any

import jsonschema
import kubernetes_validate
import pytest

from tests.deploy.deployment_files import compose, manifest, manifests

OLDEST, NEWEST = "1.27", "1.37"
OPERATORS = ("ServiceMonitor", "PrometheusRule")  # kinds of the Prometheus Operator, not of Kubernetes
OBJECTS = [item for item in manifests() if item["kind"] not in OPERATORS]


def compose_schema() -> dict[str, Any]:
    """Return the schema of the Compose specification."""
    file = resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    schema: dict[str, Any] = json.loads(file.read_text())
    return schema


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("item", OBJECTS, ids=lambda item: f"{item['kind']}-{item['metadata']['name']}")
def test_kubernetes_accepts_each_object(item: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(item, version, strict=True)


def test_kubernetes_rejects_an_unknown_field() -> None:
    deployment = manifest("Deployment", "mlmon-beat")
    misspelt = {**deployment, "spec": {**deployment["spec"], "replicass": 1}}
    with pytest.raises(kubernetes_validate.ValidationError, match="replicass"):
        kubernetes_validate.validate(misspelt, NEWEST, strict=True)


def test_compose_accepts_the_file() -> None:
    jsonschema.validate(compose(), compose_schema())


def test_compose_rejects_an_unknown_field() -> None:
    with pytest.raises(jsonschema.ValidationError, match="helthcheck"):
        jsonschema.validate({"services": {"web": {"image": "mlmon:0.1.0", "helthcheck": {}}}}, compose_schema())
