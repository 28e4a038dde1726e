"""The files of Compose and Kubernetes, for the tests."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
MANIFESTS = REPOSITORY / "deploy" / "kubernetes" / "base"


@cache
def compose() -> dict[str, Any]:
    """Return the content of docker-compose.yml, with its anchors merged."""
    loaded: dict[str, Any] = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
    return loaded


def services() -> dict[str, dict[str, Any]]:
    """Return the services of Compose by name."""
    found: dict[str, dict[str, Any]] = compose()["services"]
    return found


@cache
def manifests() -> list[dict[str, Any]]:
    """Return the Kubernetes objects of kustomization.yaml, in its order."""
    names = yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text())["resources"]
    return [loaded for name in names for loaded in yaml.safe_load_all((MANIFESTS / name).read_text())]


def manifest(kind: str, name: str) -> dict[str, Any]:
    """Return the object of this kind and name."""
    (found,) = (item for item in manifests() if item["kind"] == kind and item["metadata"]["name"] == name)
    return found


def pods() -> dict[str, dict[str, Any]]:
    """Return the specs of the pod templates by the name of their deployment or job."""
    return {
        item["metadata"]["name"]: item["spec"]["template"]["spec"]
        for item in manifests()
        if item["kind"] in ("Deployment", "Job")
    }


def containers() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each container, including init containers, with the name of its deployment or job."""
    for owner, pod in pods().items():
        for container in (*pod.get("initContainers", []), *pod["containers"]):
            yield owner, container


def image_variables() -> dict[str, str]:
    """Return the environment of the image, from the last ``ENV`` of the Dockerfile."""
    text = (REPOSITORY / "Dockerfile").read_text().replace("\\\n", " ")
    (line,) = (line for line in text.splitlines() if line.startswith("ENV PATH="))
    return dict(setting.split("=", 1) for setting in line.split()[1:])
