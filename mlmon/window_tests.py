"""The verdict's tests of all columns in all windows: for each hypothesis, the test and window that show it most."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mlmon.detection.categorical import categorical_p_values
from mlmon.detection.correlation import correlation_p_values, product_sums
from mlmon.detection.dependence import FEWEST_DEGREES, NO_SERIES, Dependence, OutcomeBlocks, outcome_blocks
from mlmon.detection.numeric import numeric_p_values
from mlmon.detection.rule import SMALLEST_EFFECT, SMALLEST_MISSING_DIFFERENCE
from mlmon.detection.seasons import window_panel
from mlmon.detection.shares import share_effects, share_p_values
from mlmon.detector import PREDICTIONS, Detector
from mlmon.results import Channel, HypothesisResult, Test
from mlmon.windowed_columns import MOST_SCORED_ROWS, WindowedCategories, WindowedColumn, WindowedNumbers

SMALLEST_SAMPLE = 30  # values in a window
MOST_TESTED_TOGETHER = 64  # categories of a column
LARGEST_KEPT_P_VALUE = 0.01  # of a pair that is no alarm; an incident closes once all its own are larger
ORDERED_TESTS = (Test.LOCATION, Test.SCALE, Test.SHAPE, Test.TAILS)
INFINITY_TESTS = (Test.INFINITIES, Test.INFINITIES)
INFINITIES = (-np.inf, np.inf)
CATEGORY_TESTS = (Test.CATEGORIES, Test.CATEGORY)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A hypothesis with what its explanation needs.

    Attributes
    ----------
    column
        Of its feature; None for a pair.
    mark
        Which tail, category or infinity the test is about.
    correlations
        Of a pair, in the reference and in the window.
    """

    result: HypothesisResult
    column: WindowedColumn | None = None
    mark: int = 0
    correlations: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class ChannelTests:
    """The hypotheses of one channel, and the rows that a reference would need for those that cannot be judged.

    Attributes
    ----------
    tests
        How many p-values were computed, over all windows.
    needed_rows
        By the name of a feature whose values cannot be judged.
    """

    hypotheses: list[Candidate]
    tests: int
    needed_rows: dict[str, int]


@dataclass(frozen=True, slots=True, eq=False)
class _Tested:
    """The tests of d columns in W windows: p-values, effects and marks, shape (W, d, M)."""

    columns: Sequence[WindowedColumn]
    tests: tuple[Test, ...]
    p_values: NDArray[np.float64]
    effects: NDArray[np.float64]
    marks: NDArray[np.int64]
    passes: NDArray[np.bool_]
    dispersions: list[list[Dependence]]  # by window and column
    numbers: NDArray[np.int64]  # of tests of each column
    seasons: list[list[str]]  # by window and column: the phases by which they are compared


def value_tests(
    detector: Detector, columns: Sequence[WindowedColumn], alphas: Mapping[Channel, float]
) -> dict[Channel, ChannelTests]:
    """Test the values of features, and the predictions, which are a column too.

    Parameters
    ----------
    alphas
        The largest p-value of a hypothesis that is an alarm, by channel.
    """
    ordered = [column for column in columns if column.is_judged and isinstance(column, WindowedNumbers)]
    others = [column for column in columns if column.is_judged and isinstance(column, WindowedCategories)]
    parts = [_ordered_tests(detector, ordered)] if ordered else []
    parts += [_category_tests(detector, others)] if others else []
    found = {channel: ChannelTests([], 0, {}) for channel in (Channel.DISTRIBUTION, Channel.PREDICTION)}
    for part in parts:
        channels = [
            Channel.PREDICTION if column.name == PREDICTIONS else Channel.DISTRIBUTION for column in part.columns
        ]
        tested = _strongest(part, channels, alphas, SMALLEST_EFFECT)
        for channel, own in found.items():
            own.hypotheses.extend(each for each in tested.hypotheses if each.result.channel is channel)
            is_prediction = channel is Channel.PREDICTION
            rows = {name: n for name, n in tested.needed_rows.items() if (name == PREDICTIONS) is is_prediction}
            own.needed_rows.update(rows)
        found[Channel.DISTRIBUTION] = replace(
            found[Channel.DISTRIBUTION], tests=found[Channel.DISTRIBUTION].tests + tested.tests
        )
    return found


