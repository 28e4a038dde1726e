"""Write the JSON files of the Grafana dashboards, or check with ``--check`` that they are up to date."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from monitoring.dashboards.drift import DRIFT
from monitoring.dashboards.performance import CONFIDENCE, PERFORMANCE
from monitoring.dashboards.platform import MLMON_ITSELF, RESOURCES
from monitoring.dashboards.rollouts import ROLLOUTS
from monitoring.dashboards.traffic import LATENCY_AND_TRAFFIC, OVERVIEW

FOLDER = Path(__file__).resolve().parents[1] / "grafana" / "dashboards"
DASHBOARDS = (
    OVERVIEW,
    PERFORMANCE,
    LATENCY_AND_TRAFFIC,
    DRIFT,
    CONFIDENCE,
    ROLLOUTS,
    RESOURCES,
    MLMON_ITSELF,
)


def main(arguments: Sequence[str] | None = None, folder: Path = FOLDER) -> int:
    """Return the exit status: with ``--check``, 1 if a file in `folder` is missing, outdated or unknown."""
    parser = argparse.ArgumentParser(prog="python -m monitoring.dashboards", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only name the files that differ")
    check = parser.parse_args(arguments).check

    encoder = JSONEncoder(indent=2, ensure_ascii=False)
    generated = {f"{dashboard.uid}.json": encoder.encode(dashboard) + "\n" for dashboard in DASHBOARDS}
    committed = {path.name: path.read_text() for path in folder.glob("*.json")}
    differing = sorted(name for name in committed | generated if committed.get(name) != generated.get(name))
    for name in differing:
        if check:
            sys.stderr.write(f"{name} is not up to date. Run python -m monitoring.dashboards and commit the result.\n")
        elif name in generated:
            (folder / name).write_text(generated[name])
        else:
            (folder / name).unlink()
    return 1 if check and differing else 0


if __name__ == "__main__":
    sys.exit(main())
