"""False rollbacks of rollouts, and how many requests a worse challenger receives before it is rolled back.

``python -m benchmarks.rollouts [--rollouts N] [--json FILE]`` simulates N rollouts of each kind through shares of 5,
10, 25 and 50 %, and reads the evidence after every event: with equal versions, with worse challengers, and with routing
keys that keep their version, for which several ways to count events are compared.
"""

import math
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import argument_parser, conditions, progress, table, write_json
from mlmon.rollout_evidence import limit_log10, log10_evidence_path, share_of_next_event

DURATION = "Takes about a minute and a half on one core."
SEED = 20_261_130
ROLLOUTS = 1_000
STEPS = np.array([0.05, 0.1, 0.25, 0.5])
REQUESTS = 50_000  # of a rollout, the same number at each share
STEP_CHALLENGER_REQUESTS, STEP_REQUESTS = 500, 2_500  # the least of a step that a controller ends
EQUAL_RATES = (0.001, 0.01, 0.1, 0.3)
MOST_FALSE = 0.015
MOST_REQUESTS = 1.3  # times the documented median
# By name: the champion's and the challenger's event rates, and the documented median of the challenger's requests.
CHANGES: Mapping[str, tuple[float, float, int]] = {
    "errors .1 to 2 %": (0.001, 0.02, 171),
    "errors 0 to 1 %": (0.0, 0.01, 271),
    "errors .5 to 1 %": (0.005, 0.01, 3_477),
    "wrong predictions 10 to 20 %": (0.1, 0.2, 137),
    "wrong predictions 10 to 15 %": (0.1, 0.15, 529),
    "wrong predictions 10 to 12 %": (0.1, 0.12, 3_562),
    "wrong predictions 30 to 35 %": (0.3, 0.35, 1_635),
    "slow requests 5 to 50 %": (0.05, 0.5, 9),
    "slow requests 5 to 10 %": (0.05, 0.1, 302),
}
MOST_OF_KEY = 100  # requests; a key has 1 to so many
KEY_SPREAD = 2.0  # the rates of keys have a beta distribution with a + b of this
KEYS: Mapping[str, float] = {"visits": 0.01, "regulars": 1.0}  # the part of the rollout in which a key sends requests
WORSE_KEYS = (0.1, 2.0)  # mean event rate of keys, and the challenger's times the champion's

Generator: TypeAlias = np.random.Generator
Floats: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]
Places: TypeAlias = NDArray[np.intp]
# Events that count: their places among the requests, and the shares that they count with.
Counted: TypeAlias = tuple[Places, Floats]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argument_parser("rollouts", __doc__, DURATION)
    parser.add_argument(
        "--rollouts", type=int, default=ROLLOUTS, metavar="N", help="of each kind (default: %(default)s)"
    )
    parsed = parser.parse_args(arguments)
    progress(DURATION)
    started = time.monotonic()
    figures = figures_of(parsed.rollouts)
    figures["seconds"] = round(time.monotonic() - started, 1)
    sys.stdout.write(text_of(figures))
    write_json(parsed.json, figures)


def figures_of(rollouts: int) -> dict[str, Any]:
    """Return the results for the JSON file, from so many rollouts of each kind."""
    progress("equal versions")
    equal = {f"{rate:g}": [independent(seeded(n), rate, rate) for n in range(rollouts)] for rate in EQUAL_RATES}
    passed = {f"{rate:g}": [passes(seeded(n), rate) for n in range(rollouts)] for rate in EQUAL_RATES}
    progress("worse challengers")
    worse = {
        name: [independent(seeded(n), champion, challenger) for n in range(rollouts)]
        for name, (champion, challenger, _) in CHANGES.items()
    }
    keyed: dict[str, dict[str, dict[str, float]]] = {name: {} for name in COUNTINGS}
    found: dict[str, dict[str, float]] = {name: {} for name in COUNTINGS}
    for kind in KEYS:
        progress(f"routing keys: {kind}")
        for rate in EQUAL_RATES:
            outcomes = [with_keys(seeded(n), kind, rate) for n in range(rollouts)]
            for name in COUNTINGS:
                keyed[name].setdefault(kind, {})[f"{rate:g}"] = _share([one[name] for one in outcomes])
        outcomes = [with_keys(seeded(n), kind, *WORSE_KEYS) for n in range(rollouts)]
        for name in COUNTINGS:
            found[name][kind] = _share([one[name] for one in outcomes])
    figures: dict[str, Any] = {
        "false_rollbacks": {rate: _share(requests) for rate, requests in equal.items()},
        "passed_all_steps": {rate: statistics.fmean(flags) for rate, flags in passed.items()},
        "median_challenger_requests": {name: _median(requests) for name, requests in worse.items()},
        "documented_challenger_requests": {name: documented for name, (_, _, documented) in CHANGES.items()},
        "rolled_back": {name: _share(requests) for name, requests in worse.items()},
        "false_rollbacks_with_keys": keyed,
        "rolled_back_with_keys": found,
        "required": {"false_rollbacks": MOST_FALSE, "times_documented_requests": MOST_REQUESTS},
        "rollouts": rollouts,
        **conditions("numpy"),
    }
    return {**figures, "missed": missed(figures)}


