"""The pinned requirements match pyproject.toml. Works offline."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PROJECT = Path(__file__).resolve().parent.parent.parent
DECLARED = tomllib.loads((PROJECT / "pyproject.toml").read_text())
PIN = re.compile(r"^(?P<name>[A-Za-z0-9_.-]+)==(?P<version>\S+)", flags=re.MULTILINE)


def _declared(*, with_tools: bool) -> list[Requirement]:
    project, groups = DECLARED["project"], DECLARED["dependency-groups"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["joint"], *groups["app"]]
    if with_tools:
        lines += [*groups["dev"], *groups["train"]]
    return [Requirement(line) for line in lines]


def _pins(name: str) -> dict[str, list[Version]]:
    """Return the pins by package. A package may have several, for different platforms or Python versions."""
    pins: dict[str, list[Version]] = {}
    for match in PIN.finditer((PROJECT / name).read_text()):
        pins.setdefault(canonicalize_name(match["name"]), []).append(Version(match["version"]))
    return pins


@pytest.mark.parametrize(("name", "with_tools"), [("requirements.txt", False), ("requirements-dev.txt", True)])
def test_every_requirement_is_pinned_within_its_bounds(name: str, with_tools: bool) -> None:
    pins = _pins(name)
    for requirement in _declared(with_tools=with_tools):
        versions = pins.get(canonicalize_name(requirement.name), [])
        assert versions, f"{requirement.name} has no pin in {name}: run `make lock`"
        for version in versions:
            assert requirement.specifier.contains(version, prereleases=True), f"{requirement}: run `make lock`"


@pytest.mark.parametrize(("name", "with_tools"), [("requirements.txt", False), ("requirements-dev.txt", True)])
def test_every_direct_pin_is_still_required(name: str, with_tools: bool) -> None:
    declared = {canonicalize_name(requirement.name) for requirement in _declared(with_tools=with_tools)}
    for entry in re.split(r"\n(?=[A-Za-z0-9])", (PROJECT / name).read_text()):
        pinned = PIN.match(entry)
        if pinned and re.search(r"#.*\bmlmon \(pyproject\.toml\b", entry):
            assert canonicalize_name(pinned["name"]) in declared, f"{pinned['name']} is not required: run `make lock`"


def test_both_files_pin_the_same_versions() -> None:
    tools = _pins("requirements-dev.txt")
    for package, versions in _pins("requirements.txt").items():
        if package in tools:
            assert set(tools[package]) <= set(versions), package
