"""What a prediction costs: mlmon as `manage.py run` starts it, compared with a FastAPI server and MLServer.

``python -m benchmarks.serving [--json FILE]`` starts all of them with the same ONNX files and measures the CPU time of
their web processes, throughput, latency, errors and dropped observations. It needs wrk. docs/benchmarks.md has the
details.
"""

import contextlib
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.load import Load, check_wrk, measured, wait_until_quiet
from benchmarks.report import argument_parser, conditions, progress, table, write_json
from benchmarks.rivals import DEFAULT_RIVALS, RIVALS
from benchmarks.serving_rows import Kind, workload, write_models
from benchmarks.serving_sides import Side, running_mlmon, running_rival
from benchmarks.worker import CompetitorUnavailableError, default_environments

ROUNDS, SECONDS, WARM_UP_SECONDS = 5, 5.0, 3.0
PACED_RATES = (30, 60)
# Batches leave work for the archive, which would slow down the next server. Its task starts every 10 s.
REST_SECONDS, LONGEST_REST_SECONDS = 12.0, 90.0
DURATION = "Takes about twenty minutes, and longer when it creates the rivals' environments."
OURS, PLAIN, WITH_TOKENS = "ours", "mlmon", "mlmon_tokens"
TITLES = {OURS: "mlmon", PLAIN: "mlmon without", **{name: rival.title for name, rival in RIVALS.items()}}


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of load on mlmon and on what it is compared with.

    Attributes
    ----------
    required
        The largest allowed ratio of CPU time per request, by rival. `PLAIN` compares mlmon with itself, without what
        the scenario adds, instead of with the rivals.
    server
        Which of the two runs of mlmon.
    model_name
        A model of mlmon with a shadow or with two versions in production.
    per_second
        Rate of the requests; None for as many as 16 connections make.
    without_drops
        Whether mlmon must not drop any observation.
    """

    name: str
    kind: Kind
    required: Mapping[str, float | None]
    server: str = PLAIN
    model_name: str = ""
    per_second: int | None = None
    without_drops: bool = False

    def references(self, rivals: Sequence[str]) -> Sequence[str]:
        """Return what mlmon is compared with, in the order of the measurements."""
        return [PLAIN] if PLAIN in self.required else rivals


SCENARIOS = (
    Scenario("single row, list", "list", {"fastapi": 0.5, "mlserver": 0.4}),
    Scenario("single row, named", "named", {"fastapi": 0.6}),
    Scenario("single row, strings", "strings", {"fastapi": 0.6}),
    Scenario("batch 1000 x 20", "batch", {"fastapi": 0.45}),
    *(
        Scenario(f"batch, {rate} a second", "batch", {"fastapi": 0.45}, per_second=rate, without_drops=True)
        for rate in PACED_RATES
    ),
    Scenario("tokens", "list", {PLAIN: 1.1}, server=WITH_TOKENS),
    Scenario("shadow", "list", {PLAIN: 1.3}, model_name="iris-shadow"),
    Scenario("canary", "list", {PLAIN: None}, model_name="iris-canary"),
)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One load on one server; `dropped` is None for servers that capture nothing."""

    load: Load
    dropped: int | None


@dataclass(frozen=True, slots=True)
class ScenarioResult:
    """The measurements of a scenario by server, each in the order of the rounds; `OURS` is mlmon."""

    scenario: Scenario
    rounds: Mapping[str, Sequence[Measurement]]

    def ratios(self, reference: str) -> list[float]:
        """Return our CPU time per request divided by theirs, round by round."""
        pairs = zip(self.rounds[OURS], self.rounds[reference], strict=True)
        return [ours.load.cpu_ms_per_request / theirs.load.cpu_ms_per_request for ours, theirs in pairs]

    def dropped(self, side: str) -> int | None:
        """Return the observations that a server dropped in all rounds."""
        counts = [one.dropped for one in self.rounds[side] if one.dropped is not None]
        return sum(counts) if counts else None

    def errors(self, side: str) -> int:
        """Return the failed requests of all rounds."""
        return sum(one.load.errors for one in self.rounds[side])

    def holds(self, reference: str) -> bool | None:
        """Return whether the median ratio is as required, without errors and drops; None if nothing is required."""
        required = self.scenario.required.get(reference)
        if required is None:
            return None
        is_complete = not self.errors(OURS) and not (self.scenario.without_drops and self.dropped(OURS))
        return is_complete and statistics.median(self.ratios(reference)) <= required


