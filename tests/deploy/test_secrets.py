"""The secrets are random, private, and in no file of the repository."""

import re
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.deploy.deployment_files import MANIFESTS, REPOSITORY, compose, manifest, services
from tests.services.debian_programs import program

FOLDER = REPOSITORY / "deploy" / "secrets"
WITH_CREDENTIALS = re.compile(r"://[^\s/:@]*:[^\s/@]+@")
CREATED_EMPTY = ("slack_api_url", "smtp_password")
FILES = [
    REPOSITORY / "Dockerfile",
    REPOSITORY / "docker-compose.yml",
    *sorted(MANIFESTS.glob("*.yaml")),
    *sorted((REPOSITORY / "monitoring" / "prometheus").rglob("*.yml")),
    *sorted((REPOSITORY / "monitoring" / "alertmanager").rglob("*.yml")),
]


def _made(folder: Path) -> dict[str, str]:
    subprocess.run(["sh", FOLDER / "make_secrets.sh", folder], check=True, capture_output=True)
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_every_secret_of_compose_is_created(tmp_path: Path) -> None:
    made = _made(tmp_path / "secrets")
    assert {f"./deploy/secrets/{name}" for name in made} == {item["file"] for item in compose()["secrets"].values()}


def test_secrets_are_random_and_long(tmp_path: Path) -> None:
    first, second = _made(tmp_path / "first"), _made(tmp_path / "second")
    assert all(first[name] != second[name] for name in first if name not in CREATED_EMPTY)
    assert len({first["postgres_password"], first["redis_password"], first["grafana_admin_password"]}) == 3
    assert len(first["mlmon_secret_key"]) == 64  # 256 bits in hexadecimal digits; the settings require 50 characters


def test_all_programs_get_the_same_password(tmp_path: Path) -> None:
    made = _made(tmp_path / "secrets")
    assert made["database_url"] == f"postgres://mlmon:{made['postgres_password']}@postgres:5432/mlmon"
    assert made["redis_url"] == f"redis://:{made['redis_password']}@redis:6379/0"
    assert made["redis_conf"] == f"requirepass {made['redis_password']}\n"
    variables = services()["postgres"]["environment"]
    assert (variables["POSTGRES_USER"], variables["POSTGRES_DB"]) == ("mlmon", "mlmon")


def test_existing_secrets_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    first = _made(folder)
    (folder / "redis_url").unlink()
    assert _made(folder) == first


def test_containers_can_read_secrets_and_other_users_cannot(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    _made(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o444}


def test_git_ignores_secrets() -> None:
    git = program("git")
    for name in compose()["secrets"]:
        assert subprocess.run([git, "check-ignore", "--quiet", FOLDER / name], cwd=REPOSITORY).returncode == 0


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_file_contains_credentials(path: Path) -> None:
    assert not WITH_CREDENTIALS.search(path.read_text())


def test_every_variable_of_a_secret_is_a_path() -> None:
    given = [service.get("environment", {}) for service in services().values()]
    given.append(manifest("ConfigMap", "mlmon")["data"])
    for name, value in (item for variables in given for item in variables.items()):
        if re.search(r"PASSWORD|SECRET|TOKEN|^DATABASE_URL|^REDIS_URL", name):
            assert name.endswith("_FILE"), name
            assert value.startswith("/run/secrets/"), name


def test_alertmanager_has_only_paths_of_secrets() -> None:
    configuration = yaml.safe_load((REPOSITORY / "monitoring" / "alertmanager" / "alertmanager.yml").read_text())[
        "global"
    ]
    assert not {"slack_api_url", "smtp_auth_password"} & set(configuration)
