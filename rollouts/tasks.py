"""Tasks of rollouts; beat starts them, and each calls one service."""

from celery import shared_task

from rollouts.services import controller, retention

CONTROL_SECONDS = 60  # the time limits stop a run that hangs
DELETING_SECONDS = 20


@shared_task(ignore_result=True, soft_time_limit=CONTROL_SECONDS, time_limit=CONTROL_SECONDS + 15)
def control_rollouts() -> None:
    """Judge the active rollouts."""
    controller.control_rollouts()


@shared_task(ignore_result=True, soft_time_limit=DELETING_SECONDS + 60, time_limit=DELETING_SECONDS + 75)
def delete_old_rows() -> None:
    """Delete rows of ended rollouts."""
    retention.delete_old_rows(seconds=DELETING_SECONDS)
