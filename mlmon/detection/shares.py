"""The share test: whether an outcome is more or less frequent in a window than in its reference."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln, ndtri
from scipy.stats import t as student

FLOORED_FROM = 1.05  # dispersion from which on a count of effective rows is rounded down
SMALLEST_TERM = 1e-17  # of the tail's sum, relative to the sum


def share_p_values(
    current: ArrayLike,
    n: ArrayLike,
    reference: ArrayLike,
    m: ArrayLike,
    *,
    phi: ArrayLike = 1.0,
    nu: ArrayLike = np.inf,
) -> NDArray[np.float64]:
    """Return the two-sided p-values of shares in two samples.

    For phi = 1 and infinite nu, twice the upper tail of the hypergeometric distribution for the sample in which the
    share is larger: one-sided Fisher's exact test, doubled. If rows depend on each other, all counts are divided by
    phi, and the normal quantile of the p-value is judged by Student's t with nu degrees of freedom, because phi is an
    estimate.

    Parameters
    ----------
    current, reference
        Rows with the outcome in each sample; arrays of one shape, or broadcast to it.
    n, m
        Rows of each sample.
    phi, nu
        The dispersion, at least 1, and its degrees of freedom.

    Returns
    -------
    ndarray
        p-values in (0, 1], of the common shape; 1 if the shares are equal or a sample has no rows.

    Examples
    --------
    >>> float(share_p_values(8, 100, 10, 1000).round(6))
    0.000144
    """
    arrays = np.broadcast_arrays(*(np.asarray(each, dtype=np.float64) for each in (current, n, reference, m, phi, nu)))
    shape = arrays[0].shape
    k, n_, k_reference, m_, dispersion, degrees = (np.ravel(each) for each in arrays)
    p_values = np.ones(k.size)
    with np.errstate(divide="ignore", invalid="ignore"):
        is_higher = k / n_ > k_reference / m_
        differs = (k / n_ != k_reference / m_) & (n_ > 0) & (m_ > 0)
    chosen = np.flatnonzero(differs)
    if not chosen.size:
        return p_values.reshape(shape)
    k, n_, k_reference, m_, dispersion, degrees, is_higher = (
        each[chosen] for each in (k, n_, k_reference, m_, dispersion, degrees, is_higher)
    )
    count, size = np.where(is_higher, k, k_reference) / dispersion, np.where(is_higher, n_, m_) / dispersion
    count = np.where(dispersion > FLOORED_FROM, np.floor(count), count)
    tail = hypergeometric_tail(count, (n_ + m_) / dispersion, (k + k_reference) / dispersion, size)
    found = np.minimum(1.0, 2 * tail)
    uncertain = np.isfinite(degrees) & (found < 1)
    if uncertain.any():
        found[uncertain] = 2 * student.sf(-ndtri(found[uncertain] / 2), degrees[uncertain])
    p_values[chosen] = np.minimum(1.0, found)
    return p_values.reshape(shape)


def hypergeometric_tail(
    count: NDArray[np.float64], population: NDArray[np.float64], marked: NDArray[np.float64], drawn: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return P(X >= count) of hypergeometric variables, with gamma functions so that every argument may be real.

    Equal to ``scipy.stats.hypergeom.sf(count - 1, population, marked, drawn)`` for whole numbers.
    """
    largest = np.minimum(marked, drawn)
    unmarked = population - marked
    with np.errstate(divide="ignore", invalid="ignore"):
        log_term = (
            _log_binomial(marked, count) + _log_binomial(unmarked, drawn - count) - _log_binomial(population, drawn)
        )
    term = np.where(np.isfinite(log_term), np.exp(np.minimum(log_term, 0.0)), 0.0)
    # A window that cannot hold fewer marked rows than `count` has them for certain.
    term = np.where(count > largest + 1e-9, 0.0, term)
    total = term.copy()
    x = count.copy()
    active = np.flatnonzero(term > 0)
    while active.size:
        a, b = marked[active] - x[active], drawn[active] - x[active]
        ratio = a * b / ((x[active] + 1) * (unmarked[active] - b + 1))
        term[active] *= np.maximum(ratio, 0.0)
        x[active] += 1
        total[active] += term[active]
        active = active[(term[active] > SMALLEST_TERM * total[active]) & (x[active] < largest[active])]
    return np.minimum(1.0, total)


def _log_binomial(n: NDArray[np.float64], k: NDArray[np.float64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return result
