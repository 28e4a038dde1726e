"""How often the verdict's tests have small p-values although nothing has changed.

``python -m benchmarks.calibration [--windows N] [--json FILE]`` draws references of 10,000 rows and independent windows
of 1,000 rows like them. It prints the share of windows with p at most 1e-2, 1e-3 and 1e-4, divided by that level.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from benchmarks.report import argument_parser, conditions, progress, table, write_json
from mlmon.detection.categorical import categorical_p_values
from mlmon.detection.dependence import SeriesDependence, group_dependence, series_dependence
from mlmon.detection.numeric import numeric_p_values, numeric_scores, panel_of, score_cells
from mlmon.detection.shares import share_p_values

WINDOWS, REFERENCES = 500_000, 1_000
REFERENCE_ROWS, WINDOW_ROWS = 10_000, 1_000
LEVELS = (1e-2, 1e-3, 1e-4)
MOST, LEAST = (1.3, 1.3, 2.0), 0.7  # LEAST of location, scale and shape
NUMERIC, CATEGORIES, MISSING = ("location", "scale", "shape", "tails"), ("categories", "category"), ("missing",)
DISPERSIONS = ("independent", "measured")  # phi = 1 and nu infinite; as measured on the reference
SEED = 20_261_130
DURATION = "Takes about two minutes on two cores."

Generator: TypeAlias = np.random.Generator
Draw: TypeAlias = Callable[[Generator, int], NDArray[Any]]
NUMBERS: Mapping[str, Draw] = {
    "normal": lambda rng, rows: rng.normal(size=rows),
    "exponential": lambda rng, rows: rng.exponential(size=rows),
    "uniform": lambda rng, rows: rng.random(rows),
    "Poisson(3)": lambda rng, rows: rng.poisson(3.0, rows).astype(np.float64),
    "90 % zeros": lambda rng, rows: np.where(rng.random(rows) < 0.9, 0.0, rng.exponential(size=rows)),
}
CATEGORICAL: Mapping[str, NDArray[np.float64]] = {
    "five categories": np.array([0.4, 0.25, 0.2, 0.1, 0.05]),
    "50 equal categories": np.full(50, 0.02),
    "Zipf 100": 1 / np.arange(1, 101) / (1 / np.arange(1, 101)).sum(),
}
MISSING_SHARES: Mapping[str, float] = {"1 %": 0.01, "5 %": 0.05, "20 %": 0.2}
# By test and dispersion: how many of a reference's windows have a p-value at most each level.
Counts: TypeAlias = dict[str, dict[str, list[int]]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argument_parser("calibration", __doc__, DURATION)
    parser.add_argument("--windows", type=int, default=WINDOWS, metavar="N", help="of each test (default: %(default)s)")
    parser.add_argument("--processes", type=int, metavar="N", help="(default: one a core)")
    parsed = parser.parse_args(arguments)
    progress(DURATION)
    started = time.monotonic()
    figures = figures_of(counted(parsed.windows, parsed.processes))
    figures["seconds"] = round(time.monotonic() - started, 1)
    sys.stdout.write(text_of(figures))
    write_json(parsed.json, figures)


def counted(windows: int, processes: int | None = None) -> dict[str, list[Counts]]:
    """Return the counts of each reference, by kind of data.

    Parameters
    ----------
    windows
        Of each test, in equal parts for 1,000 references.
    processes
        By default one for each core.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    tasks = [
        (kind, SEED + number, max(1, windows // REFERENCES))
        for kinds in (NUMBERS, CATEGORICAL, MISSING_SHARES)
        for number, kind in enumerate(_repeated(list(kinds)))
    ]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found: dict[str, list[Counts]] = {}
    with ProcessPoolExecutor(processes or cores, mp_context=get_context("spawn")) as pool:
        counts = pool.map(of_reference, *zip(*tasks, strict=True), chunksize=5)
        shown = track(counts, total=len(tasks), transient=True, disable=not sys.stderr.isatty())
        for (kind, _, _), one in zip(tasks, shown, strict=True):
            found.setdefault(kind, []).append(one)
    return found


def _repeated(kinds: Sequence[str]) -> list[str]:
    """Return the kind of each of 1,000 references, in turn."""
    return [kinds[number % len(kinds)] for number in range(REFERENCES)]


def of_reference(kind: str, seed: int, windows: int) -> Counts:
    """Return how many windows have small p-values against one reference."""
    rng = np.random.default_rng([seed, len(kind)])
    if kind in NUMBERS:
        return _of_numbers(NUMBERS[kind], rng, windows)
    if kind in CATEGORICAL:
        return _of_categories(CATEGORICAL[kind], rng, windows)
    before = (rng.random(REFERENCE_ROWS) < MISSING_SHARES[kind]).astype(np.float64)
    missing = rng.binomial(WINDOW_ROWS, MISSING_SHARES[kind], windows)

    def p_values(phi: float, nu: float) -> NDArray[np.float64]:
        return share_p_values(missing, WINDOW_ROWS, before.sum(), REFERENCE_ROWS, phi=phi, nu=nu)[:, None]

    return _counts(MISSING, p_values, series_dependence(before[:, None], are_indicators=True))


def _of_numbers(draw: Draw, rng: Generator, windows: int) -> Counts:
    reference = draw(rng, REFERENCE_ROWS)
    ordered = np.sort(reference)
    cells = score_cells(ordered)
    scores = cells.of_rows(reference)
    own = numeric_scores(ordered, scores)
    panel = panel_of([own])
    drawn = np.sort(draw(rng, windows * WINDOW_ROWS).reshape(windows, WINDOW_ROWS), axis=1)
    sums = np.stack([own.sums(cells.of_ordered(values), values) for values in drawn])[:, None, :]

    def p_values(phi: float, nu: float) -> NDArray[np.float64]:
        return numeric_p_values(panel, sums, np.array([phi]), np.array([nu]))[0][:, 0, :]

    return _counts(NUMERIC, p_values, series_dependence(np.column_stack([scores, scores**2]), are_indicators=False))


def _of_categories(shares: NDArray[np.float64], rng: Generator, windows: int) -> Counts:
    codes = rng.choice(shares.size, REFERENCE_ROWS, p=shares)
    before = np.bincount(codes, minlength=shares.size)
    drawn = rng.multinomial(WINDOW_ROWS, shares, windows)

    def p_values(phi: float, nu: float) -> NDArray[np.float64]:
        return categorical_p_values(before, drawn, np.full(windows, phi), np.full(windows, nu))[0]

    return _counts(CATEGORIES, p_values, group_dependence(codes, before))


def _counts(
    tests: Sequence[str],
    p_values: Callable[[float, float], NDArray[np.float64]],
    dependence: SeriesDependence,
) -> Counts:
    """Return the counts with the dispersion of independent rows, and with that which the reference shows."""
    measured = dependence.at(WINDOW_ROWS)
    found: Counts = {test: {} for test in tests}
    for name, phi, nu in (("independent", 1.0, np.inf), ("measured", measured.phi, float(measured.nu))):
        if name == "measured" and measured.needed_rows:
            continue  # no verdict
        p = p_values(phi, nu)
        for place, test in enumerate(tests):
            found[test][name] = [p.shape[0], *(int(np.count_nonzero(p[:, place] <= level)) for level in LEVELS)]
    return found


def figures_of(counts: Mapping[str, Sequence[Counts]]) -> dict[str, Any]:
    """Return the results for the JSON file."""
    by_data: dict[str, dict[str, dict[str, dict[str, float]]]] = {name: {} for name in DISPERSIONS}
    ratios: dict[str, dict[str, dict[str, float]]] = {name: {} for name in DISPERSIONS}
    errors: dict[str, dict[str, dict[str, float]]] = {name: {} for name in DISPERSIONS}
    missed = []
    for name in DISPERSIONS:
        for test in (*NUMERIC, *CATEGORIES, *MISSING):
            of_kind = {kind: _rows(found, test, name) for kind, found in counts.items()}
            of_kind = {kind: rows for kind, rows in of_kind.items() if rows.size}
            if not of_kind:
                continue
            by_data[name][test] = {kind: _ratios(rows)[0] for kind, rows in of_kind.items()}
            ratios[name][test], errors[name][test] = _ratios(np.concatenate(list(of_kind.values())))
            least = LEAST if test in NUMERIC[:3] else 0.0
            for level, most in zip(LEVELS, MOST, strict=True):
                if name == DISPERSIONS[0] and not least <= ratios[name][test][f"{level:g}"] <= most:
                    missed.append(f"{test} at {level:g}")
    return {
        "ratios": ratios,
        "standard_errors": errors,
        "by_data": by_data,
        "required": {"most": dict(zip(map("{:g}".format, LEVELS), MOST, strict=True)), "least": LEAST},
        "missed": missed,
        "windows": {
            kind: sum(_rows(found, next(iter(found[0])), DISPERSIONS[0])[:, 0].tolist())
            for kind, found in counts.items()
        },
        **conditions("numpy", "scipy"),
    }


def _rows(found: Sequence[Counts], test: str, dispersion: str) -> NDArray[np.float64]:
    """Return the windows and the counts of each reference, shape (references, 1 + levels)."""
    rows = [one[test][dispersion] for one in found if dispersion in one.get(test, {})]
    return np.array(rows, dtype=np.float64).reshape(-1, 1 + len(LEVELS))


def _ratios(rows: NDArray[np.float64]) -> tuple[dict[str, float], dict[str, float]]:
    """Return by level the observed share over the level, and its standard error.

    The windows of one reference resemble each other, so that references are what counts as independent.
    """
    windows = rows[:, 0].sum()
    share = rows[:, 1:].sum(axis=0) / windows
    error = np.sqrt(((rows[:, 1:] - share * rows[:, :1]) ** 2).sum(axis=0)) / windows
    names = [f"{level:g}" for level in LEVELS]
    return (
        dict(zip(names, (share / LEVELS).tolist(), strict=True)),
        dict(zip(names, (error / LEVELS).tolist(), strict=True)),
    )


def text_of(figures: Mapping[str, Any]) -> str:
    """Return the results for a person."""
    names = [f"{level:g}" for level in LEVELS]
    rows = []
    for test in figures["ratios"][DISPERSIONS[0]]:
        cells = []
        for ratios, errors in zip(figures["ratios"].values(), figures["standard_errors"].values(), strict=True):
            found = ratios.get(test, {})  # none if no reference allows a verdict
            cells += [f"{found[level]:.2f} ± {errors[test][level]:.2f}" if found else "" for level in names]
        rows.append([test, *cells])
        for kind in figures["by_data"][DISPERSIONS[0]][test]:
            parts = [of.get(test, {}).get(kind, {}) for of in figures["by_data"].values()]
            rows.append([f"  {kind}", *(f"{one[level]:.2f}" if one else "" for one in parts for level in names)])
    headings = ["test", *(f"{level}, {name}" for name in DISPERSIONS for level in names)]
    required = ", ".join(f"{most:g} at {level}" for level, most in figures["required"]["most"].items())
    return (
        f"Share of windows with p <= level, over the level (± standard error): phi = 1, then as measured\n"
        f"{table(headings, rows)}\n"
        f"Required with phi = 1: at most {required}; of location, scale and shape at least {LEAST:g}.\n"
        f"Missed: {', '.join(figures['missed']) or 'none'}. {figures['seconds']:,.0f} s.\n"
    )


if __name__ == "__main__":
    main()