def seeded(number: int) -> Generator:
    """Return the generator of a rollout: the same for each kind, so that kinds differ by less chance."""
    return np.random.default_rng([SEED, number])


def independent(rng: Generator, champion: float, challenger: float) -> float:
    """Return the challenger's requests until rollback, or infinity, in a simulated rollout without routing keys."""
    shares = np.repeat(STEPS, REQUESTS // STEPS.size)
    belongs = rng.random(REQUESTS) < shares
    events = np.flatnonzero(rng.random(REQUESTS) < np.where(belongs, challenger, champion))
    return requests_until_rollback(belongs, (events, shares[events]))


def passes(rng: Generator, rate: float) -> bool:
    """Return whether an equal challenger passes all steps of a controller that waits for the least of each."""
    values = rng.random(2 * REQUESTS)
    steps, end = controlled_steps(values)
    shares = STEPS[steps[:end]]
    belongs = values[:end] < shares
    events = np.flatnonzero(rng.random(end) < rate)
    return math.isinf(requests_until_rollback(belongs, (events, shares[events])))


def with_keys(rng: Generator, kind: str, rate: float, ratio: float = 1.0) -> dict[str, float]:
    """Return the challenger's requests until rollback by way of counting, in a simulated rollout with routing keys.

    Keys have 1 to 100 requests and each its own event rate. A controller ends the steps, so that shares depend on which
    keys the challenger has.
    """
    sizes = rng.integers(1, MOST_OF_KEY + 1, 2 * REQUESTS // (MOST_OF_KEY + 1))
    rates = rng.beta(KEY_SPREAD * rate, KEY_SPREAD * (1 - rate), sizes.size)
    values = rng.random(sizes.size)  # of the hash
    keys = np.repeat(np.arange(sizes.size), sizes)
    starts = rng.random(sizes.size) * (1 - KEYS[kind])
    keys = keys[np.argsort(starts[keys] + KEYS[kind] * rng.random(keys.size))]
    steps, _ = controlled_steps(values[keys])
    belongs = values[keys] < STEPS[steps]
    is_event = rng.random(keys.size) < np.minimum(1.0, rates[keys] * np.where(belongs, ratio, 1.0))
    events = np.flatnonzero(is_event)
    return {
        name: requests_until_rollback(belongs, count(events, keys, steps, belongs)) for name, count in COUNTINGS.items()
    }


def controlled_steps(values: Floats) -> tuple[Places, int]:
    """Return the step of each request by the hash value of its key, and the number of requests until the last ends."""
    steps = np.full(values.size, STEPS.size - 1)
    start = 0
    for step, share in enumerate(STEPS):
        reached = int(np.searchsorted(np.cumsum(values[start:] < share), STEP_CHALLENGER_REQUESTS)) + 1
        end = min(values.size, start + max(STEP_REQUESTS, reached))
        steps[start:end] = step
        start = end
    return steps, start


def requests_until_rollback(belongs: Flags, counted: Counted) -> float:
    """Return the number of the challenger's requests up to the event that reaches the limit, or infinity."""
    places, shares = counted
    path = log10_evidence_path(shares, ~belongs[places], belongs[places])
    reached = np.flatnonzero(path >= limit_log10(1))
    return float(np.count_nonzero(belongs[: places[reached[0]] + 1])) if reached.size else math.inf


def every_event(events: Places, keys: Places, steps: Places, belongs: Flags) -> Counted:
    """Count all events, as if they were independent."""
    return events, STEPS[steps[events]]


def first_of_version(events: Places, keys: Places, steps: Places, belongs: Flags) -> Counted:
    """Count the first event of each key with each version."""
    return _firsts(events, 2 * keys + belongs, steps)


def first_of_share(events: Places, keys: Places, steps: Places, belongs: Flags) -> Counted:
    """Count the first event of each key since the share changed."""
    return _firsts(events, STEPS.size * keys + steps, steps)


def first_of_key(events: Places, keys: Places, steps: Places, belongs: Flags) -> Counted:
    """Count the first event of each key in the rollout."""
    return _firsts(events, keys, steps)


# By the step of the previous counted event of the key, which belonged to the champion; the last row without one.
_CONDITIONAL = np.array([[share_of_next_event(share, known) for share in STEPS] for known in (*STEPS, 0.0)])


def conditional_share(events: Places, keys: Places, steps: Places, belongs: Flags) -> Counted:
    """Count with the share given what the key's events have shown, until one belongs to the challenger.

    Shares rise, so that the first event of each share is all that can be counted.
    """
    firsts, _ = first_of_share(events, keys, steps, belongs)
    by_key = firsts[np.argsort(keys[firsts], kind="stable")]
    is_later = np.append(False, keys[by_key[1:]] == keys[by_key[:-1]])
    before = np.where(is_later, np.roll(steps[by_key], 1), STEPS.size)
    is_known = is_later & np.roll(belongs[by_key], 1)  # a key of the challenger stays there
    counted, shares = by_key[~is_known], _CONDITIONAL[before, steps[by_key]][~is_known]
    order = np.argsort(counted)
    return counted[order], shares[order]


def _firsts(events: Places, groups: Places, steps: Places) -> Counted:
    """Return the first event of each group."""
    _, firsts = np.unique(groups[events], return_index=True)
    places = events[np.sort(firsts)]
    return places, STEPS[steps[places]]


COUNTINGS: Mapping[str, Callable[[Places, Places, Places, Flags], Counted]] = {
    "conditional share": conditional_share,
    "first of key": first_of_key,
    "first of key and share": first_of_share,
    "first of key and version": first_of_version,
    "every event": every_event,
}
SOUND = ("conditional share", "first of key")


def _share(requests: Sequence[float]) -> float:
    """Return the share of rollouts that were rolled back."""
    return statistics.fmean(math.isfinite(one) for one in requests)


def _median(requests: Sequence[float]) -> float | None:
    """Return the median over all rollouts, or None if less than half were rolled back."""
    median = statistics.median(requests)
    return median if math.isfinite(median) else None


def missed(figures: Mapping[str, Any]) -> list[str]:
    """Return the requirements that the figures do not meet."""
    found = [f"equal versions at {rate}" for rate, share in figures["false_rollbacks"].items() if share > MOST_FALSE]
    found += [f"steps at {rate}" for rate, share in figures["passed_all_steps"].items() if share < 1 - MOST_FALSE]
    for name, requests in figures["median_challenger_requests"].items():
        if requests is None or requests > MOST_REQUESTS * CHANGES[name][2]:
            found.append(name)
    for counting in SOUND:
        for kind, shares in figures["false_rollbacks_with_keys"][counting].items():
            found += [f"{counting}, {kind} at {rate}" for rate, share in shares.items() if share > MOST_FALSE]
    return found


def text_of(figures: Mapping[str, Any]) -> str:
    """Return the results for a person."""
    rates = [f"{rate:g}" for rate in EQUAL_RATES]
    equal = [
        [name, *(f"{figures[key][rate]:.1%}" for rate in rates)]
        for name, key in (("false rollbacks", "false_rollbacks"), ("passed all steps", "passed_all_steps"))
    ]
    worse = [
        [
            name,
            "never" if requests is None else f"{requests:,.0f}",
            f"{documented:,}",
            "" if requests is None else f"{requests / documented:.2f}",
            f"{figures['rolled_back'][name]:.1%}",
        ]
        for (name, requests), documented in zip(
            figures["median_challenger_requests"].items(),
            figures["documented_challenger_requests"].values(),
            strict=True,
        )
    ]
    keyed = [
        [
            f"{counting}, {kind}",
            *(f"{shares[rate]:.1%}" for rate in rates),
            f"{figures['rolled_back_with_keys'][counting][kind]:.1%}",
        ]
        for counting, by_kind in figures["false_rollbacks_with_keys"].items()
        for kind, shares in by_kind.items()
    ]
    return "\n\n".join(
        [
            f"Equal versions, {figures['rollouts']:,} rollouts for each event rate",
            table(["event rate", *rates], equal),
            "Worse challengers: median of their requests until rollback",
            table(["change", "requests", "documented", "ratio", "rolled back"], worse),
            "Routing keys with 1 to 100 requests: false rollbacks, and rollbacks of a challenger with 10 to 20 %",
            table(["counted", *rates, "10 to 20 %"], keyed),
            f"Required: at most {MOST_FALSE:.1%} false rollbacks and {MOST_REQUESTS:g} times the documented requests. "
            f"Missed: {', '.join(figures['missed']) or 'none'}. {figures['seconds']:,.0f} s.\n",
        ]
    )


if __name__ == "__main__":
    main()
