"""One machine and Compose share one prometheus.yml; only the files with targets differ."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.deployment_files import REPOSITORY, services

PROMETHEUS = REPOSITORY / "monitoring" / "prometheus"
COMPOSE_TARGETS = REPOSITORY / "deploy" / "compose" / "targets"
CONFIGURATION: dict[str, Any] = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
PATTERNS = [
    pattern
    for reader in (*CONFIGURATION["scrape_configs"], *CONFIGURATION["alerting"]["alertmanagers"])
    for files in reader["file_sd_configs"]
    for pattern in files["files"]
]


def _targets(folder: Path) -> dict[str, str]:
    return {path.stem: yaml.safe_load(path.read_text())[0]["targets"][0] for path in folder.glob("*.yml")}


def test_prometheus_reads_every_file_of_targets() -> None:
    read = {path for pattern in PATTERNS for path in COMPOSE_TARGETS.glob(pattern.removeprefix("targets/"))}
    assert read == set(COMPOSE_TARGETS.glob("*.yml"))


def test_the_targets_on_one_machine_are_local() -> None:
    assert _targets(PROMETHEUS / "targets") == {"mlmon": "localhost:9101", "alertmanager": "localhost:9093"}


@pytest.mark.parametrize("name", sorted(_targets(COMPOSE_TARGETS)))
def test_prometheus_reaches_each_target_in_compose(name: str) -> None:
    host = _targets(COMPOSE_TARGETS)[name].partition(":")[0]
    assert set(services()[host]["networks"]) & set(services()["prometheus"]["networks"])


def test_the_targets_have_the_ports_of_the_services() -> None:
    targets = {host: port for host, _, port in (target.partition(":") for target in _targets(COMPOSE_TARGETS).values())}
    web = services()["web"]["command"]
    assert targets.pop("web") == web[web.index("--scrape-port") + 1]
    # The default ports of the two programs. Their health checks use them too.
    assert targets == {"alertmanager": "9093", "celery-exporter": "9808"}
    assert all(f":{port}/" in services()[name]["healthcheck"]["test"][-1] for name, port in targets.items())


def test_compose_mounts_its_own_targets() -> None:
    mounts = services()["prometheus"]["volumes"]
    assert "./monitoring/prometheus:/etc/prometheus:ro" in mounts
    assert "./deploy/compose/targets:/etc/prometheus/targets:ro" in mounts
