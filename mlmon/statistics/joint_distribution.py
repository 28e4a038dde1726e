"""Change of the features' joint distribution: can a classifier separate the window's rows from the reference's?

A classifier may find what no single feature and no pair shows: a combination that the reference does not have. It
learns on one half of the rows, and its scores of the other half are compared by the Mann-Whitney test, whose statistic
is the area under the ROC curve (D. Lopez-Paz and M. Oquab, *Revisiting Classifier Two-Sample Tests*, 2017).

There is a single split instead of cross-validation: given the classifier, held-out rows are independent of it and the
variance of the test is right. Folds that judge each other find the same accidental similarities twice. Without any
change, the variance of their summed statistic was 1.6 times that of the test with two folds and 1.5 times with five,
and p was below .01 in 4 and 3 % of the draws. Most of the rows that cross-validation adds are lost again, for two to
five times the cost.

The result is for information and no part of the verdict: rows count as independent of each other, and successive
windows share rows. Blocks of neighbouring rows stay in one half, so that rows that resemble their neighbours do not
give themselves away. A window that is a stretch of time still differs from the reference as stretches of time do.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlmon.exceptions import MissingExtraError
from mlmon.profile import compared_kind, evenly_spaced
from mlmon.results import JointChange
from mlmon.schema import FeatureKind

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier

MOST_ROWS = 5_000  # of each sample
SMALLEST_SAMPLE = 200
BLOCKS = 20  # of neighbouring rows, alternately to learn from and to judge by
LARGEST_CATEGORY_SHARE = 0.5  # categories for each row; a column with more identifies rows
TREES = 30
LEAVES = 8
SMALLEST_LEAF = 20
SEED = 0
LARGEST_P_VALUE = 1e-3
SMALLEST_COST = 0.01  # of the area; a feature with less is not named
SMALLEST_PART = 0.2  # of the strongest feature's cost
MOST_NAMED = 10
MOST_SHUFFLED = 500  # held-out rows of each sample, which are predicted once for each feature
AT_ONCE = 16  # features that are shuffled for one prediction: each call has its cost, and each feature its memory


def joint_change(reference: pa.Table, current: pa.Table) -> JointChange | None:
    """Return how well a classifier separates two samples of rows.

    Parameters
    ----------
    reference, current
        Rows in the order of time. Columns that both have with the same kind are used: numbers (NaN and null are
        missing, infinities are values) and strings (null is missing). Columns with one value in both, and columns with
        more categories than half of the rows, are left out. Of more than 5,000 rows 5,000 are used, evenly spaced.

    Returns
    -------
    JointChange or None
        The area, and the one-sided p-value of the Mann-Whitney test against .5, on the held-out half; corrected for
        ties. With a p-value below 1e-3, also the features whose shuffling among the held-out rows costs at least .01 of
        the area, and a fifth of what the strongest one costs; at most ten, strongest first. Of features with the same
        content, shuffling one costs little; with an area near .5, chance names some too. None with fewer than 200 rows
        in either sample, or without columns.

    Raises
    ------
    MissingExtraError
        scikit-learn or threadpoolctl is not installed.

    Notes
    -----
    The classifier (gradient-boosted trees of scikit-learn) uses ranks, so nothing depends on a column's scale. The same
    rows always give the same result.

    Measured on 1,500 pairs of samples without change (2,000 and 1,000 rows, four normal columns and two of 30
    categories): the mean area was .500, and p was below .5 in 49 %, below .05 in 4.4 %, below .01 in .7 % and below
    .001 in none. With six columns that were AR(1) processes, p was below .001 in none of 100 windows of 1,000 rows with
    a coefficient of .5, and in 14 with one of .8. 5,000 rows against 1,000 take .05 s with 10 columns and .25 s with
    100 on one core; .1 and .65 s if features are named. The first call of a process imports scikit-learn, which takes a
    second more.
    """
    if min(reference.num_rows, current.num_rows) < SMALLEST_SAMPLE:
        return None
    samples = [evenly_spaced(rows, MOST_ROWS) for rows in (reference, current)]
    shared = [name for name in samples[0].column_names if name in samples[1].column_names]
    encoded = {name: _encoded(*(sample.column(name) for sample in samples)) for name in shared}
    columns = {name: values for name, values in encoded.items() if values is not None}
    if not columns:
        return None
    try:
        # Imported here: it takes a second and tens of megabytes, and the library works without the extra.
        from sklearn.ensemble import HistGradientBoostingClassifier
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
    except ImportError as error:
        message = (
            "Comparing the columns together (--joint) needs scikit-learn. Install it with: pip install 'mlmon[joint]'"
        )
        raise MissingExtraError(message) from error
    is_current = np.repeat([False, True], [sample.num_rows for sample in samples])
    # Every other block is held out.
    held_out = np.concatenate([np.arange(sample.num_rows) * BLOCKS // sample.num_rows % 2 == 1 for sample in samples])
    values = np.column_stack(list(columns.values()))
    classifier = HistGradientBoostingClassifier(
        max_iter=TREES,
        max_leaf_nodes=LEAVES,
        min_samples_leaf=SMALLEST_LEAF,
        categorical_features=None,
        early_stopping=False,
        random_state=SEED,
    )
    # One thread: a pool of OpenMP threads does not survive a worker's fork, and other workers need the cores. The limit
    # holds for libraries that are loaded, so the classifier is created first.
    with threadpool_limits(limits=1):
        classifier.fit(values[~held_out], is_current[~held_out])
        judged = _HeldOutRows(classifier, values[held_out], is_current[held_out])
        auc, p_value = judged.area()
        telling = judged.telling(list(columns)) if p_value < LARGEST_P_VALUE else ()
    return JointChange(auc=auc, p_value=p_value, telling_features=telling)


@dataclass(frozen=True, slots=True, eq=False)
class _HeldOutRows:
    """Rows that the classifier has not learned from."""

    classifier: "HistGradientBoostingClassifier"
    rows: NDArray[np.float64]
    is_current: NDArray[np.bool_]

    def area(self) -> tuple[float, float]:
        """Return the area under the ROC curve, and its p-value."""
        return self._area_of(self.classifier.predict_proba(self.rows)[:, 1])

    def telling(self, names: list[str]) -> tuple[str, ...]:
        """Return the features whose shuffling costs most, strongest first."""
        places = [np.flatnonzero(self.is_current == side) for side in (False, True)]
        kept = np.concatenate(
            [each[np.linspace(0, each.size - 1, min(each.size, MOST_SHUFFLED)).astype(np.int64)] for each in places]
        )
        fewer = replace(self, rows=self.rows[kept], is_current=self.is_current[kept])
        area, _ = fewer.area()
        areas = [found for first in range(0, len(names), AT_ONCE) for found in fewer._areas_when_shuffled(first)]
        costs = {name: area - found for name, found in zip(names, areas, strict=True)}
        strongest = sorted(costs, key=lambda name: -costs[name])
        smallest = max(SMALLEST_COST, SMALLEST_PART * costs[strongest[0]])
        return tuple(name for name in strongest[:MOST_NAMED] if costs[name] >= smallest)

    def _area_of(self, scores: NDArray[np.float64]) -> tuple[float, float]:
        from scipy.stats import mannwhitneyu  # imported here because it takes 40 MB

        of_current, of_reference = scores[self.is_current], scores[~self.is_current]
        test = mannwhitneyu(of_current, of_reference, alternative="greater", method="asymptotic")
        p_value = float(test.pvalue)
        # If all scores are equal, there is no variance and no difference.
        return float(test.statistic) / (of_current.size * of_reference.size), 1.0 if np.isnan(p_value) else p_value

    def _areas_when_shuffled(self, first: int) -> list[float]:
        """Return the areas with one feature of a group shuffled each: one prediction for them all."""
        features = range(first, min(first + AT_ONCE, self.rows.shape[1]))
        order = np.random.default_rng(SEED).permutation(len(self.rows))
        shuffled = np.repeat(self.rows[None], len(features), axis=0)
        for copy, feature in zip(shuffled, features, strict=True):
            copy[:, feature] = self.rows[order, feature]
        scores = self.classifier.predict_proba(shuffled.reshape(-1, self.rows.shape[1]))[:, 1]
        return [self._area_of(part)[0] for part in scores.reshape(len(features), -1)]


def _encoded(reference: Any, current: Any) -> NDArray[np.float64] | None:
    """Return a column of both samples in numbers, the reference's rows first; None if it cannot be used.

    Numbers become ranks among the distinct ones, and categories places by falling count; NaN is missing. Places rather
    than categories to the classifier, whose handling of those takes several times as long; a tree separates a single
    category by two splits.
    """
    values: NDArray[np.float64]
    kind = compared_kind(reference.type)
    if kind is None or compared_kind(current.type) is not kind:
        return None
    if kind is FeatureKind.NUMERIC:
        both = np.concatenate([np.asarray(part.to_numpy(), dtype=np.float64) for part in (reference, current)])
        has_value = ~np.isnan(both)
        values = np.full(both.size, np.nan)
        values[has_value] = np.unique(both[has_value], return_inverse=True)[1]
    else:
        strings = pa.concat_arrays([chunk.cast(pa.string()) for part in (reference, current) for chunk in part.chunks])
        encoded = strings.dictionary_encode()
        n_categories = len(encoded.dictionary)
        if n_categories > LARGEST_CATEGORY_SHARE * len(strings):
            return None
        indices: Any = encoded.indices
        codes = np.asarray(indices.fill_null(n_categories), dtype=np.int64)
        counts = np.bincount(codes, minlength=n_categories + 1)[:n_categories]
        places = np.empty(n_categories + 1)
        places[np.argsort(-counts, kind="stable")] = np.arange(n_categories)
        places[n_categories] = np.nan
        values = places[codes]
    is_missing = np.isnan(values)
    varies = not is_missing.all() if is_missing.any() else bool((values != values[0]).any())
    return values if varies else None
