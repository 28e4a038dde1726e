"""docker-compose.yml is hardened, and consistent with itself and with the files that it mounts."""

import re
from pathlib import PurePosixPath

import pytest
import yaml

from tests.deploy.deployment_files import REPOSITORY, compose, image_variables, services

SERVICES = sorted(services())
APPLICATION = ("migrate", "web", "worker", "beat")
ENDS = "migrate"
BIND_MOUNTS = sorted(
    {
        volume.split(":")[0]
        for service in services().values()
        for volume in service.get("volumes", [])
        if volume[0] == "."
    }
)
VERSIONED_IMAGE = re.compile(r"[\w./-]+:v?\d+\.\d+(\.\d+)?(-[\w.]+)?")
PUBLISHED_LOCALLY = re.compile(r"127\.0\.0\.1:\$\{[A-Z_]+:-\d+\}:\d+")


def test_it_runs_the_application_and_its_services() -> None:
    assert set(SERVICES) == {
        *APPLICATION, "postgres", "redis", "prometheus", "alertmanager", "grafana", "celery-exporter"
    }  # fmt: skip


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_is_hardened(name: str) -> None:
    service = services()[name]
    user, _, group = service["user"].partition(":")
    assert user.isdigit()
    assert int(user) > 0
    assert group.isdigit()
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert "cap_add" not in service


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_has_limits_and_restarts(name: str) -> None:
    service = services()[name]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert service["restart"] == ("on-failure:5" if name == ENDS else "unless-stopped")
    assert service["logging"]["options"]["max-size"]


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {ENDS}))
def test_each_lasting_service_has_a_health_check(name: str) -> None:
    check = services()[name]["healthcheck"]
    assert check["test"][0] in ("CMD", "CMD-SHELL")
    assert {"interval", "timeout", "start_period", "retries"} <= set(check)


@pytest.mark.parametrize("name", SERVICES)
def test_each_image_has_a_version(name: str) -> None:
    assert VERSIONED_IMAGE.fullmatch(services()[name]["image"])


def test_the_application_runs_from_one_local_image() -> None:
    assert {services()[name]["image"] for name in APPLICATION} == {"mlmon:0.1.0"}
    assert all(services()[name]["build"] == {"context": "."} for name in APPLICATION)


def test_only_services_with_pages_are_published_and_only_locally() -> None:
    published = {name: service["ports"] for name, service in services().items() if "ports" in service}
    assert set(published) == {"web", "grafana", "prometheus", "alertmanager"}
    assert all(PUBLISHED_LOCALLY.fullmatch(port) for ports in published.values() for port in ports)


def test_data_stores_are_only_on_the_internal_network() -> None:
    assert compose()["networks"]["back"] == {"internal": True}
    for name, service in services().items():
        assert service["networks"] == (["front", "back"] if "ports" in service else ["back"])
        assert "network_mode" not in service, name


def test_the_application_starts_after_the_migrations() -> None:
    for name in ("web", "worker", "beat"):
        assert services()[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert services()["migrate"]["depends_on"]["postgres"] == {"condition": "service_healthy"}


def test_there_is_one_beat() -> None:
    assert services()["beat"]["deploy"]["replicas"] == 1


@pytest.mark.parametrize("source", BIND_MOUNTS)
def test_mounted_files_of_the_repository_exist(source: str) -> None:
    path = REPOSITORY / source
    assert path.is_file() or any(path.iterdir())


def test_mounted_files_of_the_repository_are_read_only() -> None:
    mounts = [volume for service in services().values() for volume in service.get("volumes", [])]
    assert all(volume.endswith(":ro") for volume in mounts if volume.startswith("."))


def test_each_volume_network_and_secret_is_declared_and_used() -> None:
    used: dict[str, set[str]] = {"volumes": set(), "networks": set(), "secrets": set()}
    for service in services().values():
        used["networks"].update(service["networks"])
        used["volumes"].update(v.split(":")[0] for v in service.get("volumes", []) if not v.startswith("."))
        used["secrets"].update(s if isinstance(s, str) else s["source"] for s in service.get("secrets", []))
    assert used == {kind: set(compose()[kind]) for kind in used}


def test_each_service_gets_the_secrets_that_it_names() -> None:
    for name, service in services().items():
        named = set(re.findall(r"/run/secrets/(\w+)", yaml.safe_dump(service)))
        given = {secret for secret in service.get("secrets", []) if isinstance(secret, str)}
        assert named == given, name


def test_alertmanager_gets_the_secrets_of_its_configuration() -> None:
    configuration = yaml.safe_load((REPOSITORY / "monitoring" / "alertmanager" / "alertmanager.yml").read_text())[
        "global"
    ]
    named = {value for key, value in configuration.items() if key.endswith("_file")}
    assert {secret["target"] for secret in services()["alertmanager"]["secrets"]} == named


def test_models_are_shared_but_not_counters() -> None:
    image = image_variables()
    for name in APPLICATION:
        service = services()[name]
        assert f"media:{image['MLMON_MEDIA_ROOT']}" in service["volumes"]
        assert f"uploads:{image['TMPDIR']}" in service["volumes"]
        in_memory = [PurePosixPath(mount.partition(":")[0]) for mount in service["tmpfs"]]
        assert PurePosixPath(image["MLMON_METRICS_DIR"]).parent in in_memory


def test_redis_is_persistent_and_evicts_nothing() -> None:
    command = services()["redis"]["command"]
    options = dict(zip(command[2::2], command[3::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--maxmemory-policy"] == "noeviction"
    assert f"redis:{options['--dir']}" in services()["redis"]["volumes"]


def test_grafana_requires_the_password_of_the_secret() -> None:
    variables = services()["grafana"]["environment"]
    assert variables["GF_SECURITY_ADMIN_PASSWORD__FILE"] == "/run/secrets/grafana_admin_password"
    assert "GF_SECURITY_ADMIN_PASSWORD" not in variables
    assert variables["GF_AUTH_ANONYMOUS_ENABLED"] == variables["GF_USERS_ALLOW_SIGN_UP"] == "false"