def missing_tests(detector: Detector, columns: Sequence[WindowedColumn], alpha: float) -> ChannelTests:
    """Test the share of missing values of features in which the reference or the window has some."""
    chosen = [each for each in columns if each.reference.profile.n_missing or (each.present < each.rows).any()]
    if not chosen:
        return ChannelTests([], 0, {})
    lengths = chosen[0].rows.tolist()
    shape = len(lengths), len(chosen)
    shown = [[Dependence(1.0, np.inf)] * len(chosen) for _ in lengths]
    seasons = [[""] * len(chosen) for _ in lengths]
    counts, effects, phi, nu = np.ones((4, *shape)), np.zeros(shape), np.ones(shape), np.full(shape, np.inf)
    for place, each in enumerate(chosen):
        missing, n_missing, is_missing = each.rows - each.present, each.reference.profile.n_missing, each.is_missing
        for window, n in enumerate(lengths):
            now, before, m = int(missing[window]), float(n_missing), float(n_missing + each.reference.n_values)
            dispersion = detector.dispersion(n)[each.name].missing
            if isinstance(dispersion, OutcomeBlocks):
                counts[:, window, place] = dispersion.counts(is_missing[-n:])
                shown[window][place] = Dependence(max(1.0, now / max(1.0, counts[0, window, place])), np.inf)
            else:
                if each.missing_by_phase is not None:
                    before, m = (float(of_windows[window]) for of_windows in each.missing_by_phase)
                    seasons[window][place] = each.missing_season
                counts[:, window, place] = now, n, before, m
                phi[window, place], nu[window, place] = dispersion.phi, max(1.0, dispersion.nu)
                shown[window][place] = dispersion
            effects[window, place] = now / n - before / m
    p_values = share_p_values(*counts, phi=phi, nu=nu)
    tested = _Tested(
        columns=chosen,
        tests=(Test.MISSING,),
        p_values=p_values[..., None],
        effects=effects[..., None],
        marks=np.zeros((*shape, 1), dtype=np.int64),
        passes=(np.abs(effects) >= SMALLEST_MISSING_DIFFERENCE)[..., None],
        dispersions=shown,
        numbers=np.ones(len(chosen), dtype=np.int64),
        seasons=seasons,
    )
    channels = [Channel.MISSING_VALUES] * len(chosen)
    return _strongest(tested, channels, {Channel.MISSING_VALUES: alpha}, SMALLEST_MISSING_DIFFERENCE)


def correlation_tests(detector: Detector, columns: Sequence[WindowedColumn], alpha: float) -> ChannelTests:
    """Test the correlations of all pairs of features; return those that are an alarm or have a p-value below .01."""
    reference = detector.profile.correlations
    place_of = {name: place for place, name in enumerate(detector.correlated)}
    chosen = [each for each in columns if each.scores is not None and each.name in place_of]
    if reference is None or len(chosen) < 2:
        return ChannelTests([], 0, {})
    places = [place_of[each.name] for each in chosen]
    part = reference.of(places)
    scores = np.column_stack([each.scores for each in chosen if each.scores is not None])
    standardised = part.standardised(scores)
    lengths = list(dict.fromkeys(min(n, MOST_SCORED_ROWS) for n in chosen[0].rows.tolist()))
    first, second = np.nonzero(np.triu(part.spread, k=1))
    parts = []
    for n in lengths:
        phi, nu = (each[np.ix_(places, places)] for each in detector.pair_dispersion(n))
        p_values, effects, rho = correlation_p_values(part, product_sums(standardised[-n:]), phi, nu)
        p_values = np.where(nu < FEWEST_DEGREES, 1.0, p_values)
        parts.append([each[first, second] for each in (p_values, effects, rho, phi, nu)])
    p, effects, rho, phi, nu = (np.stack(each) for each in zip(*parts, strict=True))
    corrected = np.minimum(1.0, p * len(lengths))
    passes = np.abs(effects) >= SMALLEST_EFFECT
    is_alarm = (corrected <= alpha) & passes
    window = np.where(is_alarm, corrected, 2 + corrected).argmin(axis=0)
    hypotheses = []
    for pair in np.flatnonzero(np.take_along_axis(corrected, window[None], 0)[0] < LARGEST_KEPT_P_VALUE).tolist():
        at = int(window[pair]), pair
        i, j = int(first[pair]), int(second[pair])
        result = HypothesisResult(
            channel=Channel.CORRELATION,
            name=chosen[i].name,
            other_name=chosen[j].name,
            p_value=float(corrected[at]),
            effect=float(effects[at]),
            passes_gate=bool(passes[at]),
            window_rows=lengths[at[0]],
            dispersion=float(phi[at]),
            is_alarm=bool(is_alarm[at]),
            test=Test.CORRELATION,
            alpha=alpha,
            gate=SMALLEST_EFFECT,
            degrees_of_dispersion=float(nu[at]),
        )
        hypotheses.append(Candidate(result, correlations=(float(part.rho[i, j]), float(rho[at]))))
    return ChannelTests(hypotheses, p.size, {})


