"""Quantiles of histograms, as Prometheus computes them."""

from collections.abc import Sequence


def histogram_quantile(q: float, edges: Sequence[float], counts: Sequence[int]) -> float | None:
    """Return a quantile of a histogram; None where it is empty.

    Linear within a bucket, from 0 in the first one, and the highest edge for what is above it: PromQL's
    ``histogram_quantile`` (https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile).

    Parameters
    ----------
    q
        Between 0 and 1.
    edges
        Upper edges, ascending and above 0, shape (n,).
    counts
        In each bucket and above the last edge, not cumulative, shape (n + 1,).
    """
    rank = q * sum(counts)
    if not sum(counts):
        return None
    below = 0
    for place, count in enumerate(counts[:-1]):
        if below + count >= rank and count:
            lower = edges[place - 1] if place else 0.0
            return float(lower + (edges[place] - lower) * (rank - below) / count)
        below += count
    return float(edges[-1])
