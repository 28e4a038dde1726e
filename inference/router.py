"""Which version answers."""

import hashlib
import random

from inference.exceptions import NoVersionLoadedError
from inference.snapshot import LoadedVersion, ServedModel


def choose_version(model: ServedModel, routing_key: str | None) -> LoadedVersion:
    """Return the production version that answers, by the traffic weights.

    With a `routing_key` the choice is a function of the key alone, so that a caller stays on one version for as long
    as the weights stay; without one it is random.

    Raises
    ------
    NoVersionLoadedError
        No version of the model is in production.
    """
    if not model.production:
        raise NoVersionLoadedError(f"Model {model.name!r} has no version in production.")
    if len(model.production) == 1:
        return model.production[0]
    weights = [version.traffic_weight for version in model.production]
    point = _unit_interval(routing_key, model.name) * sum(weights)
    for version, weight in zip(model.production, weights, strict=True):
        point -= weight
        if point < 0:
            return version
    return model.production[-1]


def _unit_interval(routing_key: str | None, salt: str) -> float:
    if routing_key is None:
        return random.random()  # noqa: S311 -- a share of traffic, no secret
    digest = hashlib.blake2b(routing_key.encode(), digest_size=8, person=salt.encode()[:16]).digest()
    return int.from_bytes(digest, "big") / 2**64
