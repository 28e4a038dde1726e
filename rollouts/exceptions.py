"""Errors of rollouts; the messages are for the person who caused them."""


class RolloutError(Exception):
    """Base of the errors of rollouts."""


class PlanError(RolloutError):
    """A field of a plan is invalid.

    Parameters
    ----------
    field
        Name of the field, such as `steps[0].share`.
    reason
        What is wrong and what is expected.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class UnknownRolloutError(RolloutError):
    """The model has no such rollout."""

    def __init__(self, model_name: str, rollout_id: int) -> None:
        super().__init__(f"Model {model_name!r} has no rollout {rollout_id}.")


class RolloutStateError(RolloutError):
    """The rollout is in a state in which this is not possible, or another rollout prevents it."""


class ControllerError(RolloutError):
    """Some rollouts could not be controlled; the next run tries again."""
