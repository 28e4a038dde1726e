"""A check that a person asks for, though none is due."""

from accounts.actors import Actor
from accounts.services.changes import record_change
from drift.exceptions import NothingToCheckError
from drift.models import DriftCheck
from drift.services.checks import run_drift_check
from models_registry.models import ModelVersion


def check_by_hand(*, version: ModelVersion, user: Actor) -> DriftCheck:
    """Check the newest window of a version now.

    Raises
    ------
    NothingToCheckError
        There is nothing new to compare: no reference, too few rows, or no row since the last check.
    redis.RedisError
        The live window could not be read.
    """
    check = run_drift_check(version_id=version.pk)
    if check is None:
        raise NothingToCheckError
    record_change(user=user, row=check, message="Checked by hand.")
    return check
