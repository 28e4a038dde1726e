"""Write the dashboards, or with ``--check`` compare them with what is committed (exit status 1 where they differ)."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from monitoring.dashboards.boards import ALL
from monitoring.dashboards.boards.common import DATA_SOURCE_UID, MLMON_URL, TAG

FOLDER = Path(__file__).resolve().parents[1] / "grafana" / "dashboards"


def rendered() -> dict[str, str]:
    """Return the text of each dashboard's file by the file's name."""
    boards = [board.json(data_source_uid=DATA_SOURCE_UID, mlmon_url=MLMON_URL, tag=TAG) for board in ALL]
    return {f"{board['uid']}.json": json.dumps(board, indent=2, ensure_ascii=False) + "\n" for board in boards}


def stale(folder: Path) -> list[str]:
    """Return the names of files in `folder` that are missing, differ from what is generated, or should not be there."""
    committed = {path.name: path.read_text() for path in folder.glob("*.json")}
    wanted = rendered()
    return sorted(name for name in committed | wanted if committed.get(name) != wanted.get(name))


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m monitoring.dashboards", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    if parser.parse_args(arguments).check:
        differing = stale(FOLDER)
        sys.stderr.writelines(f"{name} is not what python -m monitoring.dashboards writes\n" for name in differing)
        return 1 if differing else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in stale(FOLDER):
        (FOLDER / name).unlink(missing_ok=True)
    for name, text in rendered().items():
        (FOLDER / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
