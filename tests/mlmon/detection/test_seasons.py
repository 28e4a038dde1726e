"""Seasonal references. Oracles: SciPy's ranks, distributions and contingency tables on sums over phases."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, norm, rankdata
from scipy.stats import t as student

from mlmon.detection.dependence import series_dependence
from mlmon.detection.numeric import TAILS, numeric_p_values, numeric_scores, panel_of
from mlmon.detection.phases import NO_TIME, Season
from mlmon.detection.rule import NUMERIC_TESTS, SMALLEST_EFFECT, largest_p_value
from mlmon.detection.seasons import NumericSeason, numeric_season, share_season, window_panel, window_weights

HOUR = 3_600_000_000
WINDOWS = (1000, 500)
ROWS_PER_HOUR, DAYS = 40, 20
M = ROWS_PER_HOUR * 24 * DAYS
MONDAY = int(np.datetime64("2026-03-16", "us").astype(np.int64))
LOCAL = MONDAY + np.arange(M + 40_000) * (HOUR // ROWS_PER_HOUR)
HOURS = LOCAL // HOUR % 24
DAILY = np.sin(2 * np.pi * LOCAL / (24 * HOUR))
rng = np.random.default_rng(33)
VALUES = 3 * DAILY + rng.normal(size=LOCAL.size) * (1 + 0.5 * DAILY)
INFINITE = np.full(1, np.inf)


def season_of(values: NDArray[np.float64]) -> NumericSeason:
    found = numeric_season(values[:M], LOCAL[:M], WINDOWS)
    assert found is not None
    return found


SEASON = season_of(VALUES)


def window_result(
    season: NumericSeason, values: NDArray[np.float64], local: NDArray[np.int64], phi: float = 1.0, nu: float = np.inf
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the p-values and effects of one window."""
    counts = np.bincount(season.season.codes(local), minlength=season.rows.size)
    panel = window_panel(panel_of([season.scores]), [season], [counts])
    sums = season.scores.sums(season.residuals(values, local))[None, :]
    p_values, effects = numeric_p_values(panel, sums, np.array([phi]), np.array([nu]))
    return p_values[0], effects[0]


def alarms(season: NumericSeason, values: NDArray[np.float64]) -> int:
    """Return the alarms in 390 overlapping windows of 500 rows after the reference."""
    found = season.scores.dependence.at(500)
    limit = largest_p_value(10_000, tests=NUMERIC_TESTS, windows=1)
    count = 0
    for start in range(M, M + 39_000, 100):
        rows = slice(start, start + 500)
        p_values, effects = window_result(season, values[rows], LOCAL[rows], found.phi, found.nu)
        count += bool(((p_values <= limit) & (np.abs(effects) >= SMALLEST_EFFECT)).any())
    return count


def test_residuals_are_normal_scores_in_spreads_from_their_phase() -> None:
    """Normal scores by `rankdata`: (rank - 1/2) / m for values without ties."""
    a = norm.ppf((rankdata(VALUES[:M]) - 0.5) / M)
    residuals = SEASON.residuals(VALUES[:M], LOCAL[:M])
    for hour in range(24):
        own = a[HOURS[:M] == hour]
        sizes = np.abs(own - own.mean())
        expected = (own - own.mean()) / sizes.mean()
        np.testing.assert_allclose(residuals[HOURS[:M] == hour], expected, atol=1e-9)
    assert SEASON.season is Season.HOUR_OF_DAY
    assert SEASON.explained == pytest.approx(np.var([a[HOURS[:M] == h].mean() for h in range(24)]), abs=0.01)


