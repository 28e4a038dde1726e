"""The benchmark of a scrape at a size that takes no time: that its sides agree, and what it writes."""

import json

import pytest

from benchmarks.scrape import figures_of, measured, text_of
from benchmarks.scrape_rows import put_checks_in_place
from benchmarks.timing import Elapsed, Pair, PairedTimes


@pytest.mark.django_db
def test_all_sides_show_every_series() -> None:
    put_checks_in_place(3, 4)
    figures = measured(pairs=3)
    assert figures.series == 3 * (4 * 4 + 7) + 1  # four gauges a feature, seven a model, the collector's own
    assert set(figures.times) == {"families", "gauges"}
    written = figures_of(figures)
    assert json.loads(json.dumps(written)) == written


@pytest.mark.django_db
def test_a_ratio_above_the_required_one_is_called_missed() -> None:
    put_checks_in_place(1, 1)
    figures = measured(pairs=3)
    figures.times["families"] = PairedTimes((Pair(ours=Elapsed(1.0, 1.0), theirs=Elapsed(5.0, 5.0)),))
    figures.times["gauges"] = PairedTimes((Pair(ours=Elapsed(1.0, 1.0), theirs=Elapsed(10.0, 10.0)),))
    assert figures_of(figures)["ratios"] == {"families": 0.2, "gauges": 0.1}
    families, gauges = text_of(figures).splitlines()[4:6]
    assert (families.split()[-1], gauges.split()[-1]) == ("missed", "met")
