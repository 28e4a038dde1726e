"""The sides of the drift comparison: ours, the measuring rods, and other libraries."""

from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).resolve().parent
OURS = "benchmarks.rivals.ours"


@dataclass(frozen=True, slots=True)
class Rival:
    """What ours is compared with.

    Attributes
    ----------
    name
        Its key in the figures.
    module
        Prepares and runs it; see `benchmarks.worker.Side`.
    computes
        What it computes for each feature, in words.
    requirements
        Stem of its file of pinned requirements; "" where our own interpreter has what it needs.
    required_ratio
        Ours divided by theirs is to be at most this; None where nothing is promised.
    """

    name: str
    module: str
    computes: str
    requirements: str = ""
    required_ratio: float | None = None

    @property
    def requirements_file(self) -> Path | None:
        """The pinned requirements."""
        return _FOLDER / f"{self.requirements}.txt" if self.requirements else None


RIVALS = {
    rival.name: rival
    for rival in (
        Rival(
            "np_sort",
            "benchmarks.rivals.numpy_sort",
            "one np.sort of the window, columns contiguous",
            required_ratio=5.0,
        ),
        Rival("np_sort_rows", "benchmarks.rivals.numpy_sort_rows", "the same sort, rows contiguous"),
        Rival(
            "scipy",
            "benchmarks.rivals.scipy_loop",
            "KS, chi-squared, PSI, JS, Wasserstein, Bonferroni",
            required_ratio=0.1,
        ),
        Rival(
            "nannyml",
            "benchmarks.rivals.nannyml_calculator",
            "KS, Wasserstein (from 10,000 rows on: of bins), JS; chi-squared, JS",
            "nannyml",
            required_ratio=0.2,
        ),
        Rival("alibi", "benchmarks.rivals.alibi_tabular", "KS; chi-squared; Bonferroni", "alibi_detect"),
        Rival(
            "evidently",
            "benchmarks.rivals.evidently_values",
            "KS, PSI, JS, Wasserstein; chi-squared, PSI, JS; figures",
            "evidently",
            required_ratio=0.02,
        ),
        Rival(
            "evidently_preset",
            "benchmarks.rivals.evidently_preset",
            "one measure a feature: Wasserstein or JS; figures",
            "evidently",
        ),
    )
}

# evidently twice would take most of the time; what its defaults take is asked for by name.
DEFAULT_RIVALS = tuple(name for name in RIVALS if name != "evidently_preset")
