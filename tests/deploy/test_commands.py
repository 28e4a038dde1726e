"""The commands of the containers exist and accept their options."""

import os
import subprocess
import sys
from unittest.mock import patch

import pytest
from django.core.management import get_commands

from mlmon_site import server
from tests.conftest import environment_of_tests
from tests.deploy.deployment_files import REPOSITORY, containers, services

COMPOSE = [service["command"] for name, service in services().items() if service["image"].startswith("mlmon:")]
COMMANDS: list[list[str]] = COMPOSE + [container["command"] for _, container in containers()]
WEB = [command for command in COMMANDS if command[:3] == ["python", "-m", "mlmon_site.server"]]
CELERY = [command for command in COMMANDS if command[0] == "celery"]
MANAGE = [command for command in COMMANDS if command[:2] == ["python", "manage.py"]]
WAITS = [command for command in COMMANDS if command[0] == "sh"]


def test_every_command_is_tested_here() -> None:
    assert len(WEB) == 2
    assert len(CELERY) == 4
    assert len(MANAGE) == 2
    assert len(WAITS) == 3
    assert len(WEB) + len(CELERY) + len(MANAGE) + len(WAITS) == len(COMMANDS)


@pytest.mark.parametrize("command", WEB)
def test_the_web_server_accepts_its_options(command: list[str]) -> None:
    with patch.object(server, "serve") as serve:
        server.main(command[3:])
    served = serve.call_args.kwargs
    assert (served["host"], served["port"], served["scrape_port"]) == ("0.0.0.0", 8000, 9101)  # noqa: S104


@pytest.mark.parametrize("command", CELERY, ids=lambda command: command[2])
def test_celery_accepts_its_options_and_finds_the_application(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command, "--help"],
        cwd=REPOSITORY,
        env=environment_of_tests(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert f"{command[2]} [OPTIONS]" in done.stdout


@pytest.mark.parametrize("command", MANAGE)
def test_the_management_command_exists(command: list[str]) -> None:
    assert command[2] in get_commands()


@pytest.mark.parametrize("check", ["compose", "kubernetes"])
def test_the_health_check_of_the_worker_fails_without_a_worker(celery_worker_process: object, check: str) -> None:
    if check == "compose":
        line = services()["worker"]["healthcheck"]["test"][1].replace("$$", "$")
    else:
        (container,) = (c for _, c in containers() if c["name"] == "worker")
        line = container["livenessProbe"]["exec"]["command"][2]
    own_name = '"celery@$(hostname)"'
    assert own_name in line
    assert _exit_status(line.replace(own_name, f"tests-{os.getpid()}@localhost")) == 0
    assert _exit_status(line.replace("--timeout=10", "--timeout=1").replace(own_name, "nobody@localhost")) != 0


def _exit_status(line: str) -> int:
    line = line.replace("celery ", f"{sys.executable} -m celery ", 1)
    return subprocess.run(
        ["sh", "-c", line], cwd=REPOSITORY, env=environment_of_tests(), capture_output=True
    ).returncode


def test_the_health_check_of_beat_exists() -> None:
    (container,) = (c for _, c in containers() if c["name"] == "beat")
    asked = services()["beat"]["healthcheck"]["test"][1:]
    assert asked == container["livenessProbe"]["exec"]["command"] == container["startupProbe"]["exec"]["command"]
    assert asked[2] in get_commands()
