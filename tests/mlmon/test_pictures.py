"""The figures beside a feature's chart: the quantiles and the p-value."""

from dataclasses import replace

from mlmon.report.pictures import Histogram, picture_of
from mlmon.report.views import feature_views
from mlmon.results import (
    NO_VERDICT,
    Channel,
    ComparisonResult,
    Distribution,
    FeatureResult,
    HypothesisResult,
    PredictionResult,
)
from mlmon.schema import FeatureKind


def test_a_histogram_has_quantiles() -> None:
    kept = Distribution((), (0.0, 10.0, 20.0), (100, 0), (0, 50), (1, 2, 5, 7.25, 9), (11, 12, 15, 17, 19.123456))
    picture = picture_of(kept)
    assert isinstance(picture, Histogram)
    assert [(line.name, line.reference, line.current) for line in picture.quantiles] == [
        ("5 %", "1", "11"),
        ("25 %", "2", "12"),
        ("Median", "5", "15"),
        ("75 %", "7.25", "17"),
        ("95 %", "9", "19.12"),
    ]


def test_a_distribution_without_quantiles_has_none() -> None:
    picture = picture_of(Distribution((), (0.0, 10.0, 20.0), (100, 0), (0, 50)))
    assert isinstance(picture, Histogram)
    assert picture.quantiles == ()


def test_a_row_shows_the_p_value_of_the_listed_hypothesis() -> None:
    """If values go missing, the others may be unchanged."""
    values = HypothesisResult(Channel.DISTRIBUTION, "precip", 0.86, 0.14, False, 2_000)
    missing = HypothesisResult(Channel.MISSING_VALUES, "precip", 3e-45, 0.057, True, 2_000, is_listed=True)
    feature = FeatureResult("precip", FeatureKind.NUMERIC, 0.15, verdict=values, missing_verdict=missing)
    result = ComparisonResult(10_000, 2_000, (feature,), PredictionResult(threshold=0.1), NO_VERDICT)
    (view,) = feature_views(result)
    assert view.p_value == "3e-45"
    (view,) = feature_views(replace(result, features=(replace(feature, missing_verdict=None),)))
    assert view.p_value == "0.86"
