"""Every measure has a definition, and its largest value is that of samples without a common value."""

import math

import numpy as np
import pytest

from mlmon.measures import MEASURES, Method
from mlmon.statistics.counts import chi_squared
from tests.mlmon.statistics.samples import categorical_window, numeric_window

DISJOINT = np.array([300, 0]), np.array([0, 100])


def test_every_method_has_a_definition_of_its_own() -> None:
    assert set(MEASURES) == set(Method)
    for part in ("name", "text"):
        assert len({getattr(definition, part) for definition in MEASURES.values()}) == len(MEASURES)


def test_every_definition_is_a_sentence_and_names_its_oracle() -> None:
    for method, definition in MEASURES.items():
        assert definition.text.endswith("."), method
        assert definition.oracle, method


@pytest.mark.parametrize("method", [method for method in Method if math.isfinite(MEASURES[method].largest)])
def test_the_largest_value_is_that_of_disjoint_samples(method: Method) -> None:
    definition = MEASURES[method]
    numbers = numeric_window(np.linspace(0.0, 1.0, 300), np.linspace(10.0, 11.0, 100))
    assert definition.numeric([numbers])[0].value == pytest.approx(definition.largest, abs=1e-12)
    if definition.categorical is not None:
        names = categorical_window(["a"] * 300, ["b"] * 100)
        assert definition.categorical([names])[0].value == pytest.approx(definition.largest, abs=1e-12)


def test_the_largest_effect_is_that_of_disjoint_samples() -> None:
    result = chi_squared(*DISJOINT)
    assert result.cohens_w == pytest.approx(math.sqrt(400 / result.effective_rows), rel=0.01)


def test_definitions_name_bins_and_logarithm() -> None:
    for method, definition in MEASURES.items():
        if definition.categorical is not None:  # the others are computed from the values themselves
            assert "bins" in definition.text or "deciles" in definition.text, method
    for method in (Method.JENSEN_SHANNON_DIVERGENCE, Method.JENSEN_SHANNON_DISTANCE):
        assert "natural logarithm" in MEASURES[method].text
    assert "ln(p / q)" in MEASURES[Method.POPULATION_STABILITY_INDEX].text