def _ordered_tests(detector: Detector, columns: Sequence[WindowedNumbers]) -> _Tested:
    lengths = columns[0].rows.tolist()
    places = np.array([detector.places[each.name] for each in columns], dtype=np.int64)
    panel = detector.panel.of(np.tile(places, len(lengths)))  # each window of a feature is a feature of the panel
    sums = np.zeros((len(lengths), len(columns), panel.width))
    for place, each in enumerate(columns):
        sums[:, place, : each.sums.shape[1]] = each.sums
    dispersions = [[detector.dispersion(n)[each.name].values for each in columns] for n in lengths]
    phi, nu = _arrays(dispersions)
    has_infinities = np.array([bool(each.infinities.any() or each.reference_infinities.any()) for each in columns])
    tests = ORDERED_TESTS + (INFINITY_TESTS if has_infinities.any() else ())
    shape = (len(lengths), len(columns), len(tests))
    p_values, effects, marks = np.ones(shape), np.zeros(shape), np.zeros(shape, dtype=np.int64)
    seasons = [each.season for each in columns]
    if any(seasons):
        phase_rows = [
            None if each.phase_rows is None else each.phase_rows[window]
            for window in range(len(lengths))
            for each in columns
        ]
        panel = window_panel(panel, seasons * len(lengths), phase_rows)
    found = numeric_p_values(panel, sums.reshape(-1, panel.width), phi.ravel(), nu.ravel())
    ordered = len(ORDERED_TESTS)
    p_values[..., :ordered], effects[..., :ordered] = (each.reshape(*shape[:2], ordered) for each in found[:2])
    marks[..., ordered - 1] = found[2].reshape(shape[:2])
    p_values[sums[..., 0] < SMALLEST_SAMPLE] = 1.0
    if has_infinities.any():
        marks[..., -1] = 1
        for place in np.flatnonzero(has_infinities).tolist():
            each = columns[place]
            now, n = each.infinities.astype(np.float64), each.present[:, None].astype(np.float64)
            before, m = each.reference_infinities.astype(np.float64), np.array(float(each.reference.n_values))
            spread = [[detector.dispersion(length)[each.name].infinities] for length in lengths]
            own_phi, own_nu = _arrays(spread)
            effects[:, place, ordered:] = share_effects(now, n, before, m)
            p_values[:, place, ordered:] = share_p_values(now, n, before, m, phi=own_phi, nu=own_nu)
            blocks = outcome_blocks(NO_SERIES, outcomes=0, rows=detector.profile.n_rows)
            for mark in np.flatnonzero(each.reference_infinities == 0).tolist():
                is_infinite = each.values == INFINITIES[mark]
                counts = np.array([blocks.counts(is_infinite[-length:]) for length in lengths])
                p_values[:, place, ordered + mark] = share_p_values(*counts.T)
    return _Tested(
        columns=columns,
        tests=tests,
        p_values=p_values,
        effects=effects,
        marks=marks,
        passes=np.abs(effects) >= SMALLEST_EFFECT,
        dispersions=dispersions,
        numbers=np.where(has_infinities, len(tests), len(ORDERED_TESTS)),
        seasons=[[each.season_name for each in columns]] * len(lengths),
    )


