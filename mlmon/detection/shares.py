"""The share test: whether an outcome is more or less frequent in a window than in its reference."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln, ndtri, stdtr

FLOORED_FROM = 1.05  # dispersion from which on a count of effective rows is rounded down
SMALLEST_TERM = 1e-17  # of the tail's sum, relative to the sum
TERMS_AT_ONCE = 32


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
        found[uncertain] = 2 * stdtr(degrees[uncertain], ndtri(found[uncertain] / 2))
    p_values[chosen] = np.minimum(1.0, found)
    return p_values.reshape(shape)


def share_effects(
    current: NDArray[np.float64], n: NDArray[np.float64], reference: NDArray[np.float64], m: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the changes of shares in standard deviations of the outcome in the reference, with their sign.

    An outcome that no row of the reference has counts as half a row, one that every row has as all but half a row.
    Arguments are those of `share_p_values`.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.clip(reference / m, 0.5 / m, 1 - 0.5 / m)
        changes: NDArray[np.float64] = (current / n - reference / m) / np.sqrt(share * (1 - share))
    return np.nan_to_num(changes)


def smallest_visible_shares(
    n: ArrayLike, reference: ArrayLike, m: ArrayLike, *, alpha: ArrayLike, phi: ArrayLike = 1.0, nu: ArrayLike = np.inf
) -> NDArray[np.float64]:
    """Return the smallest shares above those of the reference whose p-values are at most alpha; 1 if there is none.

    By bisection, to a row of the window.
    """
    rows, before, m, phi, nu, level = np.broadcast_arrays(
        *(np.asarray(each, dtype=np.float64) for each in (n, reference, m, phi, nu, alpha))
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = np.floor(rows * before / m), rows.copy()
    while (high - low > 1).any():
        middle = np.floor((low + high) / 2)
        is_visible = share_p_values(middle, rows, before, m, phi=phi, nu=nu) <= level
        low, high = np.where(is_visible, low, middle), np.where(is_visible, middle, high)
    shares: NDArray[np.float64] = high / np.maximum(rows, 1.0)
    return shares


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
    steps = np.arange(TERMS_AT_ONCE)
    while active.size:
        # Each term is the one before times a ratio, which falls, and is 0 beyond the largest count.
        at = x[active, None] + steps
        a, b = marked[active, None] - at, drawn[active, None] - at
        ratios = np.maximum(a, 0.0) * np.maximum(b, 0.0) / ((at + 1) * (unmarked[active, None] - b + 1))
        terms = term[active, None] * np.cumprod(ratios, axis=1)
        total[active] += terms.sum(axis=1)
        term[active] = terms[:, -1]
        x[active] += TERMS_AT_ONCE
        active = active[term[active] > SMALLEST_TERM * total[active]]
    return np.minimum(1.0, total)


def _log_binomial(n: NDArray[np.float64], k: NDArray[np.float64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return result
