"""The wheel holds the library alone, and the library works without the application's packages."""

import json
import os
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from packaging.requirements import Requirement

PROJECT = Path(__file__).resolve().parents[2]
ABSENT = ("django", "rest_framework", "celery", "redis", "cattrs", "orjson", "rich", "sklearn", "threadpoolctl")
# Python imports this module at start if it finds it on the path.
BLOCKER = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=PROJECT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables of an environment with the installed wheel, in which the application's packages cannot be imported."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(folder)]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True)
    (folder / "sitecustomize.py").write_text(BLOCKER)
    return {**os.environ, "PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A reference and a file in which one column has drifted."""
    folder, rng = tmp_path_factory.mktemp("files"), np.random.default_rng(1)
    reference, current = folder / "reference.parquet", folder / "current.csv"
    for path, rows, mean in ((reference, 6000, 10.0), (current, 600, 12.0)):
        table = pa.table({"price": rng.normal(mean, 2, rows), "city": rng.choice(["Oslo", "Rome"], rows)})
        write = pa.parquet.write_table if path == reference else pa.csv.write_csv
        write(table, path)
    return reference, current


def _run(environment: dict[str, str], folder: Path, *words: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100)


def test_the_wheel_holds_only_the_library_and_needs_four_packages(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        names = content.namelist()
        (metadata_name,) = (name for name in names if name.endswith("METADATA"))
        metadata = Parser().parsestr(content.read(metadata_name).decode())
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"mlmon"}
    assert "mlmon/report/templates/page.html" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    requirements = [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]
    assert {each.name for each in requirements if not each.marker} == {"jinja2", "numpy", "pyarrow", "scipy"}
    assert {each.name for each in requirements if each.marker} == {"scikit-learn", "threadpoolctl"}
    declared = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert (metadata["Name"], metadata["Version"]) == (declared["name"], declared["version"])


def test_the_installed_wheel_compares_two_files(
    environment: dict[str, str], files: tuple[Path, Path], tmp_path: Path
) -> None:
    ended = _run(environment, tmp_path, "-m", "mlmon", "compare", *files, "--json", "out.json", "--html", "out.html")
    assert (ended.returncode, ended.stderr) == (1, "")
    assert ended.stdout.startswith("price changed: median went from ")
    body = json.loads((tmp_path / "out.json").read_text())
    assert body["drifted_features"] == ["price"]
    assert body["current"] == {"file": "current.csv", "rows": 600}
    assert "price changed" in (tmp_path / "out.html").read_text()


@pytest.mark.parametrize("name", ABSENT)
def test_packages_of_the_application_are_absent(environment: dict[str, str], tmp_path: Path, name: str) -> None:
    assert "ModuleNotFoundError" in _run(environment, tmp_path, "-c", f"import {name}").stderr


def test_the_installed_wheel_compares_tables_in_a_notebook(environment: dict[str, str], tmp_path: Path) -> None:
    code = (
        "import mlmon; table = {'x': list(range(2000))[::-1], 'y': [0.5, 1.5] * 1000}; "
        "result = mlmon.compare(table, table); print(mlmon.__file__, result.verdict.status.value, len(result.features))"
    )
    ended = _run(environment, tmp_path, "-c", code)
    assert ended.stderr == ""
    path, *found = ended.stdout.split()
    assert Path(path).parents[1] == Path(environment["PYTHONPATH"])
    assert found == ["quiet", "2"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("absent.csv", "absent.csv"), "error: There is no file absent.csv."),
        (
            ("--joint",),
            "error: Comparing the columns together (--joint) needs scikit-learn. Install it with: pip install",
        ),
        (("--html", "absent/page.html"), "error: argument --html: absent/page.html: there is no folder absent"),
        (("--budget", "0"), "expected a whole number from 1"),
    ],
    ids=["file", "extra", "target", "option"],
)
def test_bad_input_ends_with_2_and_a_message(
    environment: dict[str, str], files: tuple[Path, Path], tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    names = () if words[0].endswith(".csv") else files
    ended = _run(environment, tmp_path, "-m", "mlmon", "compare", *names, *words)
    assert ended.returncode == 2
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
