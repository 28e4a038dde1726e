"""What each figure is: the definition that stands beside it in the API and on the pages."""

from collections.abc import Mapping
from dataclasses import dataclass

from mlmon.results import Method


@dataclass(frozen=True, slots=True)
class Definition:
    """How a measure is defined.

    Attributes
    ----------
    name
        As people know it.
    text
        Formula, bins and logarithm, in a sentence or two. p is the reference's share, q the window's.
    largest
        The largest value that there can be, in words.
    oracle
        Whose figures it equals.
    """

    name: str
    text: str
    largest: str
    oracle: str


DEFINITIONS: Mapping[Method, Definition] = {
    Method.KOLMOGOROV_SMIRNOV: Definition(
        "Kolmogorov-Smirnov distance",
        "The largest distance of the two distribution functions, sup |F - G|. Its p-value is that of independent rows.",
        "1",
        "scipy.stats.ks_2samp",
    ),
    Method.CHI_SQUARED: Definition(
        "Cohen's w",
        "sqrt(max(0, (X2 - df) / N)) with N = n m / (n + m): the size of the two-sample chi-squared statistic, less "
        "what chance adds. Of levels, pooled until each expects 20 rows of the window; of numbers with more than 20 "
        "values, between the reference's deciles.",
        "about sqrt((n + m) / N)",
        "scipy.stats.chi2_contingency, without continuity correction",
    ),
    Method.WASSERSTEIN: Definition(
        "Wasserstein distance, normalised",
        "How far a value has to move on average to turn one sample into the other, integral |F - G|, in standard "
        "deviations of the reference (ddof 0, at least .001).",
        "none",
        "evidently",
    ),
    Method.POPULATION_STABILITY_INDEX: Definition(
        "Population stability index",
        "Sum of (p - q) ln(p / q) over the reference's deciles, or the levels, with half a row added to each bin.",
        "none",
        "its formula; N(0,1) against N(1,1) in deciles is .926",
    ),
    Method.JENSEN_SHANNON_DISTANCE: Definition(
        "Jensen-Shannon distance",
        "The root of the Jensen-Shannon divergence, natural logarithm, over Sturges' bins of both samples, or levels.",
        "sqrt(ln 2) = .833",
        "evidently",
    ),
    Method.JENSEN_SHANNON_DIVERGENCE: Definition(
        "Jensen-Shannon divergence",
        "Half the sum of the Kullback-Leibler divergences from the mean of both distributions, natural logarithm, over "
        "Sturges' bins of both samples, or levels.",
        "ln 2 = .693",
        "scipy.spatial.distance.jensenshannon, squared",
    ),
    Method.HELLINGER: Definition(
        "Hellinger distance",
        "sqrt(1/2 sum (sqrt p - sqrt q)^2) over Doane's bins of the reference and one for all values outside, or "
        "levels.",
        "1",
        "nannyml",
    ),
    Method.L_INFINITY: Definition(
        "L-infinity distance",
        "The largest change of a single share, max |p - q|, over the levels, or the bins of the Hellinger distance.",
        "1",
        "nannyml",
    ),
}

PHI = (
    "phi: how many times the counts of windows vary more than those of independent rows, measured on the reference in "
    "its own order."
)
P_VALUE = (
    "The probability of a distance at least as large by chance. The verdict's is corrected for dependence in time: X2 "
    "is divided by phi, and so is N in the law of the Kolmogorov-Smirnov distance."
)
EFFECT = (
    "Cohen's w; a change below .15 is never an alarm. Of missing values: the difference of the shares, at least .02."
)
CORRELATION_CHANGE = (
    "Spearman's rho of each pair of numeric features in both samples, tested by the difference of Fisher's z with the "
    "variance that the rows show; p is multiplied by the number of pairs, and shown below .001. For information: rows "
    "count as independent."
)
JOINT_CHANGE = (
    "The area under the ROC curve of a classifier that learned on half of the rows to tell the window from the "
    "reference, on the other half: .5 where they cannot be told apart. p is that of the one-sided Mann-Whitney test. "
    "For information: rows count as independent."
)
