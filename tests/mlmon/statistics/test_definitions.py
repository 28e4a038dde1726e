"""Every measure has a definition, and its largest value is the documented one."""

import math

import numpy as np
import pytest

from mlmon.measures import (
    MEASURES,
    Method,
    hellinger_distance,
    jensen_shannon_distance,
    jensen_shannon_divergence,
    l_infinity_distance,
)
from mlmon.statistics.counts import chi_squared

DISJOINT = np.array([300, 0]), np.array([0, 100])


def test_every_method_has_a_definition_of_its_own() -> None:
    assert set(MEASURES) == set(Method)
    for part in ("name", "text"):
        assert len({getattr(definition, part) for definition in MEASURES.values()}) == len(MEASURES)


def test_every_definition_is_a_sentence_and_names_its_oracle() -> None:
    for method, definition in MEASURES.items():
        assert definition.text.endswith("."), method
        assert definition.oracle, method


@pytest.mark.parametrize(
    ("method", "value"),
    [
        (Method.JENSEN_SHANNON_DISTANCE, jensen_shannon_distance(*DISJOINT)),
        (Method.JENSEN_SHANNON_DIVERGENCE, jensen_shannon_divergence(*DISJOINT)),
        (Method.HELLINGER, hellinger_distance(*DISJOINT)),
        (Method.L_INFINITY, l_infinity_distance(*DISJOINT)),
    ],
)
def test_the_largest_value_is_that_of_disjoint_samples(method: Method, value: float) -> None:
    assert float(MEASURES[method].largest.split("= ")[-1]) == pytest.approx(value, abs=5e-4)


def test_the_largest_effect_is_that_of_disjoint_samples() -> None:
    result = chi_squared(*DISJOINT)
    assert result.cohens_w == pytest.approx(math.sqrt(400 / result.effective_rows), rel=0.01)


def test_definitions_name_bins_and_logarithm() -> None:
    for method, definition in MEASURES.items():
        if method not in (Method.KOLMOGOROV_SMIRNOV, Method.WASSERSTEIN):
            assert "bins" in definition.text or "deciles" in definition.text, method
    for method in (Method.JENSEN_SHANNON_DIVERGENCE, Method.JENSEN_SHANNON_DISTANCE):
        assert "natural logarithm" in MEASURES[method].text
    assert "ln(p / q)" in MEASURES[Method.POPULATION_STABILITY_INDEX].text
