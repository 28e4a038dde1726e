"""Equal challengers pass all steps: accelerated rollouts through the real routing, counting and controller.

Each request is routed by the weights that the controller has set, and counted as serving does; only HTTP, the model and
the ten seconds between two runs of the controller are left out. Events come from a seeded generator.
"""

import random
from collections.abc import Iterator, Mapping

import pytest
import redis
from django.db.models import Sum

from inference.serving import serving
from models_registry.models import ModelVersion
from models_registry.services.versions import promote
from rollouts.models import Rollout, RolloutIncident, RolloutInterval, State
from rollouts.plan import Guardrail, Measure, Step
from tests.rollouts.rollout_cases import controlled, running, two_versions

pytestmark = [pytest.mark.django_db, pytest.mark.timeout(300)]

LIMIT_SECONDS = 0.1
GUARDRAILS = (Guardrail(Measure.ERRORS), Guardrail(Measure.LATENCY, LIMIT_SECONDS))
STEPS = tuple(Step(share, minimum_requests=60, minimum_seconds=0) for share in (0.05, 0.1, 0.25, 0.5))
ROUND_REQUESTS = 600  # between two runs of the controller
MOST_ROUNDS = 100
RATES = (0.001, 0.01, 0.1, 0.3)  # of errors; slow requests are the other way round
SEED = 20_261_130


@pytest.fixture
def versions(redis_client: redis.Redis) -> Iterator[tuple[ModelVersion, ModelVersion]]:
    state = random.getstate()
    yield two_versions()
    random.setstate(state)


def sent_requests(rng: random.Random, error_rates: Mapping[str, float], slow_rates: Mapping[str, float]) -> None:
    """Route and count the requests of a round; half of them have one of 5,000 routing keys."""
    state = serving()
    served = state.snapshot().models["iris"]
    assert served.rollout is not None
    for _ in range(ROUND_REQUESTS):
        key = f"user-{rng.randrange(5000)}" if rng.random() < 0.5 else None
        chosen = served.route(key)
        routed = served.rollout.routed(chosen.id, key)
        assert routed is not None
        is_slow = rng.random() < slow_rates[chosen.version]
        seconds = 2 * LIMIT_SECONDS if is_slow else LIMIT_SECONDS / 2
        state.rollouts.count(routed, is_error=rng.random() < error_rates[chosen.version], latency_seconds=seconds)


def ended_rollout(versions: tuple[ModelVersion, ModelVersion], number: int, *, ratio: float = 1.0) -> Rollout:
    """Return a rollout that has ended, whose challenger has `ratio` times the champion's errors."""
    promote(version=versions[0])  # the challenger of the rollout before may have kept its share
    for version in versions:
        version.refresh_from_db()
    random.seed(SEED + number)  # chooses the version of requests without a key
    rng = random.Random(SEED - number)  # noqa: S311 -- seeded on purpose
    rate = RATES[number % len(RATES)]
    slow_rate = RATES[-1 - number % len(RATES)]
    rollout = running(*versions, steps=STEPS, guardrails=GUARDRAILS)
    for _ in range(MOST_ROUNDS):
        sent_requests(rng, {"1.0.0": rate, "1.1.0": rate * ratio}, {"1.0.0": slow_rate, "1.1.0": slow_rate})
        if controlled(rollout).state != State.RUNNING:
            return rollout
    raise AssertionError(f"Rollout {number} has not ended: {rollout.waiting_for}")


def test_equal_challengers_pass_all_steps_in_95_of_100_rollouts(versions: tuple[ModelVersion, ModelVersion]) -> None:
    rollouts = [ended_rollout(versions, number) for number in range(100)]
    passed = [one for one in rollouts if one.state == State.SUCCEEDED]
    # A rollout is rolled back with a probability of 1 % at most, so SciPy's binom.sf(5, 100, .01) = 5e-4 of such tests
    # have fewer than 95 that pass.
    assert len(passed) >= 95
    assert {one.step_index for one in passed} == {len(STEPS) - 1}
    assert {one.state for one in rollouts} <= {State.SUCCEEDED, State.ROLLED_BACK}
    assert RolloutIncident.objects.count() == 100 - len(passed)
    counted = RolloutInterval.objects.filter(measure=Measure.ERRORS).aggregate(Sum("challenger_events"))
    assert counted["challenger_events__sum"] > 1000  # the guardrails had something to judge


def test_worse_challengers_do_not_pass_in_the_same_way(versions: tuple[ModelVersion, ModelVersion]) -> None:
    numbers = [number for number in range(20) if RATES[number % len(RATES)] >= 0.1]
    rollouts = [ended_rollout(versions, number, ratio=3.0) for number in numbers]
    assert [one.state for one in rollouts] == [State.ROLLED_BACK] * len(numbers)
