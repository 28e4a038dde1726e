"""`.ci/programs` on different machines, and the tests that pytest skips because their program is missing."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.services.debian_programs import programs
from tests.services.processes import PROJECT

TOOLS = ("sh", "awk", "cat", "chmod", "find", "mktemp", "rm", "sed", "sort", "tail", "true")
APT_GET = """#!/bin/sh
echo "$*" >>"$MACHINE/apt-get.log"
case "$*" in
*--simulate*) case " $UNAVAILABLE " in *" $(for last; do :; done; echo "$last") "*) exit 100 ;; esac ;;
*" install "*)
    "$DPKG_ROOT/usr/sbin/policy-rc.d"
    echo $? >"$MACHINE/policy"
    [ -z "$APT_GET_FAILS" ] || { echo "E: no network"; exit 100; }
    for package; do
        for name in $(awk -v package="$package" '$2 == package { print $1 }' "$MACHINE/packages"); do
            printf '#!/bin/sh\\n' >"$MACHINE/bin/$name"
            chmod 755 "$MACHINE/bin/$name"
        done
    done
    ;;
esac
"""
SYSTEMCTL = """#!/bin/sh
echo "$*" >>"$MACHINE/systemctl.log"
[ "$1" != is-enabled ] || [ "$3" = "$ENABLED" ]
"""
SUDO = """#!/bin/sh
echo "$*" >>"$MACHINE/sudo.log"
[ -z "$SUDO_ASKS" ] || exit 1
shift
MACHINE_USER=0 exec "$@"
"""


class Machine:
    """A separate PATH with fakes of the programs and of the commands that install them."""

    def __init__(self, folder: Path, missing: Iterable[str]) -> None:
        self.folder = folder
        self.policy = folder / "usr" / "sbin" / "policy-rc.d"
        self.policy.parent.mkdir(parents=True)
        (folder / "bin").mkdir()
        (folder / "packages").write_text("".join(f"{name} {package}\n" for name, (package, _) in programs().items()))
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found
            (folder / "bin" / tool).symlink_to(found)
        self.add("id", '#!/bin/sh\necho "$MACHINE_USER"\n')
        self.add("apt-get", APT_GET)
        self.add("systemctl", SYSTEMCTL)
        for name in programs().keys() - set(missing):
            self.add(name, "#!/bin/sh\n")

    def add(self, name: str, script: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(script)
        path.chmod(0o755)

    def environment(self, **variables: str) -> dict[str, str]:
        return {
            "PATH": str(self.folder / "bin"),
            "MACHINE": str(self.folder),
            "DPKG_ROOT": str(self.folder),
            "MACHINE_USER": "1000",
            **variables,
        }

    def install(self, **variables: str) -> subprocess.CompletedProcess[str]:
        command = ["/bin/sh", str(PROJECT / ".ci" / "programs"), "install"]
        return subprocess.run(command, env=self.environment(**variables), capture_output=True, text=True)

    def log(self, command: str) -> str:
        path = self.folder / f"{command}.log"
        return path.read_text() if path.exists() else ""

    def installed(self) -> list[str]:
        """Return the packages that apt-get was asked to install."""
        (line,) = (line for line in self.log("apt-get").splitlines() if " -y " in line)
        return [word for word in line.split(" -y ")[1].split() if not word.startswith("-")]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine without Redis and Alertmanager's amtool."""
    return Machine(tmp_path, missing=("redis-server", "amtool"))


def test_root_installs_what_is_missing_and_says_so(machine: Machine) -> None:
    done = machine.install(MACHINE_USER="0")
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()
    assert line.startswith("Installing from Debian, for the tests")
    assert line.endswith(": redis-server prometheus-alertmanager")
    assert machine.installed() == ["redis-server", "prometheus-alertmanager"]


def test_nothing_is_done_if_nothing_is_missing(tmp_path: Path) -> None:
    machine = Machine(tmp_path, missing=())
    done = machine.install(MACHINE_USER="0", CI="true")
    assert (done.returncode, done.stdout, done.stderr, machine.log("apt-get")) == (0, "", "", "")


@pytest.mark.parametrize("failure", ["", "yes"])
def test_services_neither_start_nor_are_enabled(machine: Machine, failure: str) -> None:
    machine.install(MACHINE_USER="0", ENABLED="prometheus-alertmanager.service", APT_GET_FAILS=failure)
    assert (machine.folder / "policy").read_text() == "101\n"
    assert not machine.policy.exists()
    disabled = [line for line in machine.log("systemctl").splitlines() if line.startswith("disable")]
    assert disabled == ([] if failure else ["disable --quiet redis-server.service"])


