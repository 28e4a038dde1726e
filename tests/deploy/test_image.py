"""The image contains a complete application, which starts with the secrets of `make secrets`."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.deployment_files import REPOSITORY, image_variables, manifest, services

DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()
IGNORED = (REPOSITORY / ".dockerignore").read_text().splitlines()
COPIED = [
    source
    for arguments in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, flags=re.MULTILINE)
    for source in arguments.split()[:-1]
]
PYTHON_FOLDERS = {path.parent.name for path in REPOSITORY.glob("*/apps.py")}


@pytest.fixture
def application(tmp_path: Path) -> Path:
    """A folder with only the files that the Dockerfile copies into /srv/mlmon."""
    folder = tmp_path / "srv"
    folder.mkdir()
    for source in COPIED:
        path = REPOSITORY / source
        if path.is_dir():
            shutil.copytree(path, folder / source, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, folder / source)
    return folder


def _secrets(folder: Path) -> Path:
    subprocess.run(["sh", REPOSITORY / "deploy" / "secrets" / "make_secrets.sh", folder], check=True)
    return folder


def _manage(folder: Path, *arguments: str, **variables: str) -> str:
    environment = {"PATH": os.environ["PATH"], "MLMON_VAR_DIR": str(folder.parent / "var"), **variables}
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("source", COPIED)
def test_copied_files_exist_and_are_sent_to_the_builder(source: str) -> None:
    assert (REPOSITORY / source).exists()
    assert f"!{source}" in IGNORED


def test_nothing_else_is_sent_to_the_builder() -> None:
    assert IGNORED[1] == "*"
    assert {line[1:] for line in IGNORED if line.startswith("!")} == set(COPIED)


def test_every_application_is_copied() -> None:
    assert set(COPIED) >= PYTHON_FOLDERS


def test_the_base_image_has_a_version_and_the_user_is_not_root() -> None:
    assert re.findall(r"^ARG PYTHON_IMAGE=(.+)$", DOCKERFILE, flags=re.MULTILINE) == ["python:3.13-slim-trixie"]
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, flags=re.MULTILINE)
    assert set(bases) == {"${PYTHON_IMAGE}", "packages"}
    assert re.findall(r"^USER (.+)$", DOCKERFILE, flags=re.MULTILINE) == ["10001:10001"]


def test_the_runtime_image_has_no_build_tools() -> None:
    runtime = DOCKERFILE.partition(" AS runtime\n")[2]
    assert "apt-get" not in DOCKERFILE
    assert "pip" not in runtime
    assert "venv --without-pip" in DOCKERFILE


def test_static_files_are_collected_without_secrets(application: Path, tmp_path: Path) -> None:
    _manage(application, "collectstatic", "--noinput", "--verbosity", "0", MLMON_STATIC_ROOT=str(tmp_path / "static"))
    assert (tmp_path / "static" / "admin" / "css" / "base.css").is_file()


@pytest.mark.parametrize("where", ["compose", "kubernetes"])
def test_it_starts_with_its_variables_and_secrets(application: Path, tmp_path: Path, where: str) -> None:
    secrets = _secrets(tmp_path / "secrets")
    if where == "compose":
        variables = services()["web"]["environment"] | {"MLMON_ALLOWED_HOSTS": "localhost", "MLMON_HTTPS": "False"}
        variables |= {"MLMON_CSRF_TRUSTED_ORIGINS": ""}
    else:
        variables = manifest("ConfigMap", "mlmon")["data"]
    variables = {name: _here(value, secrets) for name, value in variables.items()}
    folders = {name: str(tmp_path / name) for name in image_variables() if re.fullmatch(r"MLMON_\w+_(ROOT|DIR)", name)}
    said = _manage(application, "check", "--deploy", "--fail-level", "ERROR", **{**variables, **folders})
    assert "mlmon.E" not in said
    shown = _manage(
        application,
        "shell",
        "--no-imports",
        "--command",
        "from django.conf import settings as s; d = s.DATABASES['default'];"
        "print(d['HOST'], d['NAME'], len(d['PASSWORD']), s.REDIS_URL.rpartition('@')[2], s.MLMON_SCRAPE_PORT)",
        **{**variables, **folders},
    )
    assert "postgres mlmon 64 redis:6379/0 9101" in shown


def _here(value: str, secrets: Path) -> str:
    """Return `value`; if it is the path of a secret in a container, return the path of that secret in `secrets`."""
    names = {"secret_key": "mlmon_secret_key"}
    path, _, name = value.rpartition("/")
    return str(secrets / names.get(name, name)) if path.startswith("/run/secrets") else value


def test_the_image_and_compose_have_the_same_health_check() -> None:
    asked = services()["web"]["healthcheck"]["test"][-1]
    assert asked in DOCKERFILE