@dataclass(frozen=True, slots=True)
class Options:
    """What to measure, and for how long.

    Attributes
    ----------
    rest_seconds
        mlmon must be idle for this long after a load of batches.
    """

    scenarios: Sequence[Scenario] = SCENARIOS
    rivals: Sequence[str] = DEFAULT_RIVALS
    rounds: int = ROUNDS
    seconds: float = SECONDS
    warm_up_seconds: float = WARM_UP_SECONDS
    rest_seconds: float = REST_SECONDS
    environments: Path = field(default_factory=default_environments)


@dataclass(frozen=True, slots=True)
class Results:
    """All scenarios, and the reasons why rivals could not be measured."""

    scenarios: Sequence[ScenarioResult]
    unavailable: Mapping[str, str]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argument_parser("serving", __doc__, DURATION)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of each scenario (%(default)s)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each measurement (%(default)s)")
    parser.add_argument(
        "--warm-up", type=float, default=WARM_UP_SECONDS, help="seconds of load before the first round (%(default)s)"
    )
    parser.add_argument(
        "--rest", type=float, default=REST_SECONDS, help="seconds for which mlmon is idle after batches (%(default)s)"
    )
    parser.add_argument("--only", nargs="+", metavar="WORD", help="only scenarios whose name has one of these words")
    parser.add_argument(
        "--rivals", nargs="*", choices=RIVALS, default=DEFAULT_RIVALS, metavar="NAME", help=", ".join(RIVALS)
    )
    parser.add_argument(
        "--environments",
        type=Path,
        default=default_environments(),
        metavar="DIR",
        help="where rivals are installed (%(default)s)",
    )
    parsed = parser.parse_args(arguments)
    scenarios = [one for one in SCENARIOS if not parsed.only or any(word in one.name for word in parsed.only)]
    if not scenarios:
        parser.error(f"--only: no scenario has this word. They are: {'; '.join(one.name for one in SCENARIOS)}.")
    progress(DURATION)
    results = measure(
        Options(
            scenarios,
            parsed.rivals,
            rounds=parsed.rounds,
            seconds=parsed.seconds,
            warm_up_seconds=parsed.warm_up,
            rest_seconds=parsed.rest,
            environments=parsed.environments,
        )
    )
    sys.stdout.write(text_of(results))
    write_json(parsed.json, figures_of(results))


def measure(options: Options) -> Results:
    """Start the servers that the scenarios need, and run every scenario.

    Raises
    ------
    LoadError
        wrk is missing, or a server sends no response at all.
    WrongPredictionError
        The first responses of a server are not what ONNX Runtime predicts.
    """
    check_wrk()
    # Directly below /tmp, because the path of Valkey's socket must be short.
    with tempfile.TemporaryDirectory(prefix="mlmon-serving-", dir="/tmp") as name:
        folder = Path(name)
        (folder / "models").mkdir()
        write_models(folder / "models")
        with _running_sides(options, folder) as (sides, unavailable):
            results = [_scenario_result(scenario, sides, options, folder) for scenario in options.scenarios]
    return Results(results, unavailable)


@contextlib.contextmanager
def _running_sides(options: Options, folder: Path) -> Iterator[tuple[dict[str, Side], dict[str, str]]]:
    """Start what the scenarios need; yield the running servers and the reasons why others are unavailable."""
    scenarios, models = options.scenarios, folder / "models"
    needed = {name for one in scenarios for name in (one.server, *one.references(options.rivals))}
    sides: dict[str, Side] = {}
    unavailable: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        for name in [name for name in (PLAIN, WITH_TOKENS, *options.rivals) if name in needed]:
            progress(f"Starting {name} …")
            if name in RIVALS:
                server = running_rival(name, folder / name, models, environments=options.environments)
            else:
                server = running_mlmon(folder / name, models, with_tokens=name == WITH_TOKENS)
            try:
                sides[name] = stack.enter_context(server)
            except CompetitorUnavailableError as error:
                unavailable[name] = str(error)
        yield sides, unavailable


