"""The verdict under a false-alarm budget: which hypotheses of a check are an alarm, and which to list after one.

A check has two hypotheses for each feature, its values and its share of missing values, and one for the predictions. In
each window the significance level is alpha = 1 / (A * hypotheses * windows). By Bonferroni's inequality at most one
check in A then raises a false alarm, however the hypotheses depend on each other.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TypeAlias

from mlmon.results import NO_VERDICT, Badge, Channel, Criteria, HypothesisResult, Verdict, VerdictStatus
from mlmon.statistics.counts import benjamini_hochberg

FEWEST_WINDOW_ROWS = 500
FEWEST_REFERENCE_ROWS = 1000
REFERENCE_ROWS_PER_WINDOW_ROW = 10
SMALLEST_EFFECT = 0.15  # debiased Cohen's w
SMALLEST_MISSING_DIFFERENCE = 0.02
FALSE_DISCOVERY_RATE = 0.05
BURSTY_DISPERSION = 10.0

HypothesisKey: TypeAlias = tuple[Channel, str]


@dataclass(frozen=True, slots=True)
class VerdictPlan:
    """What is known about the verdict of a check before anything is compared.

    Attributes
    ----------
    hypotheses
        Their number in one window.
    window_rows
        Lengths of the windows, the main one first.
    alpha
        1 / (A * hypotheses * windows): a hypothesis with a p-value of at most this is an alarm.
    obstacle
        Why there can be no verdict, as a sentence; "" if there can be one.
    """

    budget: int
    hypotheses: int
    window_rows: tuple[int, ...]
    reference_rows: int
    alpha: float
    obstacle: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one window says about one hypothesis.

    Attributes
    ----------
    hypothesis
        `judge` decides its fields `passes_gate`, `is_alarm` and `is_listed`.
    is_measured
        Whether the reference is long enough to measure the dispersion of windows of this length.
    """

    hypothesis: HypothesisResult
    is_measured: bool


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict and its hypotheses, by channel and name."""

    verdict: Verdict
    hypotheses: Mapping[HypothesisKey, HypothesisResult]


NO_JUDGEMENT = Judgement(NO_VERDICT, MappingProxyType({}))


def plan_verdict(criteria: Criteria, *, features: int, rows: int, window_rows: int, reference_rows: int) -> VerdictPlan:
    """Return the plan of a verdict.

    Parameters
    ----------
    features
        Number of monitored features.
    rows
        All observed rows. Additional windows that are longer, or too short for a verdict, are left out.
    window_rows
        Rows of the main window.
    """
    extra = {length for length in criteria.extra_window_rows if FEWEST_WINDOW_ROWS <= length <= rows}
    lengths = (window_rows, *sorted(extra - {window_rows})) if criteria.gives_verdict else (window_rows,)
    hypotheses = 2 * features + 1
    obstacle = ""
    if window_rows < FEWEST_WINDOW_ROWS:
        obstacle = f"The window has {window_rows} rows; a verdict needs {FEWEST_WINDOW_ROWS}."
    elif reference_rows < FEWEST_REFERENCE_ROWS:
        obstacle = f"The reference has {reference_rows} rows; a verdict needs {FEWEST_REFERENCE_ROWS}."
    alpha = 1.0 / (criteria.false_alarm_budget * hypotheses * len(lengths))
    return VerdictPlan(criteria.false_alarm_budget, hypotheses, lengths, reference_rows, alpha, obstacle)


def judge(evidence: Collection[Evidence], plan: VerdictPlan) -> Judgement:
    """Return the verdict on all evidence of a check.

    Of several windows, a hypothesis takes the one that is an alarm, or else the one with the smallest p-value.
    """
    alpha = 0.0 if plan.obstacle else plan.alpha
    by_window: defaultdict[HypothesisKey, list[HypothesisResult]] = defaultdict(list)
    for each in evidence:
        by_window[each.hypothesis.channel, each.hypothesis.name].append(each.hypothesis)
    strongest = {
        key: min(found, key=lambda one: (not (one.p_value <= alpha and _passes_gate(one)), one.p_value))
        for key, found in by_window.items()
    }
    alarms = {key for key, one in strongest.items() if one.p_value <= alpha and _passes_gate(one)}
    largest_listed, windows = -1.0, len(plan.window_rows)
    if alarms:
        p_values = [min(1.0, windows * one.p_value) for one in strongest.values()]
        largest_listed = benjamini_hochberg(p_values, hypotheses=plan.hypotheses, rate=FALSE_DISCOVERY_RATE) / windows
    hypotheses = {
        key: replace(
            one,
            passes_gate=(passes_gate := _passes_gate(one)),
            is_alarm=key in alarms,
            is_listed=key in alarms or (passes_gate and one.p_value <= largest_listed),
        )
        for key, one in strongest.items()
    }
    return Judgement(_verdict(plan, hypotheses.values(), evidence), hypotheses)


def _passes_gate(found: HypothesisResult) -> bool:
    gate = SMALLEST_MISSING_DIFFERENCE if found.channel is Channel.MISSING_VALUES else SMALLEST_EFFECT
    return abs(found.effect) >= gate


def _verdict(plan: VerdictPlan, hypotheses: Collection[HypothesisResult], evidence: Collection[Evidence]) -> Verdict:
    status = VerdictStatus.ALARM if any(found.is_alarm for found in hypotheses) else VerdictStatus.QUIET
    detail = plan.obstacle
    if plan.obstacle:
        status = VerdictStatus.INSUFFICIENT_DATA
        of_values = [found for found in hypotheses if found.channel is not Channel.MISSING_VALUES]
        detectable = [found.smallest_detectable for found in of_values if found.smallest_detectable is not None]
        if detectable:
            detail += f" The smallest change that these rows could show is w = {min(detectable):.2f}."
    badges = []
    if evidence and not any(each.is_measured for each in evidence):  # a constant column has nothing to measure
        badges.append(Badge.INDEPENDENCE_UNVERIFIED)
    if any(each.hypothesis.dispersion > BURSTY_DISPERSION for each in evidence):
        badges.append(Badge.BURSTY)
    if plan.reference_rows < REFERENCE_ROWS_PER_WINDOW_ROW * plan.window_rows[0]:
        badges.append(Badge.SMALL_REFERENCE)
    return Verdict(
        status=status,
        detail=detail,
        false_alarm_budget=plan.budget,
        alpha=plan.alpha,
        hypotheses=plan.hypotheses * len(plan.window_rows),
        smallest_p_value=min((found.p_value for found in hypotheses), default=None),
        window_rows=plan.window_rows,
        badges=tuple(badges),
    )
