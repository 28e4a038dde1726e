"""Quantiles of histograms; the oracle is Prometheus itself (promtool evaluates ``histogram_quantile``)."""

import subprocess
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
import yaml

from inference.traffic import CONFIDENCE_EDGES, LATENCY_EDGES
from monitoring.pages.figures import histogram_quantile
from tests.services.debian_programs import program

BILLION = 10**9  # promtool compares exactly: billionths, as whole numbers


def histograms() -> list[tuple[tuple[float, ...], list[int]]]:
    """Return full, sparse and one-sided histograms."""
    rng = np.random.default_rng(1)
    found: list[tuple[tuple[float, ...], list[int]]] = []
    for edges in (LATENCY_EDGES, CONFIDENCE_EDGES):
        length = len(edges) + 1
        found += [(edges, rng.poisson(mean, length).tolist()) for mean in (0.3, 3, 200)]
        found += [(edges, np.eye(length, dtype=int)[place].tolist()) for place in (0, 4, length - 1)]
    return found


def test_quantiles_equal_those_of_prometheus(tmp_path: Path) -> None:
    series, cases = [], []
    for place, (edges, counts) in enumerate(histograms()):
        for edge, count in zip([*map(repr, edges), "+Inf"], accumulate(counts), strict=True):
            series.append({"series": f'h_bucket{{case="{place}",le="{edge}"}}', "values": str(count)})
        for q in (0.05, 0.5, 0.95, 0.99):
            value = histogram_quantile(q, edges, counts)
            expected = [] if value is None else [{"labels": f'{{case="{place}"}}', "value": round(value * BILLION)}]
            expression = f'round(histogram_quantile({q}, h_bucket{{case="{place}"}}) * {BILLION})'
            cases.append({"expr": expression, "eval_time": "0m", "exp_samples": expected})
    rules = {"rule_files": [], "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": cases}]}
    path = tmp_path / "quantiles.yml"
    path.write_text(yaml.safe_dump(rules))
    done = subprocess.run(
        [program("promtool"), "test", "rules", str(path)], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_empty_histogram_has_no_quantile() -> None:
    assert histogram_quantile(0.5, (1.0, 2.0), [0, 0, 0]) is None


@pytest.mark.parametrize(("counts", "value"), [([4, 0, 0], 0.5), ([0, 0, 3], 2.0), ([1, 1, 0], 1.0)])
def test_within_a_bucket_it_is_linear_and_above_the_last_edge_that_edge(counts: list[int], value: float) -> None:
    assert histogram_quantile(0.5, (1.0, 2.0), counts) == value
