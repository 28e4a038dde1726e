"""The dashboards are what Grafana's own TypeScript types say a dashboard is (npm's @grafana/schema)."""

import json
import subprocess
from pathlib import Path

import pytest

from monitoring.dashboards.__main__ import FOLDER
from tests.services.debian_programs import npm_project, program

TYPES = Path(__file__).parent / "types"
BOARDS = sorted(FOLDER.glob("*.json"))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TypeScript project with Grafana's types."""
    return npm_project(TYPES, tmp_path_factory.mktemp("types"))


def complaints(project: Path, **sources: str) -> str:
    """Return what the compiler says of dashboards, each given as JSON by its name."""
    for old in project.glob("board_*.ts"):
        old.unlink()
    for name, source in sources.items():
        lines = [
            'import type { CheckedDashboard } from "./checked";',
            f"export const dashboard: CheckedDashboard = {source};",
        ]
        (project / f"board_{name}.ts").write_text("\n".join(lines))
    compiler = project / "node_modules" / "typescript" / "bin" / "tsc"
    done = subprocess.run(
        [program("node"), str(compiler), "-p", "."], cwd=project, capture_output=True, text=True, timeout=110
    )
    return done.stdout + done.stderr


def test_every_dashboard_is_of_grafanas_type(project: Path) -> None:
    assert len(BOARDS) == 7
    assert complaints(project, **{path.stem.replace("-", "_"): path.read_text() for path in BOARDS}) == ""


@pytest.mark.parametrize(
    ("what", "wrong"),
    [
        ("legend", {"displayMode": "tabel", "placement": "bottom", "showLegend": True, "calcs": []}),
        ("tooltip", {"mode": "all", "sort": "desc"}),
        ("unknown", 1),
    ],
)
def test_a_wrong_option_of_a_panel_is_found(project: Path, what: str, wrong: object) -> None:
    board = json.loads((FOLDER / "mlmon-confidence.json").read_text())
    board["panels"][0]["options"][what] = wrong
    said = complaints(project, wrong=json.dumps(board))
    assert "board_wrong.ts" in said
    assert "error TS" in said
