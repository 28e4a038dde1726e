"""Seasonal references. Oracles: SciPy's ranks, distributions and contingency tables on sums over phases."""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, norm, rankdata
from scipy.stats import t as student

from mlmon.detection.dependence import SeriesDependence, series_dependence
from mlmon.detection.numeric import (
    TAILS,
    NumericScores,
    ScoreCells,
    numeric_p_values,
    numeric_scores,
    panel_of,
    score_cells,
)
from mlmon.detection.phases import NO_TIME, Season
from mlmon.detection.rule import PARTS, SMALLEST_EFFECT
from mlmon.detection.seasons import (
    NumericSeason,
    numeric_season,
    numeric_season_of_array,
    share_season,
    share_season_of_array,
    window_panel,
    window_weights,
)

HOUR = 3_600_000_000
ROWS_PER_HOUR, DAYS = 40, 10  # fewer than 10,000 rows, so that each has a score of its own
M = ROWS_PER_HOUR * 24 * DAYS
MONDAY = int(np.datetime64("2026-03-16", "us").astype(np.int64))
LOCAL = MONDAY + np.arange(M + 40_000) * (HOUR // ROWS_PER_HOUR)
HOURS = LOCAL // HOUR % 24
DAILY = np.sin(2 * np.pi * LOCAL / (24 * HOUR))
rng = np.random.default_rng(33)
VALUES = 3 * DAILY + rng.normal(size=LOCAL.size) * (1 + 0.5 * DAILY)
INFINITE = np.full(1, np.inf)


@dataclass(frozen=True)
class Reference:
    """The first M rows: the scores of their values, and their season with the scores of its residuals."""

    cells: ScoreCells
    season: NumericSeason
    residual_cells: ScoreCells

    @staticmethod
    def of(values: NDArray[np.float64]) -> "Reference":
        cells = score_cells(np.sort(values[:M]))
        season = numeric_season(cells.of_rows(values[:M]), LOCAL[:M])
        assert season is not None
        return Reference(cells, season, score_cells(season.ordered))

    def residuals(self, values: NDArray[np.float64], local: NDArray[np.int64]) -> NDArray[np.float64]:
        return self.season.residuals(self.cells.of_rows(values), local)


REFERENCE = Reference.of(VALUES)
SEASON = REFERENCE.season


def plain_scores(values: NDArray[np.float64]) -> tuple[NumericScores, SeriesDependence]:
    """Return what the tests of a reference without a season need."""
    ordered = np.sort(values)
    a = score_cells(ordered).of_rows(values)
    return numeric_scores(ordered, a), series_dependence(np.column_stack([a, a * a]), are_indicators=False)


def window_result(
    reference: Reference, values: NDArray[np.float64], local: NDArray[np.int64], phi: float = 1.0, nu: float = np.inf
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the p-values and effects of one window."""
    season = reference.season
    counts = np.bincount(season.season.codes(local), minlength=season.rows.size)
    panel = window_panel(panel_of([season.scores]), [season], [counts])
    residuals = reference.residuals(values, local)
    sums = season.scores.sums(reference.residual_cells.of_rows(residuals), np.sort(residuals))[None, :]
    p_values, effects, _ = numeric_p_values(panel, sums, np.array([phi]), np.array([nu]))
    return p_values[0], effects[0]


def alarms(reference: Reference, values: NDArray[np.float64]) -> int:
    """Return the alarms in 390 overlapping windows of 500 rows after the reference."""
    found = reference.season.dependence.at(500)
    limit = 1 / (10_000 * PARTS * 4)  # of one feature with four tests
    count = 0
    for start in range(M, M + 39_000, 100):
        rows = slice(start, start + 500)
        p_values, effects = window_result(reference, values[rows], LOCAL[rows], found.phi, found.nu)
        count += bool(((p_values <= limit) & (np.abs(effects) >= SMALLEST_EFFECT)).any())
    return count


def test_residuals_are_normal_scores_in_spreads_from_their_phase() -> None:
    """Normal scores by `rankdata`: (rank - 1/2) / m for values without ties."""
    a = norm.ppf((rankdata(VALUES[:M]) - 0.5) / M)
    residuals = REFERENCE.residuals(VALUES[:M], LOCAL[:M])
    for hour in range(24):
        own = a[HOURS[:M] == hour]
        sizes = np.abs(own - own.mean())
        expected = (own - own.mean()) / sizes.mean()
        np.testing.assert_allclose(residuals[HOURS[:M] == hour], expected, atol=1e-9)
    assert SEASON.season is Season.HOUR_OF_DAY
    assert SEASON.explained == pytest.approx(np.var([a[HOURS[:M] == h].mean() for h in range(24)]), abs=0.01)


def test_equal_spreads_are_not_estimated() -> None:
    found = Reference.of(rng.normal(size=LOCAL.size) + 0.3 * DAILY).season
    assert found.spreads.tolist() == [1.0] * 25


def test_a_window_with_the_mix_of_the_reference_is_compared_with_the_whole() -> None:
    """24 hours: 1/m = sum over phases of (n_p/n)^2/m_p."""
    counts = np.append(np.full(24, 7), 0)
    plain = panel_of([SEASON.scores])
    panel = window_panel(plain, [SEASON], [counts])
    assert panel.rows[0] == pytest.approx(M, rel=1e-12)
    np.testing.assert_allclose(panel.means, plain.means, atol=1e-12)
    np.testing.assert_allclose(panel.bin_counts, plain.bin_counts, rtol=1e-9)
    np.testing.assert_allclose(panel.tail_counts, plain.tail_counts, rtol=1e-9)


@pytest.mark.parametrize("phi_nu", [(1.0, np.inf), (2.5, 40.0)])
def test_location_scale_and_shape_compare_with_the_phases_of_the_window(phi_nu: tuple[float, float]) -> None:
    """600 rows of 15 hours, the first of them 8 o'clock."""
    phi, nu = phi_nu
    rows = slice(M + 8 * ROWS_PER_HOUR, M + 8 * ROWS_PER_HOUR + 600)
    values = VALUES[rows] + 0.25
    p_values, effects = window_result(REFERENCE, values, LOCAL[rows], phi, nu)
    residuals, current = REFERENCE.residuals(VALUES[:M], LOCAL[:M]), REFERENCE.residuals(values, LOCAL[rows])
    ordered = np.sort(residuals)
    m_effective = 1 / sum((1 / 15) ** 2 / (M / 24) for _ in range(15))
    covered = np.isin(HOURS[:M], (np.arange(8, 23)))
    scores = norm.ppf((rankdata(residuals) - 0.5) / M)
    # A value has the score of the next larger one of the reference.
    now = np.sort(scores)[np.minimum(np.searchsorted(ordered, current), M - 1)]
    for place, power in ((0, 1), (1, 2)):
        reference = scores**power
        sd = reference.std()
        effect = ((now**power).mean() - reference[covered].mean()) / sd
        assert effects[place] == pytest.approx(effect, rel=1e-6)
        n_effective = 1 / (1 / 600 + 1 / m_effective) / phi
        z = effect * np.sqrt(n_effective)
        g = ((reference - reference.mean()) ** 3).mean() / sd**3 / np.sqrt(n_effective)
        g *= (m_effective - 600) / (m_effective + 600)
        if abs(g) > 1e-6:
            z = (max(0.0, 1 + g * z / 2) ** (1 / 3) - 1 + g * g / 36) * 6 / g
        expected = 2 * (norm.sf(abs(z)) if np.isinf(nu) else student.sf(abs(z), nu))
        assert p_values[place] == pytest.approx(expected, rel=1e-5)
    edges = [-np.inf, *SEASON.scores.boundaries, np.inf]
    before = np.histogram(-residuals[covered], -np.array(edges)[::-1])[0][::-1] * m_effective / covered.sum()
    after = np.histogram(-current, -np.array(edges)[::-1])[0][::-1]
    statistic, p_value, df, _ = chi2_contingency(np.array([before, after]), correction=False)
    if np.isinf(nu):
        assert p_values[2] == pytest.approx(p_value, rel=1e-6)
    w = np.sqrt(max(0.0, statistic - phi * df) * (1 / 600 + 1 / m_effective))
    assert effects[2] == pytest.approx(w, rel=1e-6)


def test_weights_and_rows_of_the_equivalent_reference() -> None:
    """Enumerated by hand: (1/4)^2/10 + (3/4)^2/30 = 0.025."""
    weights, m = window_weights(np.array([10.0, 30.0, 99.0]), np.array([1, 3, 0]))
    assert weights.tolist() == [0.25, 0.75, 0.0]
    assert m == pytest.approx(40.0, rel=1e-12)
    weights, m = window_weights(np.array([10.0, 30.0, 99.0]), np.array([4, 0, 0]))
    assert m == pytest.approx(10.0, rel=1e-12)


def test_the_skewness_of_the_difference_is_that_of_two_means() -> None:
    """Third cumulants: 1/n^2 - sum of w_p^3/m_p^2 is 1/n^2 - 1/m^2 if the window covers whole phases evenly."""
    rows, counts, n = np.full(24, 800.0), np.array([0] * 12 + [50] * 12), 600
    weights, m = window_weights(rows, counts)
    exact = (1 / n**2 - (weights**3 / rows**2).sum()) / (1 / n + (weights**2 / rows).sum()) ** 1.5
    assert exact == pytest.approx((m - n) / (m + n) / np.sqrt(n * m / (n + m)), rel=1e-12)


def test_a_cycle_does_not_alarm_and_a_change_within_it_does() -> None:
    plain = plain_scores(VALUES[:M])[1].at(500)
    assert SEASON.dependence.at(500).phi < 1.5 < 50 < plain.phi
    assert alarms(REFERENCE, VALUES) == 0
    assert alarms(REFERENCE, VALUES + 0.5) > 200
    early = np.roll(VALUES, -3 * ROWS_PER_HOUR)
    assert alarms(REFERENCE, early) > 300


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_shapes_that_depend_on_the_hour_do_not_alarm(share: float) -> None:
    """Skewed to the right by day and to the left by night; with values in whole numbers too."""
    noise = np.exp(np.random.default_rng(1).normal(size=LOCAL.size)) - np.exp(0.5)
    values = np.where(HOURS < 12, noise, -noise) + 3 * DAILY
    values = np.where(np.random.default_rng(2).random(LOCAL.size) < share, np.round(values), values)
    assert alarms(Reference.of(values), values) == 0


def test_a_feature_that_is_constant_by_night() -> None:
    values = np.where(HOURS < 6, 0.0, np.maximum(0.0, 1 + np.random.default_rng(6).normal(size=LOCAL.size)))
    reference = Reference.of(values)
    assert alarms(reference, values) == 0
    night = slice(M, M + 5 * ROWS_PER_HOUR)
    p_values, _ = window_result(reference, values[night], LOCAL[night])
    assert p_values.min() > 0.95  # not 1: the correction for skewness moves z = 0
    p_values, effects = window_result(reference, np.full(200, 0.5), LOCAL[night])
    assert p_values.min() < 1e-20
    assert np.abs(effects).max() > 1


def test_rows_without_a_time_are_compared_with_all_rows() -> None:
    local = np.full(500, NO_TIME)
    values = np.random.default_rng(7).choice(VALUES[:M], 500)
    counts = np.bincount(SEASON.season.codes(local), minlength=25)
    panel = window_panel(panel_of([SEASON.scores]), [SEASON], [counts])
    assert panel.rows[0] == M
    a = norm.ppf((rankdata(VALUES[:M]) - 0.5) / M)
    places = np.searchsorted(np.sort(VALUES[:M]), values)
    expected = np.sort(a)[places] - a.mean()
    np.testing.assert_allclose(REFERENCE.residuals(values, local) * SEASON.spreads[-1], expected, atol=1e-9)
    # The reference's rows as they would be without times, and not their residuals from their own hours.
    residuals = np.sort(REFERENCE.residuals(VALUES[:M], np.full(M, NO_TIME)))
    scores = norm.ppf((np.arange(M) + 0.5) / M)[np.minimum(np.searchsorted(SEASON.ordered, residuals), M - 1)]
    np.testing.assert_allclose(panel.means[0], [scores.mean(), (scores**2).mean()], rtol=1e-9)
    np.testing.assert_allclose(panel.tail_counts[0, -1], (residuals > SEASON.scores.tail_cuts[-1]).sum(), rtol=1e-9)


def test_features_without_a_season_are_left_as_they_are() -> None:
    noise = rng.normal(size=M)
    assert numeric_season(noise, LOCAL[:M]) is None
    nine_days = 9 * 24 * ROWS_PER_HOUR
    assert numeric_season(VALUES[:nine_days], LOCAL[:nine_days]) is None
    assert numeric_season(np.ones(M), LOCAL[:M]) is None
    plain = panel_of([plain_scores(noise)[0], SEASON.scores])
    counts = np.zeros(25, dtype=np.int64)
    for phase_rows in ([None, counts], [None, None]):
        panel = window_panel(plain, [None, SEASON], phase_rows)
        np.testing.assert_array_equal(panel.rows, plain.rows)
        np.testing.assert_array_equal(panel.bin_counts, plain.bin_counts)
    counts[3] = 5
    panel = window_panel(plain, [None, SEASON], [None, counts])
    assert panel.rows.tolist() == pytest.approx([M, M / 24])
    assert panel.tail_counts.shape == (2, TAILS)


def test_shares_by_phase() -> None:
    """Missing values, 2 % by night and 20 % by day."""
    missing = (np.random.default_rng(8).random(LOCAL.size) < np.where(HOURS < 12, 0.02, 0.2)).astype(np.int64)
    season = share_season(missing[:M], np.arange(2), LOCAL[:M])
    assert season is not None
    assert season.season is Season.HOUR_OF_DAY
    counts = np.zeros(25, dtype=np.int64)
    counts[2:6] = 100
    expected = np.bincount(missing[:M][(HOURS[:M] >= 2) & (HOURS[:M] < 6)])
    np.testing.assert_allclose(season.counts(counts), expected, rtol=1e-12)
    np.testing.assert_allclose(season.shares[24], np.bincount(missing[:M]) / M, rtol=1e-12)
    plain = series_dependence(missing[:M, None].astype(float), are_indicators=True)
    assert season.dependence.at(500).phi < 1.5 < 5 < plain.at(500).phi
    assert season.dependence.rarer.tolist() == [missing[:M].sum()] * 2


def test_categories_without_a_season() -> None:
    codes = rng.integers(0, 5, M)
    assert share_season(codes, np.arange(5), LOCAL[:M]) is None
    by_hour = (HOURS[:M] * 40 + rng.integers(0, 40, M)).astype(np.int64)
    groups = np.arange(960) // 200
    assert share_season(by_hour, groups, LOCAL[:M]) is None
    assert share_season(by_hour // 40, np.arange(24) // 5, LOCAL[:M]) is not None


def test_a_season_is_read_as_it_was_written() -> None:
    """One with a spread for each phase, and one with many equal values."""
    values = np.where(HOURS < 6, 0.0, np.round(VALUES, 1))
    for season in (SEASON, Reference.of(values).season):
        read = numeric_season_of_array(season.to_array())
        assert read is not None
        assert (read.season, read.explained, read.scores.rows) == (season.season, season.explained, M)
        for name in ("centres", "spreads", "rows", "ordered", "means", "bin_shares", "tail_shares"):
            np.testing.assert_array_equal(getattr(read, name), getattr(season, name))
        for name in ("boundaries", "tail_cuts", "means", "deviations", "skewness", "bin_counts", "tail_counts"):
            np.testing.assert_array_equal(getattr(read.scores, name), getattr(season.scores, name))
        assert [read.dependence.at(n) for n in (500, 5000)] == [season.dependence.at(n) for n in (500, 5000)]
    assert numeric_season_of_array(np.zeros(0)) is None


def test_shares_by_phase_are_read_as_they_were_written() -> None:
    codes = np.minimum(HOURS[:M] // 3, rng.integers(0, 8, M))
    season = share_season(codes, np.array([0, 0, 1, 1, 2, 2, 3, 4]), LOCAL[:M])
    assert season is not None
    read = share_season_of_array(season.to_array())
    assert read is not None
    assert (read.season, read.explained) == (season.season, season.explained)
    np.testing.assert_array_equal(read.rows, season.rows)
    np.testing.assert_array_equal(read.shares, season.shares)
    assert [read.dependence.at(n) for n in (500, 5000)] == [season.dependence.at(n) for n in (500, 5000)]
    assert share_season_of_array(np.zeros(0)) is None
