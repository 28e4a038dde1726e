"""The verdict under a false-alarm budget: which changes of a window are an alarm, and which to list after one.

Features, missing values, predictions and correlations have a quarter of the budget A each. Bonferroni's inequality
divides it between their hypotheses, and within a hypothesis between its tests and windows: at most one check in A
raises a false alarm, however they depend on each other.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from mlmon.criteria import Criteria
from mlmon.detection.dependence import BURSTY_PHI
from mlmon.detection.rule import PARTS
from mlmon.detector import PREDICTIONS, Detector
from mlmon.explanations import explained
from mlmon.figures import listing
from mlmon.results import NO_VERDICT, Badge, Channel, HypothesisResult, Verdict, VerdictStatus
from mlmon.statistics.counts import benjamini_hochberg
from mlmon.window_tests import ChannelTests, correlation_tests, missing_tests, value_tests
from mlmon.windowed_columns import WindowedColumn

RULE_EDITION = 2  # docs/adr/0034: verdicts of different editions stand side by side
FEWEST_WINDOW_ROWS = 500
FEWEST_REFERENCE_ROWS = 1000
REFERENCE_ROWS_PER_WINDOW_ROW = 10
FALSE_DISCOVERY_RATE = 0.05
MOST_PAIRS_KEPT = 100


@dataclass(frozen=True, slots=True)
class VerdictPlan:
    """What is known about the verdict of a check before anything is compared.

    Attributes
    ----------
    window_rows
        Lengths of the windows, the main one first.
    features, pairs
        How many are compared.
    obstacle
        Why there can be no verdict, as a sentence; "" if there can be one.
    """

    budget: int
    window_rows: tuple[int, ...]
    reference_rows: int
    features: int
    pairs: int
    obstacle: str

    def alpha(self, channel: Channel) -> float:
        """Return the largest p-value of a hypothesis that is an alarm."""
        return 1.0 / (self.budget * PARTS * self.hypotheses(channel))

    def hypotheses(self, channel: Channel) -> int:
        """Return the number of hypotheses that divide a channel's part of the budget, at least 1."""
        return max(1, {Channel.PREDICTION: 1, Channel.CORRELATION: self.pairs}.get(channel, self.features))


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict and its hypotheses.

    Attributes
    ----------
    hypotheses
        By channel and name; without those of correlations.
    correlations
        The pairs to keep, strongest first; None if pairs were not compared.
    reasons
        Why the values of a feature, or the predictions (""), are not judged.
    """

    verdict: Verdict
    hypotheses: Mapping[tuple[Channel, str], HypothesisResult]
    correlations: tuple[HypothesisResult, ...] | None
    reasons: Mapping[str, str]


NO_JUDGEMENT = Judgement(NO_VERDICT, MappingProxyType({}), None, MappingProxyType({}))


def plan_verdict(
    criteria: Criteria, *, features: int, pairs: int, rows: int, window_rows: int, reference_rows: int
) -> VerdictPlan:
    """Return the plan of a verdict.

    Parameters
    ----------
    features, pairs
        How many are compared.
    rows
        All observed rows. Additional windows that are longer, or too short for a verdict, are left out.
    window_rows
        Rows of the main window.
    """
    extra = {length for length in criteria.extra_window_rows if FEWEST_WINDOW_ROWS <= length <= rows}
    lengths = (window_rows, *sorted(extra - {window_rows})) if criteria.gives_verdict else (window_rows,)
    obstacle = ""
    if window_rows < FEWEST_WINDOW_ROWS:
        obstacle = f"The window has {window_rows} rows; a verdict needs {FEWEST_WINDOW_ROWS}."
    elif reference_rows < FEWEST_REFERENCE_ROWS:
        obstacle = f"The reference has {reference_rows} rows; a verdict needs {FEWEST_REFERENCE_ROWS}."
    pairs = pairs if criteria.monitors_correlation else 0
    return VerdictPlan(criteria.false_alarm_budget, lengths, reference_rows, features, pairs, obstacle)


def judge(
    detector: Detector,
    columns: Sequence[WindowedColumn],
    plan: VerdictPlan,
    *,
    with_details: bool = True,
) -> Judgement:
    """Return the verdict on the columns of a check, of which the predictions may be one, in the windows of the plan.

    With details, every hypothesis that may be a change is explained, otherwise only those that an alarm lists.
    """
    alphas = {channel: plan.alpha(channel) for channel in Channel}
    features = [column for column in columns if column.name != PREDICTIONS]
    channels = value_tests(detector, columns, alphas)
    channels[Channel.MISSING_VALUES] = missing_tests(detector, features, alphas[Channel.MISSING_VALUES])
    if plan.pairs:
        channels[Channel.CORRELATION] = correlation_tests(detector, features, alphas[Channel.CORRELATION])
    has_alarm = not plan.obstacle and any(
        tested.result.is_alarm for channel in channels.values() for tested in channel.hypotheses
    )
    hypotheses: dict[tuple[Channel, str], HypothesisResult] = {}
    pairs: list[HypothesisResult] = []
    for channel, found in channels.items():
        p_values = [tested.result.p_value for tested in found.hypotheses]
        rejected = benjamini_hochberg(p_values, hypotheses=plan.hypotheses(channel), rate=FALSE_DISCOVERY_RATE)
        for tested in found.hypotheses:
            one = tested.result
            is_alarm = one.is_alarm and has_alarm
            is_listed = has_alarm and (is_alarm or (one.passes_gate and one.p_value <= rejected))
            if (one.is_alarm, one.is_listed) != (is_alarm, is_listed):
                one = replace(one, is_alarm=is_alarm, is_listed=is_listed)
            result = explained(one, tested) if with_details or is_listed else one
            if channel is Channel.CORRELATION:
                pairs.append(result)
            else:
                hypotheses[channel, result.name] = result
    pairs.sort(key=lambda one: (not one.is_alarm, one.p_value, -abs(one.effect)))
    kept = tuple(pairs[:MOST_PAIRS_KEPT])
    needed_rows = channels[Channel.DISTRIBUTION].needed_rows | channels[Channel.PREDICTION].needed_rows
    return Judgement(
        verdict=_verdict(plan, channels.values(), [*hypotheses.values(), *kept], needed_rows),
        hypotheses=hypotheses,
        correlations=kept if plan.pairs else None,
        reasons={name: _insufficiency(detector, name, rows, plan) for name, rows in needed_rows.items()},
    )


def _insufficiency(detector: Detector, name: str, rows: int, plan: VerdictPlan) -> str:
    column = detector.columns[name]
    if column.looks_sorted:
        return "The reference looks sorted by this column. Shuffle it, or add a column of times, and upload it again."
    return (
        f"The reference is too short for the verdict: its {plan.reference_rows:,} rows are too few, or resemble each "
        f"other over too long spans, to show how much windows vary. About {rows:,} rows would do."
    )


def _verdict(
    plan: VerdictPlan,
    channels: Iterable[ChannelTests],
    hypotheses: Sequence[HypothesisResult],
    needed_rows: Mapping[str, int],
) -> Verdict:
    tests = sum(channel.tests for channel in channels)
    status = VerdictStatus.ALARM if any(found.is_alarm for found in hypotheses) else VerdictStatus.QUIET
    detail = plan.obstacle
    judged = [found for found in hypotheses if found.channel is not Channel.MISSING_VALUES]
    if not plan.obstacle and needed_rows and not judged:
        detail = "The reference is too short to show how much windows vary."
    if detail:
        status = VerdictStatus.INSUFFICIENT_DATA
    elif needed_rows:
        names = [name or "the predictions" for name in needed_rows]
        shown = [*names[:3], f"{len(names) - 3} more"] if len(names) > 3 else names
        detail = f"The verdict leaves out {listing(shown, 'and')}: the reference is too short."
    closest = min(hypotheses, key=lambda found: found.p_value / found.alpha, default=None)
    badges = []
    if needed_rows:
        badges.append(Badge.INSUFFICIENT_REFERENCE)
    if any(found.dispersion > BURSTY_PHI for found in hypotheses):
        badges.append(Badge.BURSTY)
    if plan.reference_rows < REFERENCE_ROWS_PER_WINDOW_ROW * plan.window_rows[0]:
        badges.append(Badge.SMALL_REFERENCE)
    return Verdict(
        status=status,
        detail=detail,
        false_alarm_budget=plan.budget,
        closest="" if closest is None else closest.subject,
        alpha=plan.alpha(Channel.DISTRIBUTION) if closest is None else closest.alpha,
        smallest_p_value=None if closest is None else closest.p_value,
        hypotheses=tests,
        window_rows=plan.window_rows,
        badges=tuple(badges),
    )