def _category_tests(detector: Detector, columns: Sequence[WindowedCategories]) -> _Tested:
    lengths = columns[0].rows.tolist()
    dispersions = [[detector.dispersion(n)[each.name].values for each in columns] for n in lengths]
    phi, nu = _arrays(dispersions)
    shape = (len(lengths), len(columns), len(CATEGORY_TESTS))
    p_values, effects, marks = np.ones(shape), np.zeros(shape), np.zeros(shape, dtype=np.int64)
    # Columns with few categories are tested together, with empty categories behind their own.
    few = [place for place, each in enumerate(columns) if len(each.categories) <= MOST_TESTED_TOGETHER]
    several = [place for place in range(len(columns)) if place not in few]
    for places in ([few] if few else []) + [[place] for place in several]:
        width = max(len(columns[place].categories) for place in places)
        before = np.zeros((len(lengths), len(places), width))
        now = np.zeros((len(lengths), len(places), width), dtype=np.int64)
        for index, place in enumerate(places):
            each = columns[place]
            before[:, index, : len(each.categories)] = each.expected_counts
            now[:, index, : len(each.categories)] = each.counts
        found = categorical_p_values(before, now, phi[:, places], nu[:, places])
        p_values[:, places], effects[:, places], marks[:, places, 1] = found
    present = np.array([each.present for each in columns]).T
    p_values[present < SMALLEST_SAMPLE] = 1.0
    passes = np.abs(effects) >= SMALLEST_EFFECT
    for place, each in enumerate(columns):
        passes[:, place, 1] |= each.reference_counts[marks[:, place, 1]] == 0  # an unseen one: the p-value decides
    return _Tested(
        columns=columns,
        tests=CATEGORY_TESTS,
        p_values=p_values,
        effects=effects,
        marks=marks,
        passes=passes,
        dispersions=dispersions,
        numbers=np.full(len(columns), len(CATEGORY_TESTS)),
        seasons=[[each.season_name for each in columns]] * len(lengths),
    )


def _strongest(
    tested: _Tested, channels: Sequence[Channel], alphas: Mapping[Channel, float], gate: float
) -> ChannelTests:
    """Return for each column the test and the window that are an alarm, or else have the smallest p-value."""
    windows, _, tests = tested.p_values.shape
    needed = np.array([[each.needed_rows for each in row] for row in tested.dispersions])
    corrected = np.minimum(1.0, tested.p_values * (windows * tested.numbers)[None, :, None])
    corrected = np.where((needed > 0)[..., None], 1.0, corrected)
    largest = np.array([alphas[channel] for channel in channels])
    is_alarm = (corrected <= largest[None, :, None]) & tested.passes
    order = np.where(is_alarm, corrected, 2 + corrected).transpose(1, 0, 2).reshape(len(tested.columns), -1)
    hypotheses, needed_rows = [], {}
    for place, (column, chosen) in enumerate(zip(tested.columns, order.argmin(axis=1).tolist(), strict=True)):
        if needed[:, place].all():
            needed_rows[column.name] = int(needed[:, place].min())
            continue
        window, test = divmod(chosen, tests)
        at = window, place, test
        channel = channels[place]
        dispersion = tested.dispersions[window][place]
        result = HypothesisResult(
            channel=channel,
            name=column.name,
            p_value=float(corrected[at]),
            effect=float(tested.effects[at]),
            passes_gate=bool(tested.passes[at]),
            window_rows=int(column.rows[window]),
            dispersion=dispersion.phi,
            is_alarm=bool(is_alarm[at]),
            test=tested.tests[test],
            alpha=alphas[channel],
            gate=gate,
            degrees_of_dispersion=dispersion.nu if np.isfinite(dispersion.nu) else None,
            # The shares of infinities are compared with those of all rows.
            season="" if tested.tests[test] is Test.INFINITIES else tested.seasons[window][place],
        )
        hypotheses.append(Candidate(result, column, int(tested.marks[at])))
    return ChannelTests(hypotheses, windows * int(tested.numbers.sum()), needed_rows)


def _arrays(dispersions: list[list[Dependence]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    phi = np.array([[each.phi for each in row] for row in dispersions], dtype=np.float64)
    # Without degrees of freedom there is no verdict; 1 keeps the functions finite until then.
    nu = np.array([[max(each.nu, 1.0) for each in row] for row in dispersions], dtype=np.float64)
    return phi, nu
