"""The smallest change of each kind that a window could have shown as an alarm."""

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from scipy.special import chdtri, fdtri, stdtrit

from mlmon.detection.dependence import OutcomeBlocks
from mlmon.detection.numeric import LARGEST_NU, TAILS
from mlmon.detection.rule import SMALLEST_EFFECT, SMALLEST_MISSING_DIFFERENCE
from mlmon.detection.shares import smallest_visible_shares
from mlmon.detector import PREDICTIONS, Detector, is_ordered
from mlmon.prepared import PreparedReference
from mlmon.profile import CategoricalProfile
from mlmon.results import Channel, Test
from mlmon.verdict import VerdictPlan
from mlmon.window_tests import CATEGORY_TESTS, ORDERED_TESTS

MOST_BINS = 10
UPPER_SHARE = 0.01  # of the reference beyond the cut that stands for the tails
LARGEST_DEGREES = 1e9
NOTHING_VISIBLE: Mapping[str, Mapping[Test, float]] = MappingProxyType({})


def smallest_visible(
    reference: PreparedReference, detector: Detector, plan: VerdictPlan
) -> Mapping[str, Mapping[Test, float]]:
    """Return for each feature and test the smallest effect that is an alarm, or share, if the test is of shares.

    In the main window, with the missing values and the mix of phases that the reference has; more missing values come
    one by one where the reference does not show how they come. A test that no finite effect would pass is left out. It
    is computed once for each plan.
    """
    key = (plan.budget, plan.features, plan.window_rows, detector.is_seasonal)
    if key not in reference.visible:
        reference.visible.clear()
        reference.visible[key] = _computed(reference.n_rows, detector, plan)
    return reference.visible[key]


def _computed(reference_rows: int, detector: Detector, plan: VerdictPlan) -> Mapping[str, Mapping[Test, float]]:
    rows, windows = plan.window_rows[0], len(plan.window_rows)
    names = [name for name in detector.columns if name != PREDICTIONS]
    profiles = [detector.columns[name] for name in names]
    dispersions = [detector.dispersion(rows)[name] for name in names]
    ordered = np.array([is_ordered(each) for each in profiles], dtype=np.bool_)
    missing = np.array([each.n_missing for each in profiles], dtype=np.float64)
    categories = np.array(
        [max(1, len(each.categories) if isinstance(each, CategoricalProfile) else each.n_distinct) for each in profiles]
    )
    m = np.maximum(1.0, reference_rows - missing)
    n = np.maximum(1.0, np.round(rows * m / reference_rows))
    phi = np.array([each.values.phi for each in dispersions])
    nu = np.array([min(max(1.0, each.values.nu), LARGEST_DEGREES) for each in dispersions])
    effective = n * m / (n + m) / phi
    alpha = plan.alpha(Channel.DISTRIBUTION) / windows / np.where(ordered, len(ORDERED_TESTS), len(CATEGORY_TESTS))
    of_means = np.maximum(SMALLEST_EFFECT, -stdtrit(nu, alpha / 2) / np.sqrt(effective))
    df = np.where(ordered, MOST_BINS, np.minimum(categories, MOST_BINS)) - 1.0
    some = np.maximum(df, 1.0)
    critical = np.where(nu > LARGEST_NU, chdtri(some, alpha), some * fdtri(some, np.minimum(nu, LARGEST_NU), 1 - alpha))
    of_tables = np.maximum(SMALLEST_EFFECT, np.sqrt(np.maximum(0.0, critical - some) / effective))
    # Share tests: first of the tails (corrected for their number), or of a category that the reference does not have
    # (for that of the categories), then of missing values.
    counts = np.array([[n, np.ones_like(n)], [np.where(ordered, UPPER_SHARE * m, 0.0), missing], [m, np.ones_like(m)]])
    alphas = np.array([alpha / np.where(ordered, TAILS, categories + 1), np.ones_like(alpha)])
    alphas[1] = plan.alpha(Channel.MISSING_VALUES) / windows
    phis, nus, longest = np.array([phi, np.ones_like(phi)]), np.array([nu, np.full_like(nu, np.inf)]), np.ones_like(phi)
    for place, each in enumerate(dispersions):
        if isinstance(each.missing, OutcomeBlocks):  # of rows that come one by one: each is an event of its own
            blocks, longest[place] = each.missing, each.missing.rows
            counts[:, 1, place] = math.ceil(rows / blocks.rows), blocks.reference_events, blocks.reference_blocks
        else:
            counts[:, 1, place] = rows, missing[place], reference_rows
            phis[1, place], nus[1, place] = each.missing.phi, max(1.0, each.missing.nu)
    of_shares, of_missing = smallest_visible_shares(*counts, alpha=alphas, phi=phis, nu=nus)
    of_missing = np.where(of_missing < 1, of_missing / longest, 1.0)
    of_missing = np.maximum(of_missing, missing / reference_rows + SMALLEST_MISSING_DIFFERENCE)
    found: dict[str, Mapping[Test, float]] = {}
    for place, name in enumerate(names):
        sizes: dict[Test, float] = {}
        if ordered[place]:
            sizes = {
                Test.LOCATION: of_means[place],
                Test.SCALE: of_means[place],
                Test.SHAPE: of_tables[place],
                Test.TAILS: of_shares[place],
            }
        elif df[place] > 0:
            sizes = {Test.CATEGORIES: of_tables[place], Test.CATEGORY: of_shares[place]}
        else:
            sizes = {Test.CATEGORY: of_shares[place]}
        if dispersions[place].values.needed_rows:
            sizes = {}
        sizes[Test.MISSING] = of_missing[place]
        found[name] = {test: float(size) for test, size in sizes.items() if np.isfinite(size)}
    return found
