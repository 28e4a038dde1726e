"""The benchmark of serving in a tiny setting: what it measures, checks and writes, not how fast anything is."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import serving
from benchmarks.load import Load
from benchmarks.rivals import RIVALS, Rival
from benchmarks.serving import OURS, PLAIN, Measurement, Results, Scenario, ScenarioResult, figures_of, text_of
from benchmarks.serving_rows import BATCH_FEATURES, BATCH_ROWS, difference, workload, write_models
from benchmarks.serving_sides import MLMON_PATHS, Side, WrongPredictionError
from tests.benchmarks.http_stub import stub_server
from tests.services.debian_programs import program

pytestmark = pytest.mark.timeout(240)  # the fixture starts all of mlmon


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The JSON file of a short run with a rival that cannot be installed."""
    program("wrk")
    folder = tmp_path_factory.mktemp("serving")
    absent = folder / "absent.txt"
    absent.write_text("./there-is-no-such-project\n")
    arguments = ["--only", "strings", "30 a", "canary", "--rounds", "2", "--seconds", "1", "--warm-up", "0.5"]
    arguments += ["--rest", "0", "--rivals", "fastapi", "--environments", str(folder), "--json", str(folder / "json")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RIVALS, "fastapi", Rival("fastapi", "FastAPI", absent))
        serving.main(arguments)
    figures: dict[str, Any] = json.loads((folder / "json").read_text())
    return figures


def test_every_scenario_is_measured_on_mlmon(run: dict[str, Any]) -> None:
    assert set(run["scenarios"]) == {"single row, strings", "batch, 30 a second", "canary"}
    for one in run["scenarios"].values():
        ours = one["sides"][OURS]
        assert (ours["errors"], ours["dropped"]) == (0, 0)
        assert ours["requests"] >= 20
        assert ours["cpu_ms_per_request"] > 0
        assert 0 < ours["p50_ms"] <= ours["p99_ms"]
    assert run["scenarios"]["batch, 30 a second"]["sides"][OURS]["requests"] == 2 * 30
    assert set(run["libraries"]) == {"django", "granian", "onnxruntime"}


def test_mlmon_is_compared_with_itself(run: dict[str, Any]) -> None:
    ratio = run["scenarios"]["canary"]["ratios"][PLAIN]
    assert len(ratio["rounds"]) == 2
    assert ratio["lowest"] <= ratio["median"] <= ratio["highest"]


def test_a_rival_that_cannot_be_installed_is_reported_with_the_reason(run: dict[str, Any]) -> None:
    assert "cannot be installed" in run["unavailable"]["fastapi"]
    assert run["scenarios"]["single row, strings"]["ratios"] == {}


def _rounds(cpu_ms: list[float], *, errors: int = 0, dropped: int | None = None) -> list[Measurement]:
    loads = [Load(1_000, errors, seconds=2.0, cpu_seconds=one, p50_ms=1.0, p99_ms=9.0) for one in cpu_ms]
    return [Measurement(load, dropped) for load in loads]


def test_ratios_are_paired_and_the_median_must_be_as_required() -> None:
    """By hand: 1/2, 2/8 and 3/5 have the median .5, although the medians 2 and 5 have the ratio .4."""
    scenario = Scenario("some load", "list", {"fastapi": 0.5, "mlserver": 0.4})
    rounds = {OURS: _rounds([1, 2, 3], dropped=0), "fastapi": _rounds([2, 8, 5]), "mlserver": _rounds([2, 2, 2])}
    result = ScenarioResult(scenario, rounds)
    figures = figures_of(Results([result], {}))["scenarios"]["some load"]
    assert figures["ratios"]["fastapi"] == {"median": 0.5, "lowest": 0.25, "highest": 0.6, "rounds": [0.5, 0.25, 0.6]}
    assert figures["holds"] == {"fastapi": True, "mlserver": False}
    assert figures["sides"]["fastapi"]["requests_per_second"] == 500
    assert (figures["sides"][OURS]["dropped"], figures["sides"]["fastapi"]["dropped"]) == (0, None)
    lines = text_of(Results([result], {"mlserver": "cannot be installed: no network"})).splitlines()
    assert [line.split()[-1] for line in lines[2:4]] == ["met", "missed"]
    assert "MLServer cannot be installed: no network" in lines


def test_dropped_observations_and_errors_miss_the_requirement() -> None:
    paced = Scenario("paced", "batch", {"fastapi": 0.5}, per_second=30, without_drops=True)
    theirs = {"fastapi": _rounds([10])}
    assert ScenarioResult(paced, {OURS: _rounds([1], dropped=0), **theirs}).holds("fastapi")
    assert not ScenarioResult(paced, {OURS: _rounds([1], dropped=1), **theirs}).holds("fastapi")
    assert not ScenarioResult(paced, {OURS: _rounds([1], errors=1, dropped=0), **theirs}).holds("fastapi")
    saturated = Scenario("saturated", "batch", {"fastapi": 0.5})
    assert ScenarioResult(saturated, {OURS: _rounds([1], dropped=1), **theirs}).holds("fastapi")


def test_a_server_with_other_predictions_is_refused(tmp_path: Path) -> None:
    write_models(tmp_path)
    work = workload("list", tmp_path)
    label, confidence = work.expected[0][0]
    wrong = json.dumps({"prediction": label, "confidence": confidence - 0.01}).encode()
    with stub_server([(200, wrong)]) as (port, _):
        side = Side("mlmon", pid=0, run_pid=0, port=port, paths=MLMON_PATHS)
        with pytest.raises(WrongPredictionError, match="row 0: "):
            side.check(side.target("list", work), work)


def test_both_protocols_have_the_same_values(tmp_path: Path) -> None:
    write_models(tmp_path)
    for kind in ("list", "named", "strings"):
        work = workload(kind, tmp_path)
        for payload, tensors in zip(work.payloads, work.tensors, strict=True):
            features = payload["features"]
            values = list(features.values()) if isinstance(features, dict) else features
            assert [value for one in tensors["inputs"] for value in one["data"]] == values
    work = workload("batch", tmp_path)
    assert [len(rows["rows"]) for rows in work.payloads] == [BATCH_ROWS] * len(work.payloads)
    assert work.tensors[0]["inputs"][0]["data"][BATCH_FEATURES : 2 * BATCH_FEATURES] == work.payloads[0]["rows"][1]
    assert len({label for label, _ in work.expected[0]}) == 3


def test_a_difference_names_the_row() -> None:
    expected = [("a", 0.5), ("b", 0.75)]
    assert difference([("a", 0.5), ("b", 0.750001)], expected) == ""
    assert difference([("a", 0.5), ("a", 0.75)], expected).startswith("row 1: 'a'")
    assert difference([("a", float("nan")), ("b", 0.75)], expected).startswith("row 0")
    assert difference([("a", 0.5)], expected) == "1 predictions for 2 rows"