def test_equal_spreads_are_not_estimated() -> None:
    found = season_of(rng.normal(size=LOCAL.size) + 0.3 * DAILY)
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
    p_values, effects = window_result(SEASON, values, LOCAL[rows], phi, nu)
    residuals, current = SEASON.residuals(VALUES[:M], LOCAL[:M]), SEASON.residuals(values, LOCAL[rows])
    ordered = np.sort(residuals)
    m_effective = 1 / sum((1 / 15) ** 2 / (M / 24) for _ in range(15))
    covered = np.isin(HOURS[:M], (np.arange(8, 23)))
    scores = norm.ppf((rankdata(residuals) - 0.5) / M)
    u = (np.searchsorted(ordered, current, "left") + np.searchsorted(ordered, current, "right")) / (2 * M)
    now = norm.ppf(np.clip(u, 0.5 / M, 1 - 0.5 / M))
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
    found = SEASON.scores.dependence.at(500)
    plain = numeric_scores(VALUES[:M], WINDOWS).dependence.at(500)
    assert found.phi < 1.5 < 50 < plain.phi
    assert alarms(SEASON, VALUES) == 0
    assert alarms(SEASON, VALUES + 0.5) > 200
    early = np.roll(VALUES, -3 * ROWS_PER_HOUR)
    assert alarms(SEASON, early) > 300


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_shapes_that_depend_on_the_hour_do_not_alarm(share: float) -> None:
    """Skewed to the right by day and to the left by night; with values in whole numbers too."""
    noise = np.exp(np.random.default_rng(1).normal(size=LOCAL.size)) - np.exp(0.5)
    values = np.where(HOURS < 12, noise, -noise) + 3 * DAILY
    values = np.where(np.random.default_rng(2).random(LOCAL.size) < share, np.round(values), values)
    assert alarms(season_of(values), values) == 0


def test_a_feature_that_is_constant_by_night() -> None:
    values = np.where(HOURS < 6, 0.0, np.maximum(0.0, 1 + np.random.default_rng(6).normal(size=LOCAL.size)))
    season = season_of(values)
    assert alarms(season, values) == 0
    night = slice(M, M + 5 * ROWS_PER_HOUR)
    p_values, _ = window_result(season, values[night], LOCAL[night])
    assert p_values.min() > 0.95  # not 1: the correction for skewness moves z = 0
    p_values, effects = window_result(season, np.full(200, 0.5), LOCAL[night])
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
    np.testing.assert_allclose(SEASON.residuals(values, local) * SEASON.spreads[-1], expected, atol=1e-9)


def test_features_without_a_season_are_left_as_they_are() -> None:
    noise = rng.normal(size=M)
    assert numeric_season(noise, LOCAL[:M], WINDOWS) is None
    nine_days = 9 * 24 * ROWS_PER_HOUR
    assert numeric_season(VALUES[:nine_days], LOCAL[:nine_days], WINDOWS) is None
    assert numeric_season(np.ones(M), LOCAL[:M], WINDOWS) is None
    plain = panel_of([numeric_scores(noise, WINDOWS), SEASON.scores])
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
    season = share_season(missing[:M], np.arange(2), LOCAL[:M], WINDOWS)
    assert season is not None
    assert season.season is Season.HOUR_OF_DAY
    counts = np.zeros(25, dtype=np.int64)
    counts[2:6] = 100
    expected = np.bincount(missing[:M][(HOURS[:M] >= 2) & (HOURS[:M] < 6)])
    np.testing.assert_allclose(season.counts(counts), expected, rtol=1e-12)
    np.testing.assert_allclose(season.shares[24], np.bincount(missing[:M]) / M, rtol=1e-12)
    plain = series_dependence(missing[:M, None].astype(float), WINDOWS, are_indicators=True)
    assert season.dependence.at(500).phi < 1.5 < 5 < plain.at(500).phi
    assert season.dependence.rarer.tolist() == [missing[:M].sum()] * 2


def test_categories_without_a_season() -> None:
    codes = rng.integers(0, 5, M)
    assert share_season(codes, np.arange(5), LOCAL[:M], WINDOWS) is None
    by_hour = (HOURS[:M] * 40 + rng.integers(0, 40, M)).astype(np.int64)
    groups = np.arange(960) // 200
    assert share_season(by_hour, groups, LOCAL[:M], WINDOWS) is None
    assert share_season(by_hour // 40, np.arange(24) // 5, LOCAL[:M], WINDOWS) is not None