def test_a_policy_of_the_administrator_stays(machine: Machine) -> None:
    machine.policy.write_text("#!/bin/sh\nexit 104\n")
    machine.policy.chmod(0o755)
    machine.install(MACHINE_USER="0")
    assert (machine.folder / "policy").read_text() == "104\n"
    assert machine.policy.read_text() == "#!/bin/sh\nexit 104\n"


def test_a_user_with_sudo_installs_too(machine: Machine) -> None:
    machine.add("sudo", SUDO)
    done = machine.install()
    assert (done.returncode, done.stderr) == (0, "")
    assert "with sudo" in done.stdout
    assert machine.installed() == ["redis-server", "prometheus-alertmanager"]
    assert all(line.startswith("-n ") for line in machine.log("sudo").splitlines())


@pytest.mark.parametrize("has_sudo", [True, False])
def test_other_users_install_nothing_and_go_on(machine: Machine, has_sudo: bool) -> None:
    if has_sudo:
        machine.add("sudo", SUDO)
    done = machine.install(SUDO_ASKS="yes")
    assert (done.returncode, done.stdout, machine.log("apt-get")) == (0, "", "")
    assert "not root and has no sudo without a password: redis-server prometheus-alertmanager" in done.stderr


def test_a_machine_without_apt_get_goes_on(machine: Machine) -> None:
    (machine.folder / "bin" / "apt-get").unlink()
    done = machine.install(MACHINE_USER="0")
    assert done.returncode == 0
    assert "there is no apt-get: redis-server prometheus-alertmanager" in done.stderr


def test_one_package_that_does_not_exist_keeps_no_other_back(machine: Machine) -> None:
    done = machine.install(MACHINE_USER="0", UNAVAILABLE="redis-server")
    assert done.returncode == 0
    assert machine.installed() == ["prometheus-alertmanager"]
    assert "apt-get cannot install redis-server" in done.stderr
    assert "Not installed, because apt-get failed: redis-server" in done.stderr


def test_a_failure_of_apt_get_is_shown(machine: Machine) -> None:
    done = machine.install(MACHINE_USER="0", APT_GET_FAILS="yes")
    assert done.returncode == 0
    assert "E: no network" in done.stderr


def test_in_ci_anything_missing_is_a_failure(machine: Machine) -> None:
    done = machine.install(CI="true")
    assert done.returncode == 1
    assert "CI is set" in done.stderr


TESTS = """
import pytest
from tests.services.debian_programs import program

@pytest.fixture(scope="module")
def browser():
    return program("chromium")

def test_without_programs(): pass
def test_rules(): program("promtool")
def test_page(browser): raise AssertionError
def test_other_page(browser): raise AssertionError
"""


def _pytest(folder: Path, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a test file on a machine without promtool and Chromium."""
    machine = Machine(folder / "machine", missing=("promtool", "chromium"))
    tests = folder / "tests"
    tests.mkdir()
    (tests / "test_some.py").write_text(TESTS)
    options = ("-p", "tests.services.not_run", "-p", "no:cacheprovider", "--rootdir", str(tests), *options)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-c", os.devnull, *options, tests],
        env=machine.environment(PYTHONPATH=str(PROJECT), **variables),
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("options", [(), ("--numprocesses", "2")], ids=["one-process", "parallel"])
def test_tests_without_their_program_are_skipped_and_listed(tmp_path: Path, options: tuple[str, ...]) -> None:
    done = _pytest(tmp_path, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed, 3 skipped" in done.stdout
    block = done.stdout.partition(" tests that did not run: 3 ")[2].splitlines()[1:7]
    assert block == [
        "2, because chromium is not installed (Debian package: chromium):",
        "    test_some.py (2)",
        "1, because promtool is not installed (Debian package: prometheus):",
        "    test_some.py (1)",
        "To run them, on Debian or Ubuntu: apt-get install chromium prometheus",
        "Ubuntu has no package chromium. Google Chrome works too.",
    ]


@pytest.mark.parametrize("options", [(), ("--numprocesses", "2")], ids=["one-process", "parallel"])
def test_in_ci_a_skipped_test_fails_the_run(tmp_path: Path, options: tuple[str, ...]) -> None:
    done = _pytest(tmp_path, *options, CI="true")
    assert done.returncode == 1
    assert "CI is set, so every test must run: this is a failure." in done.stdout
