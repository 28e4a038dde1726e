"""Sharing a model's traffic between its versions."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest
from scipy.stats import binomtest

from inference.exceptions import NoVersionLoadedError
from inference.serving import ServedModel


def served(*weights: int) -> ServedModel:
    versions: Any = tuple(
        SimpleNamespace(id=number, version=f"{number}.0.0", traffic_weight=weight, is_served_here=True)
        for number, weight in enumerate(weights)
    )
    return ServedModel(name="m", versions=cast(Any, {}), production=versions, shadows=(), archived=frozenset())


def test_a_key_stays_on_its_version() -> None:
    model = served(50, 50)
    for key in ("user-1", "user-2", "user-3"):
        assert len({model.route(key).version for _ in range(20)}) == 1


def test_while_its_share_grows_the_later_version_only_gains_keys() -> None:
    def keys_of_later(share: int) -> set[str]:
        # As the snapshot orders them: the version with most traffic first.
        versions = sorted(served(100 - share, share).production, key=lambda one: -one.traffic_weight)
        model = replace(served(), production=tuple(versions))
        return {f"user-{i}" for i in range(500) if model.route(f"user-{i}").version == "1.0.0"}

    sets = [keys_of_later(share) for share in (5, 10, 25, 50, 75, 90)]
    assert all(less < more for less, more in pairwise(sets))


def test_the_next_version_gets_other_keys() -> None:
    def keys_of_later(later_id: int) -> set[str]:
        first, later = served(90, 10).production
        other = cast(Any, SimpleNamespace(**{**vars(later), "id": later_id}))
        model = replace(served(), production=(first, other))
        return {f"user-{i}" for i in range(5000) if model.route(f"user-{i}").id == later_id}

    common = len(keys_of_later(1) & keys_of_later(2))
    # scipy's exact binomial test: independent choices of 10 % have 1 % in common.
    assert binomtest(common, 5000, 0.01).pvalue > 1e-6


@pytest.mark.parametrize("with_keys", [True, False])
def test_traffic_follows_the_weights(with_keys: bool) -> None:
    model = served(90, 10)
    counts = Counter(model.route(f"user-{i}" if with_keys else None).version for i in range(5000))
    # scipy's exact binomial test: a true share of 10 % is rejected once in a million runs.
    assert binomtest(counts["1.0.0"], 5000, 0.1).pvalue > 1e-6


def test_a_model_without_a_production_version_predicts_nothing() -> None:
    with pytest.raises(NoVersionLoadedError, match="no version in production"):
        served().route(None)
