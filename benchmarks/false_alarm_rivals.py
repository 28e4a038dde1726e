"""False alarms of evidently and nannyml, with their defaults, on some of the quiet streams."""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

import numpy as np

from benchmarks.competitors import COMPETITORS
from benchmarks.competitors.stream_alarms import REFERENCE_ROWS, STEP_ROWS, WINDOW_ROWS
from benchmarks.false_alarm_streams import QUIET
from benchmarks.report import progress
from benchmarks.worker import PROJECT, CompetitorUnavailableError, python_with
from benchmarks.worker import QUIET as WITHOUT_REPORTS

RIVALS = {"evidently": COMPETITORS["evidently_preset"], "nannyml": COMPETITORS["nannyml"]}
KINDS = ("independent", "five categories", "AR 0.9")
STREAMS, CHECKS = 20, 20
SECONDS = 7_200
# By kind and rule, the share of streams with an alarm in 20 checks; or why there are none.
Shares: TypeAlias = dict[str, dict[str, float]] | str


def rival_shares(
    names: Iterable[str],
    environments: Path,
    *,
    kinds: Iterable[str] = KINDS,
    streams: int = STREAMS,
    checks: int = CHECKS,
) -> dict[str, Shares]:
    """Return the shares of streams in which any of 20 checks, one every 1,000 rows, is an alarm, by rival."""
    with tempfile.TemporaryDirectory() as folder:
        for place, kind in enumerate(kinds):
            rows = REFERENCE_ROWS + WINDOW_ROWS + STEP_ROWS * checks
            for number in range(streams):
                columns = QUIET[kind].make(np.random.default_rng([place, number]), rows)
                np.savez(Path(folder) / f"{kind}_{number}.npz", **columns)  # type: ignore[arg-type]
        found: dict[str, Shares] = {}
        for name in names:
            progress(f"{name} …")
            try:
                python = python_with(RIVALS[name].requirements, environments)
                found[name] = _shares(python, name, Path(folder))
            except CompetitorUnavailableError as error:
                found[name] = f"{error}"
    return found


def _shares(python: Path, name: str, folder: Path) -> dict[str, dict[str, float]]:
    try:
        done = subprocess.run(
            [str(python), "-W", "ignore", "-m", "benchmarks.competitors.stream_alarms", name, str(folder)],
            cwd=PROJECT,
            env={**os.environ, **WITHOUT_REPORTS},
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise CompetitorUnavailableError(f"took more than {SECONDS} s") from error
    if done.returncode != 0:
        raise CompetitorUnavailableError(f"ended: {done.stderr.strip().splitlines()[-1:]}")
    alarms: dict[str, dict[str, list[bool]]] = {}
    for line in done.stdout.splitlines():
        answer = json.loads(line)
        kind = answer["stream"].rpartition("_")[0]
        for rule, is_alarm in answer["alarms"].items():
            alarms.setdefault(kind, {}).setdefault(rule, []).append(is_alarm)
    return {kind: {rule: float(np.mean(each)) for rule, each in of_rule.items()} for kind, of_rule in alarms.items()}
