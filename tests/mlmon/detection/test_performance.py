"""Judging a model's errors against its baseline. Oracle: SciPy's hypergeometric, normal and t distributions."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.stats import fisher_exact, hypergeom, norm, percentileofscore, skew, t

from mlmon.detection.performance import (
    LONG_WINDOW,
    SMALLEST_BASELINE,
    SMALLEST_WINDOW,
    DropStatus,
    ErrorBaseline,
    PerformanceDrop,
    error_baseline,
    judge_performance,
)


def errors_at(rate: float, rows: int) -> NDArray[np.float64]:
    """Return 0 and 1 with this share of ones, at random places."""
    return np.random.default_rng(rows).permutation(np.arange(rows) < round(rate * rows)).astype(np.float64)


def shares(errors: NDArray[np.float64], window_rows: int = 1000) -> ErrorBaseline:
    return error_baseline("the reference", errors, is_share=True, window_rows=window_rows)


def numbers(errors: NDArray[np.float64]) -> ErrorBaseline:
    return error_baseline("the reference", errors, is_share=False, window_rows=1000)


def judged(
    baseline: ErrorBaseline, errors: NDArray[np.float64], budget: int = 10_000, was_drop: bool = False
) -> PerformanceDrop:
    return judge_performance(baseline, errors, window_rows=1000, false_alarm_budget=budget, was_drop=was_drop)


def autoregressive(rho: float, rows: int, seed: int) -> NDArray[np.float64]:
    noise = np.random.default_rng(seed).normal(size=rows + 5000) * np.sqrt(1 - rho * rho)
    filtered: NDArray[np.float64] = lfilter([1], [1, -rho], noise)[5000:]
    return filtered


def test_the_p_value_of_wrong_predictions_is_that_of_fishers_exact_test() -> None:
    """Twice the upper tail of the hypergeometric distribution, judged by Student's t with the baseline's nu."""
    baseline = shares(errors_at(0.1, 10_000))
    found = judged(baseline, errors_at(0.17, 400))
    assert (found.phi, found.windows, found.window_rows) == (1.0, 1, 400)
    tail = hypergeom.sf(68 - 1, 10_400, 1068, 400)
    assert tail == pytest.approx(fisher_exact(np.array([[68, 332], [1000, 9000]]), "greater").pvalue, rel=1e-9)
    expected = 2 * tail if found.nu is None else 2 * t.sf(norm.isf(tail), found.nu)
    assert found.p_value == pytest.approx(expected, rel=1e-9)
    assert (found.baseline_error, found.window_error) == (0.1, 0.17)
    assert found.status == DropStatus.DROP


def test_the_p_value_of_absolute_errors_is_that_of_the_mean_of_their_normal_scores() -> None:
    rng = np.random.default_rng(3)
    before, now = rng.gamma(2, 5, 5000), rng.gamma(2, 5.8, 700)
    found = judged(numbers(before), now)
    assert (found.status, found.window_rows) == (DropStatus.DROP, 700)

    def scores(values: NDArray[np.float64]) -> NDArray[np.float64]:
        ranks = np.array([percentileofscore(before, value, kind="mean") for value in values]) / 100
        return np.asarray(norm.ppf(np.clip(ranks, 0.5 / 5000, 1 - 0.5 / 5000)))

    assert found.phi is not None
    of_baseline = scores(before)
    effective = 700 * 5000 / 5700 / found.phi
    z = (scores(now).mean() - of_baseline.mean()) / of_baseline.std() * np.sqrt(effective)
    expected = 2 * norm.sf(z) if found.nu is None else 2 * t.sf(z, found.nu)
    # Means of independent normal scores are symmetric, so that the correction for skewness is small.
    assert found.p_value == pytest.approx(expected, rel=0.15)
    assert found.baseline_error == pytest.approx(np.median(before))
    assert found.window_error == pytest.approx(np.median(now))


def test_fewer_or_smaller_errors_are_no_alarm() -> None:
    better = judged(shares(errors_at(0.2, 10_000)), errors_at(0.1, 1000))
    assert better.status == DropStatus.IMPROVEMENT
    assert better.sentence.startswith(
        "Fewer predictions are wrong than before: the share of wrong predictions is 10.0 % in the latest "
    )
    rng = np.random.default_rng(4)
    smaller = judged(numbers(rng.exponential(10, 10_000)), rng.exponential(7, 1000))
    assert smaller.status == DropStatus.IMPROVEMENT
    assert smaller.sentence.startswith("Errors are smaller than before")


def test_the_budget_counts_the_windows() -> None:
    baseline = shares(errors_at(0.1, 10_000))
    for rows, windows in [(100, 1), (500, 1), (501, 2), (1000, 2), (4999, 2), (5000, 3), (8000, 3)]:
        found = judged(baseline, errors_at(0.1, rows), budget=500)
        assert (found.windows, found.alpha) == (windows, 1 / (500 * windows))
        assert found.status == DropStatus.NO_DROP
    # A drop that the default budget does not confirm.
    rise = errors_at(0.145, 500)
    assert judged(baseline, rise).status == DropStatus.NO_DROP
    assert judged(baseline, rise, budget=10).status == DropStatus.DROP


def test_the_long_window_sees_a_small_drop() -> None:
    """From 10 to 12.4 %: p is below 1/30,000 for 5,000 rows, and above 1/20,000 for 1,000."""
    baseline, now = shares(errors_at(0.1, 20_000)), np.tile(errors_at(0.124, 500), 10)
    found = judged(baseline, now)
    assert (found.status, found.window_rows) == (DropStatus.DROP, LONG_WINDOW)
    assert judged(baseline, now[:4999]).status == DropStatus.NO_DROP
    assert 2 * hypergeom.sf(619, 25_000, 2620, 5000) < 1 / 30_000
    assert 2 * hypergeom.sf(123, 21_000, 2124, 1000) > 1 / 20_000


def test_the_latest_rows_are_the_last_ones() -> None:
    baseline = shares(errors_at(0.1, 10_000))
    bad, good = errors_at(0.2, 500), errors_at(0.1, 500)
    found = judged(baseline, np.concatenate([good, bad]))
    assert (found.status, found.window_rows) == (DropStatus.DROP, 500)
    # A long time ago everything was wrong.
    assert judged(baseline, np.concatenate([np.ones(900), good, good, *[good] * 8])).status == DropStatus.NO_DROP


def test_a_drop_near_alpha_does_not_come_and_go() -> None:
    baseline, between = shares(errors_at(0.1, 10_000)), errors_at(0.14, 500)
    p_value = judged(baseline, between).p_value
    assert p_value is not None
    assert 1e-4 < p_value < 0.01
    assert judged(baseline, between).status == DropStatus.NO_DROP
    assert judged(baseline, between, was_drop=True).status == DropStatus.DROP
    assert judged(baseline, errors_at(0.12, 500), was_drop=True).status == DropStatus.NO_DROP
    # The long window alone, in which most rows are older than the repair, does not keep it.
    repaired = np.concatenate([errors_at(0.13, 4000), errors_at(0.1, 1000)])
    assert judged(baseline, repaired, was_drop=True, budget=10**9).status == DropStatus.NO_DROP


def test_a_model_without_any_error_before() -> None:
    """k of n against 0 of m: the tail is the chance that all k errors fall into the window."""
    found = judged(shares(np.zeros(2000)), errors_at(0.02, 500))
    assert found.p_value == pytest.approx(2 * hypergeom.sf(9, 2500, 10, 500), rel=1e-9)
    assert found.status == DropStatus.DROP
    assert judged(shares(np.zeros(2000)), np.zeros(1000)).p_value == 1.0
    exact = numbers(np.zeros(2000))
    assert judged(exact, errors_at(0.02, 500) * 3.5).p_value == found.p_value
    assert judged(exact, np.zeros(500)).status == DropStatus.NO_DROP
    wrong = shares(np.ones(2000))
    assert judged(wrong, np.ones(500)).status == DropStatus.NO_DROP
    assert judged(wrong, errors_at(0.5, 500)).status == DropStatus.IMPROVEMENT


@pytest.mark.parametrize(
    ("before", "now", "reason"),
    [
        (errors_at(0.1, SMALLEST_BASELINE - 1), errors_at(0.5, 1000), "999 labelled rows of the reference are too few"),
        (np.zeros(0), errors_at(0.5, 1000), "The 0 labelled rows of the reference are too few"),
        (errors_at(0.1, 5000), errors_at(0.5, SMALLEST_WINDOW - 1), "99 labelled predictions can be compared"),
        (errors_at(0.1, 5000), np.zeros(0), "0 labelled predictions can be compared"),
        # Sorted by the class of the error: its dependence is an artefact.
        (np.sort(errors_at(0.1, 5000)), errors_at(0.5, 1000), "shuffle one that is sorted"),
    ],
)
def test_without_enough_data_the_reason_says_what_to_do(
    before: NDArray[np.float64], now: NDArray[np.float64], reason: str
) -> None:
    found = judged(shares(before), now)
    assert (found.status, found.p_value, found.alpha, found.windows) == (DropStatus.INSUFFICIENT_DATA, None, None, 0)
    assert reason in found.sentence
    assert (found.baseline_rows, found.window_rows) == (before.size, now.size)


def test_a_walk_of_absolute_errors_is_insufficient() -> None:
    walk = np.abs(np.cumsum(np.random.default_rng(5).normal(size=10_000)))
    assert judged(numbers(walk), walk[-1000:] + 100).status == DropStatus.INSUFFICIENT_DATA


def test_dependent_errors_weigh_less() -> None:
    """AR(1) errors with rho = .9 vary more between windows, and a rise that is a drop for independent ones is none."""
    dependent = (autoregressive(0.9, 10_000, 6) > norm.isf(0.1)).astype(np.float64)
    found = judged(shares(dependent), errors_at(0.17, 500))
    assert found.phi is not None
    assert found.phi > 3
    assert found.status == DropStatus.NO_DROP
    assert judged(shares(np.random.default_rng(7).permutation(dependent)), errors_at(0.17, 500)).status == "drop"


@pytest.mark.parametrize("rho", [0.0, 0.9])
@pytest.mark.parametrize("is_share", [True, False])
def test_quiet_streams_have_no_alarm(rho: float, is_share: bool) -> None:
    for seed in range(5):
        series = autoregressive(rho, 20_000, seed)
        errors = (series > norm.isf(0.1)).astype(np.float64) if is_share else np.abs(series)
        baseline = error_baseline("the reference", errors[:10_000], is_share=is_share, window_rows=1000)
        for end in range(15_100, 20_001, 700):
            assert judged(baseline, errors[end - 5000 : end]).status in (DropStatus.NO_DROP, DropStatus.IMPROVEMENT)


def test_the_sentence_names_both_samples() -> None:
    found = judged(shares(errors_at(0.1, 10_000)), errors_at(0.2, 500))
    assert found.sentence.startswith(
        "More predictions are wrong than before: the share of wrong predictions is 20.0 % in the latest 500 labelled "
        "predictions, and 10.0 % in the reference (10,000 rows). p = "
    )
    assert found.sentence.endswith("; an alarm needs at most 0.0001.")
    quiet = judged(numbers(np.random.default_rng(8).permutation(np.arange(2000.0))), np.arange(0.0, 2000.0, 4))
    assert quiet.sentence.startswith("No drop is confirmed: the median absolute error is 998.0 in the latest 500")


def test_means_of_dependent_errors_may_be_skewed() -> None:
    """|x| of AR(1) with rho = .9: long windows of large errors are likelier than of small ones.

    The oracle is SciPy's skewness of the means of 4,000 windows of 500 rows, about .2: normal scores have none.
    """
    series = np.abs(autoregressive(0.9, 2_000_000, 9))
    ordered = np.sort(series[:200_000])
    means = norm.ppf(np.clip(np.searchsorted(ordered, series) / 200_000, 1e-6, 1 - 1e-6)).reshape(-1, 500).mean(axis=1)
    expected = float(skew(means))
    assert expected > 0.15
    found = [numbers(part) for part in series[:200_000].reshape(20, 10_000)]
    dispersion = [each.dependence.at(500).phi for each in found if each.dependence is not None]
    measured = [each.skewness * np.sqrt(phi / 500) for each, phi in zip(found, dispersion, strict=True)]
    assert np.mean(measured) == pytest.approx(expected, abs=0.07)
    independent = numbers(np.abs(autoregressive(0.0, 10_000, 10)))
    assert abs(independent.skewness / np.sqrt(500)) < 0.03
