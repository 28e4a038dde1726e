"""The verdict under a false-alarm budget: which hypotheses of a check are an alarm, and which to look at then.

A check has two hypotheses for each feature, its values and its share of missing values, and one for the predictions. In
each window the smallest p-value that counts is 1 / (A * hypotheses * windows), so that by Bonferroni's inequality at
most one check in A raises a false alarm, however they depend on each other.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from mlmon.results import NO_VERDICT, Badge, Channel, Criteria, HypothesisResult, Verdict, VerdictStatus
from mlmon.statistics.multiple_testing import benjamini_hochberg

FEWEST_WINDOW_ROWS = 500
FEWEST_REFERENCE_ROWS = 1000
REFERENCE_ROWS_PER_WINDOW_ROW = 10
SMALLEST_EFFECT = 0.15  # debiased Cohen's w
SMALLEST_MISSING_DIFFERENCE = 0.02
FALSE_DISCOVERY_RATE = 0.05
BURSTY_DISPERSION = 10.0


@dataclass(frozen=True, slots=True)
class VerdictPlan:
    """What the verdict of a check is measured by, known before anything is compared.

    Attributes
    ----------
    hypotheses
        In one window.
    window_rows
        Lengths of the windows, the main one first.
    level
        The p-value from which on a hypothesis is an alarm.
    """

    budget: int
    hypotheses: int
    window_rows: tuple[int, ...]
    reference_rows: int

    @property
    def level(self) -> float:
        """Return 1 / (A * hypotheses * windows)."""
        return 1.0 / (self.budget * max(1, self.hypotheses) * len(self.window_rows))

    @property
    def obstacle(self) -> str:
        """Return why there can be no verdict, in words, or ""."""
        if self.window_rows[0] < FEWEST_WINDOW_ROWS:
            return f"The window has {self.window_rows[0]} rows; a verdict needs {FEWEST_WINDOW_ROWS}."
        if self.reference_rows < FEWEST_REFERENCE_ROWS:
            return f"The reference has {self.reference_rows} rows; a verdict needs {FEWEST_REFERENCE_ROWS}."
        return ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one window says about one hypothesis.

    Attributes
    ----------
    p_value
        Corrected for dependence in time.
    effect
        Debiased Cohen's w; of missing values the difference of their shares.
    smallest_detectable
        The smallest effect that an alarm could have come from.
    is_measured
        Whether the reference was long enough to measure the dispersion by chunks.
    """

    channel: Channel
    name: str
    window_rows: int
    p_value: float
    effect: float
    smallest_detectable: float
    dispersion: float
    is_measured: bool
    chi2_statistic: float | None = None
    degrees_of_freedom: int | None = None

    @property
    def passes_gate(self) -> bool:
        """Whether the effect is large enough to matter."""
        gate = SMALLEST_MISSING_DIFFERENCE if self.channel is Channel.MISSING_VALUES else SMALLEST_EFFECT
        return abs(self.effect) >= gate


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict and its hypotheses, by channel and name."""

    verdict: Verdict
    hypotheses: Mapping[tuple[Channel, str], HypothesisResult]


NO_JUDGEMENT = Judgement(NO_VERDICT, MappingProxyType({}))


def plan_of(criteria: Criteria, *, features: int, rows: int, window_rows: int, reference_rows: int) -> VerdictPlan:
    """Return what the verdict is measured by.

    Parameters
    ----------
    features
        How many are watched.
    rows
        Of all that was observed; further windows that are longer, or too short for a verdict, are left out.
    window_rows
        Of the main window.
    """
    extra = {length for length in criteria.extra_window_rows if FEWEST_WINDOW_ROWS <= length <= rows}
    lengths = (window_rows, *sorted(extra - {window_rows})) if criteria.gives_verdict else (window_rows,)
    return VerdictPlan(criteria.false_alarm_budget, 2 * features + 1, lengths, reference_rows)


def judge(evidence: Iterable[Evidence], plan: VerdictPlan) -> Judgement:
    """Return the verdict on all evidence of a check."""
    by_hypothesis: defaultdict[tuple[Channel, str], list[Evidence]] = defaultdict(list)
    for found in evidence:
        by_hypothesis[found.channel, found.name].append(found)
    level = 0.0 if plan.obstacle else plan.level
    telling = {key: _most_telling(found, level) for key, found in by_hypothesis.items()}
    is_alarm = any(_is_alarm(found, level) for found in telling.values())
    windows = len(plan.window_rows)
    p_values = [min(1.0, windows * found.p_value) for found in telling.values()]
    listed = benjamini_hochberg(p_values, hypotheses=plan.hypotheses, rate=FALSE_DISCOVERY_RATE) if is_alarm else -1.0
    return Judgement(
        verdict=Verdict(
            status=_status(plan, is_alarm=is_alarm),
            detail=_detail(plan, telling.values()),
            false_alarm_budget=plan.budget,
            alpha=plan.level,
            hypotheses=plan.hypotheses * windows,
            smallest_p_value=min((found.p_value for found in telling.values()), default=None),
            window_rows=plan.window_rows,
            badges=_badges(plan, [found for every in by_hypothesis.values() for found in every]),
        ),
        hypotheses={key: _result(found, level=level, listed=listed / windows) for key, found in telling.items()},
    )


def _most_telling(found: Sequence[Evidence], level: float) -> Evidence:
    """Return the window that alarms, or else the one with the smallest p-value."""
    return min(found, key=lambda one: (not _is_alarm(one, level), one.p_value))


def _is_alarm(found: Evidence, level: float) -> bool:
    return found.p_value <= level and found.passes_gate


def _result(found: Evidence, *, level: float, listed: float) -> HypothesisResult:
    return HypothesisResult(
        channel=found.channel,
        name=found.name,
        p_value=found.p_value,
        effect=found.effect,
        passes_gate=found.passes_gate,
        window_rows=found.window_rows,
        dispersion=found.dispersion,
        chi2_statistic=found.chi2_statistic,
        degrees_of_freedom=found.degrees_of_freedom,
        smallest_detectable=found.smallest_detectable if math.isfinite(found.smallest_detectable) else None,
        is_alarm=_is_alarm(found, level),
        is_listed=_is_alarm(found, level) or (found.p_value <= listed and found.passes_gate),
    )


def _status(plan: VerdictPlan, *, is_alarm: bool) -> VerdictStatus:
    if plan.obstacle:
        return VerdictStatus.INSUFFICIENT_DATA
    return VerdictStatus.ALARM if is_alarm else VerdictStatus.QUIET


def _detail(plan: VerdictPlan, telling: Iterable[Evidence]) -> str:
    """Return why there is no verdict, and what these rows could have shown at all; "" where there is one."""
    if not plan.obstacle:
        return ""
    detectable = [
        found.smallest_detectable
        for found in telling
        if found.channel is not Channel.MISSING_VALUES and math.isfinite(found.smallest_detectable)
    ]
    if not detectable:
        return plan.obstacle
    return f"{plan.obstacle} The smallest change that these rows could show is w = {min(detectable):.2f}."


def _badges(plan: VerdictPlan, evidence: Sequence[Evidence]) -> tuple[Badge, ...]:
    badges = []
    if evidence and not any(found.is_measured for found in evidence):  # a constant column has nothing to measure
        badges.append(Badge.INDEPENDENCE_UNVERIFIED)
    if any(found.dispersion > BURSTY_DISPERSION for found in evidence):
        badges.append(Badge.BURSTY)
    if plan.reference_rows < REFERENCE_ROWS_PER_WINDOW_ROW * plan.window_rows[0]:
        badges.append(Badge.SMALL_REFERENCE)
    return tuple(badges)
