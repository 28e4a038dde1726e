"""The benchmark of a scrape with little data: its sides agree, and what it writes."""

import json

import pytest

from benchmarks.scrape import figures_of, measured, text_of
from benchmarks.scrape_rows import create_checks
from benchmarks.timing import Elapsed, Pair, PairedTimes


@pytest.mark.django_db
def test_all_sides_have_every_series() -> None:
    create_checks(3, 4)
    results = measured(pairs=3)
    # Four gauges of each feature, eleven of each model, one of the collector.
    assert results.series == 3 * (4 * 4 + 11) + 1
    assert set(results.times) == {"families", "gauges"}
    written = figures_of(results)
    assert json.loads(json.dumps(written)) == written


@pytest.mark.django_db
def test_a_ratio_above_the_required_one_is_reported_as_missed() -> None:
    create_checks(1, 1)
    results = measured(pairs=3)
    results.times["families"] = PairedTimes((Pair(ours=Elapsed(1.0, 1.0), theirs=Elapsed(5.0, 5.0)),))
    results.times["gauges"] = PairedTimes((Pair(ours=Elapsed(1.0, 1.0), theirs=Elapsed(10.0, 10.0)),))
    assert figures_of(results)["ratios"] == {"families": 0.2, "gauges": 0.1}
    families, gauges = text_of(results).splitlines()[4:6]
    assert (families.split()[-1], gauges.split()[-1]) == ("missed", "met")
