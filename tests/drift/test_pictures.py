"""What is told below a histogram: the quantiles that the check has kept."""

from drift.rendering.pictures import Histogram, picture_of
from drift.results import Distribution


def test_a_histogram_tells_the_quantiles_that_were_kept() -> None:
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


def test_a_check_of_a_release_that_kept_none_tells_none() -> None:
    picture = picture_of(Distribution((), (0.0, 10.0, 20.0), (100, 0), (0, 50)))
    assert isinstance(picture, Histogram)
    assert picture.quantiles == ()
