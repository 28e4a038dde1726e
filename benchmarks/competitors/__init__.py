"""The sides of the drift comparison: our check, plain sorting as a yardstick, and other libraries.

`benchmarks.worker` imports a side in the competitor's own environment, so this module needs nothing but NumPy.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.arrays import FeatureArrays

_FOLDER = Path(__file__).resolve().parent


class Side(NamedTuple):
    """How to run one side of the comparison.

    Attributes
    ----------
    prepare
        Does what the library's interface allows to do once, and returns the check of the window.
    ks_statistics
        Returns the KS statistic of each numeric feature from the result of the check; empty if it has none.
    """

    prepare: Callable[[FeatureArrays], Callable[[], Any]]
    ks_statistics: Callable[[Any], Mapping[str, float]] = lambda _result: {}


@dataclass(frozen=True, slots=True)
class Competitor:
    """What our check is compared with.

    Attributes
    ----------
    name
        Its key in the results.
    side
        Import path of its `Side`.
    computes
        What it computes for each feature, in words.
    requirements
        File of pinned requirements, or None if our own environment has what it needs.
    required_ratio
        The largest allowed ratio of our time to theirs, or None.
    """

    name: str
    side: str
    computes: str
    requirements: Path | None = None
    required_ratio: float | None = None


OUR_SIDE = "benchmarks.competitors.shipped_check:SIDE"
COMPETITORS = {
    competitor.name: competitor
    for competitor in (
        Competitor(
            "np_sort",
            "benchmarks.competitors.numpy_sort:COLUMNS",
            "one np.sort of the window, columns contiguous",
            required_ratio=5.0,
        ),
        Competitor("np_sort_rows", "benchmarks.competitors.numpy_sort:ROWS", "the same sort, rows contiguous"),
        Competitor(
            "scipy",
            "benchmarks.competitors.scipy_loop:SIDE",
            "KS, chi-squared, PSI, JS, Wasserstein, Bonferroni",
            required_ratio=0.1,
        ),
        Competitor(
            "nannyml",
            "benchmarks.competitors.nannyml_calculator:SIDE",
            "KS, Wasserstein (of bins, from 10,000 rows on), JS; chi-squared, JS",
            _FOLDER / "nannyml.txt",
            required_ratio=0.2,
        ),
        Competitor(
            "alibi",
            "benchmarks.competitors.alibi_tabular:SIDE",
            "KS; chi-squared; Bonferroni",
            _FOLDER / "alibi_detect.txt",
        ),
        Competitor(
            "evidently",
            "benchmarks.competitors.evidently_reports:MEASURES",
            "KS, PSI, JS, Wasserstein; chi-squared, PSI, JS; charts",
            _FOLDER / "evidently.txt",
            required_ratio=0.02,
        ),
        Competitor(
            "evidently_preset",
            "benchmarks.competitors.evidently_reports:PRESET",
            "one measure per feature: Wasserstein or JS; charts",
            _FOLDER / "evidently.txt",
        ),
    )
}

# Two runs of evidently would take most of the time.
DEFAULT_COMPETITORS = tuple(name for name in COMPETITORS if name != "evidently_preset")
