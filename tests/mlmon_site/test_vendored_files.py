"""Vendored scripts are byte for byte those of the npm packages that the README names."""

import re
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.services.debian_programs import program

VENDOR = Path(__file__).resolve().parents[2] / "mlmon_site" / "static" / "vendor"
LISTED = dict(re.findall(r"^\| ([a-z-]+) \| (\d+\.\d+\.\d+) \|", (VENDOR / "README.md").read_text(), re.MULTILINE))


def test_every_folder_is_listed() -> None:
    assert set(LISTED) == {path.name for path in VENDOR.iterdir() if path.is_dir()}


@pytest.mark.parametrize("name", LISTED)
def test_the_vendored_files_equal_those_of_the_npm_package(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [program("npm"), "pack", "--silent", f"{name}@{LISTED[name]}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with tarfile.open(tmp_path / done.stdout.strip()) as package:
        published = {Path(member.name).name: member for member in package.getmembers() if member.isfile()}
        ours = sorted(path for path in (VENDOR / name).iterdir())
        assert {"LICENSE"} < {path.name for path in ours}
        for path in ours:
            content = package.extractfile(published[path.name])
            assert content is not None
            assert path.read_bytes() == content.read(), path.name
