"""Properties of every measure as a check computes it, from columns to figures, for all kinds of data."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from mlmon.measures import (
    MEASURES,
    Method,
    hellinger_distance,
    jensen_shannon_distance,
    l_infinity_distance,
)
from mlmon.statistics.counts import chi_squared
from mlmon.windows import CategoricalWindow, NumericWindow
from tests.mlmon.statistics.samples import (
    LARGEST,
    categorical_window,
    counts,
    extreme_samples,
    finite_samples,
    numeric_window,
    tied_samples,
)

# scipy says so where the exact law of two small samples is beyond its reach, and takes the limit law.
pytestmark = pytest.mark.filterwarnings("ignore:ks_2samp. Exact calculation unsuccessful:RuntimeWarning")

ROUNDING = 1e-9
OF_ORDER_ONLY = (Method.KOLMOGOROV_SMIRNOV, Method.CHI_SQUARED, Method.POPULATION_STABILITY_INDEX)
WITHOUT_COMPUTED_EDGES = (*OF_ORDER_ONLY, Method.WASSERSTEIN)

awkward_numbers = st.sampled_from([math.inf, -math.inf, LARGEST, -LARGEST, 1e308, 5e-324, -0.0, 0.0, 1.0])
awkward_samples = st.one_of(
    extreme_samples,
    arrays(np.float64, st.integers(1, 60), elements=awkward_numbers),
    arrays(np.float64, 1, elements=awkward_numbers),
)
# More than 20 distinct values, far enough from each other that no map below joins two of them.
spread_samples = arrays(np.float64, st.integers(30, 120), elements=st.integers(-500, 500).map(float), unique=True)
categories = st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), min_size=1, max_size=80)


# A busy machine takes its time for the first example, and scipy for the exact law of small samples.
quickly = settings(deadline=None, max_examples=40)


def _values(window: NumericWindow | CategoricalWindow) -> dict[Method, float | None]:
    if isinstance(window, NumericWindow):
        return {method: definition.numeric([window])[0].value for method, definition in MEASURES.items()}
    return {
        method: definition.categorical([window])[0].value
        for method, definition in MEASURES.items()
        if definition.categorical is not None
    }


def _assert_equal(found: dict[Method, float | None], expected: dict[Method, float | None], *, rel: float = 0.0) -> None:
    for method, value in expected.items():
        assert found[method] == (None if value is None else pytest.approx(value, rel=rel, abs=rel)), method


@quickly
@given(reference=awkward_samples, current=awkward_samples)
def test_no_numbers_make_a_measure_raise_or_leave_its_bounds(
    reference: NDArray[np.float64], current: NDArray[np.float64]
) -> None:
    for method, value in _values(numeric_window(reference, current)).items():
        assert value is None or 0.0 <= value <= MEASURES[method].largest, method
        assert value is None or math.isfinite(value), method


@quickly
@given(reference=awkward_samples, current=awkward_samples)
def test_what_needs_finite_numbers_is_none_without_any_and_never_0(
    reference: NDArray[np.float64], current: NDArray[np.float64]
) -> None:
    has_both = bool(np.isfinite(reference).any() and np.isfinite(current).any())
    values = _values(numeric_window(reference, current))
    for method in (Method.HELLINGER, Method.L_INFINITY):
        assert (values[method] is not None) == has_both, method
    if not has_both:
        assert values[Method.WASSERSTEIN] is None
    for method in (Method.KOLMOGOROV_SMIRNOV, Method.CHI_SQUARED, Method.POPULATION_STABILITY_INDEX):
        assert values[method] is not None, method


@quickly
@given(reference=categories, current=categories)
def test_no_categories_make_a_measure_raise_or_leave_its_bounds(reference: list[str], current: list[str]) -> None:
    for method, value in _values(categorical_window(reference, current)).items():
        assert value is not None, method
        assert 0.0 <= value <= MEASURES[method].largest, method


@quickly
@given(sample=awkward_samples)
def test_a_sample_does_not_differ_from_itself(sample: NDArray[np.float64]) -> None:
    assert {value for value in _values(numeric_window(sample, sample)).values() if value is not None} == {0.0}


@quickly
@given(sample=categories)
def test_categories_do_not_differ_from_themselves(sample: list[str]) -> None:
    assert set(_values(categorical_window(sample, sample)).values()) == {0.0}


@quickly
@given(reference=finite_samples, current=finite_samples, random=st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(
    reference: NDArray[np.float64], current: NDArray[np.float64], random: Any
) -> None:
    shuffled = [np.array(random.sample(sample.tolist(), sample.size)) for sample in (reference, current)]
    found, expected = _values(numeric_window(*shuffled)), _values(numeric_window(reference, current))
    _assert_equal(found, expected, rel=ROUNDING)


@quickly
@given(reference=categories, current=categories, names=st.permutations(["v", "w", "x", "y", "z"]))
def test_the_names_of_the_categories_do_not_matter(reference: list[str], current: list[str], names: list[str]) -> None:
    renamed = dict(zip("abcde", names, strict=True))
    found = categorical_window(
        [renamed[category] for category in reference], [renamed[category] for category in current]
    )
    expected = _values(categorical_window(reference, current))
    del expected[Method.CHI_SQUARED]  # of two equally rare categories the one with the earlier name is pooled first
    _assert_equal(_values(found), expected, rel=ROUNDING)


MAPS: Mapping[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "cube": lambda values: values**3,
    "exponential": lambda values: np.exp(values / 10.0),
    "huge": lambda values: values * 1e305,
    "tiny": lambda values: values * 1e-300,
}


@pytest.mark.parametrize("name", MAPS)
@quickly
@given(reference=spread_samples, current=spread_samples)
def test_rank_measures_keep_under_rising_maps(
    name: str, reference: NDArray[np.float64], current: NDArray[np.float64]
) -> None:
    mapped = _values(numeric_window(MAPS[name](reference), MAPS[name](current)))
    plain = _values(numeric_window(reference, current))
    _assert_equal(mapped, {method: plain[method] for method in OF_ORDER_ONLY})


@quickly
@given(reference=spread_samples, current=spread_samples)
def test_the_ks_distance_keeps_under_falling_maps_too(
    reference: NDArray[np.float64], current: NDArray[np.float64]
) -> None:
    distance = numeric_window(-reference, -current).simple_test.statistic
    assert distance == pytest.approx(numeric_window(reference, current).simple_test.statistic, abs=ROUNDING)


@quickly
@given(
    reference=spread_samples,
    current=spread_samples,
    factor=st.sampled_from([2.0**-5, 8.0, 2.0**40]),
    shift=st.integers(-1000, 1000),
)
def test_no_measure_depends_on_the_unit_or_the_origin(
    reference: NDArray[np.float64], current: NDArray[np.float64], factor: float, shift: int
) -> None:
    # Powers of two and whole numbers are exact; edges are computed, and a value on one may change its bin.
    moved = _values(numeric_window((reference + shift) * factor, (current + shift) * factor))
    plain = _values(numeric_window(reference, current))
    _assert_equal(moved, {method: plain[method] for method in WITHOUT_COMPUTED_EDGES}, rel=ROUNDING)
    scaled = _values(numeric_window(reference * factor, current * factor))
    _assert_equal(scaled, plain, rel=ROUNDING)


@quickly
@given(reference=tied_samples, current=tied_samples)
def test_numbers_with_few_values_are_measured_as_categories(
    reference: NDArray[np.float64], current: NDArray[np.float64]
) -> None:
    numbers = numeric_window(reference, current)
    named = categorical_window(*([f"{value:g}" for value in sample.tolist()] for sample in (reference, current)))
    of_numbers, of_names = _values(numbers), _values(named)
    for method in (Method.POPULATION_STABILITY_INDEX, Method.JENSEN_SHANNON_DISTANCE):
        assert of_numbers[method] == pytest.approx(of_names[method], abs=ROUNDING), method


@quickly
@given(reference=finite_samples, current=finite_samples)
def test_both_samples_can_be_exchanged(reference: NDArray[np.float64], current: NDArray[np.float64]) -> None:
    # Not PSI, w, Hellinger, L-infinity and the normalised Wasserstein distance: bins or unit are the reference's own.
    there, back = numeric_window(reference, current), numeric_window(current, reference)
    assert there.simple_test.statistic == pytest.approx(back.simple_test.statistic, abs=ROUNDING)
    if there.categories is None and back.categories is None:
        found, expected = (_values(one)[Method.JENSEN_SHANNON_DISTANCE] for one in (there, back))
        assert found == pytest.approx(expected, abs=ROUNDING)


@pytest.mark.parametrize("distance", [jensen_shannon_distance, hellinger_distance, l_infinity_distance])
@quickly
@given(reference=counts, current=counts)
def test_joining_categories_makes_no_distance_larger_except_l_infinity(
    distance: Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]],
    reference: NDArray[np.int64],
    current: NDArray[np.int64],
) -> None:
    # L-infinity alone can grow: two categories that change alike change together by the sum.
    bound = distance(reference, current) * (2.0 if distance is l_infinity_distance else 1.0)
    joined = [np.add.reduceat(sample, [0, 2, 4]) for sample in (reference, current)]
    assert distance(joined[0], joined[1]) <= bound + 1e-7  # roots of rounding errors


@quickly
@given(reference=counts, current=counts, times=st.integers(2, 50))
def test_chi_squared_grows_with_the_rows_and_the_raw_effect_does_not(
    reference: NDArray[np.int64], current: NDArray[np.int64], times: int
) -> None:
    once, often = chi_squared(reference, current), chi_squared(times * reference, times * current)
    assert often.statistic == pytest.approx(times * once.statistic, rel=ROUNDING, abs=ROUNDING)
    assert often.cohens_w >= once.cohens_w - ROUNDING  # less is taken off for chance


@quickly
@given(reference=finite_samples, current=finite_samples, unrelated=st.floats(-1e6, 1e6))
def test_moving_one_value_moves_the_ks_distance_by_at_most_its_share(
    reference: NDArray[np.float64], current: NDArray[np.float64], unrelated: float
) -> None:
    changed = current.copy()
    changed[0] = unrelated
    difference = (
        numeric_window(reference, changed).simple_test.statistic
        - numeric_window(reference, current).simple_test.statistic
    )
    assert abs(difference) <= 1.0 / current.size + ROUNDING