def _scenario_result(scenario: Scenario, sides: Mapping[str, Side], options: Options, folder: Path) -> ScenarioResult:
    """Check and warm up all servers of a scenario, then measure them in turn: A, B, C, A, B, C, …"""
    work = workload(scenario.kind, folder / "models")
    references = [name for name in scenario.references(options.rivals) if name in sides]
    contestants = {OURS: sides[scenario.server], **{name: sides[name] for name in references}}
    targets = {
        name: side.target(scenario.kind, work, model_name=scenario.model_name if name == OURS else "")
        for name, side in contestants.items()
    }

    def load_on(name: str, seconds: float) -> Measurement:
        side, before = contestants[name], contestants[name].dropped()
        load = measured(targets[name], side.pid, seconds=seconds, folder=folder, per_second=scenario.per_second)
        after = side.dropped()
        if scenario.kind == "batch" and side.run is not None:
            wait_until_quiet([side.run_pid], seconds=options.rest_seconds, at_most=LONGEST_REST_SECONDS)
        return Measurement(load, None if before is None or after is None else after - before)

    for name, side in contestants.items():
        side.check(targets[name], work)
        load_on(name, options.warm_up_seconds)
    rounds: dict[str, list[Measurement]] = {name: [] for name in contestants}
    for number in range(options.rounds):
        progress(f"{scenario.name}: round {number + 1} of {options.rounds} …")
        for name in contestants:
            rounds[name].append(load_on(name, options.seconds))
    return ScenarioResult(scenario, rounds)


def figures_of(results: Results) -> dict[str, Any]:
    """Return the results for the JSON file."""
    return {
        "scenarios": {one.scenario.name: _scenario_figures(one) for one in results.scenarios},
        "unavailable": dict(results.unavailable),
        **conditions("django", "granian", "onnxruntime"),
    }


def _scenario_figures(result: ScenarioResult) -> dict[str, Any]:
    ratios = {name: result.ratios(name) for name in result.rounds if name != OURS}
    return {
        "ratios": {
            name: {"median": statistics.median(one), "lowest": min(one), "highest": max(one), "rounds": one}
            for name, one in ratios.items()
        },
        "required": dict(result.scenario.required),
        "holds": {name: result.holds(name) for name in ratios},
        "sides": {
            name: {
                "cpu_ms_per_request": statistics.median(one.load.cpu_ms_per_request for one in rounds),
                "requests_per_second": statistics.median(one.load.per_second for one in rounds),
                "p50_ms": _median([one.load.p50_ms for one in rounds]),
                "p99_ms": _median([one.load.p99_ms for one in rounds]),
                "requests": sum(one.load.requests for one in rounds),
                "errors": result.errors(name),
                "dropped": result.dropped(name),
            }
            for name, rounds in result.rounds.items()
        },
    }


def _median(numbers: Sequence[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return statistics.median(known) if known else None


def text_of(results: Results) -> str:
    """Return the results for a person."""
    ratio_rows, load_rows = [], []
    for result in results.scenarios:
        figures = _scenario_figures(result)
        for name, ratio in figures["ratios"].items():
            required, holds = result.scenario.required.get(name), figures["holds"][name]
            bound = "" if required is None else f"<= {required:g}: {'met' if holds else 'missed'}"
            spread = f"{ratio['lowest']:.3g} to {ratio['highest']:.3g}"
            ratio_rows.append([result.scenario.name, TITLES[name], f"{ratio['median']:.3g}", spread, bound])
        for name, side in figures["sides"].items():
            numbers = [side["cpu_ms_per_request"], side["requests_per_second"], side["p50_ms"], side["p99_ms"]]
            shown = ["-" if number is None else f"{number:,.3g}" for number in numbers]
            shown[1] = f"{side['requests_per_second']:,.0f}"
            dropped = "" if side["dropped"] is None else f"{side['dropped']:,}"
            load_rows.append([result.scenario.name, TITLES[name], *shown, f"{side['errors']:,}", dropped])
    reasons = [f"{TITLES[name]} {reason}\n" for name, reason in results.unavailable.items()]
    return "\n".join(
        [
            table(["scenario", "against", "CPU ratio", "range", "required"], ratio_rows),
            "",
            table(["scenario", "server", "CPU ms", "a second", "p50 ms", "p99 ms", "errors", "dropped"], load_rows),
            "",
            "CPU is the time of all web processes per request. Dropped counts observations and copies for shadows.",
            *reasons,
            "",
        ]
    )


if __name__ == "__main__":
    main()
