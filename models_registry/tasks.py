"""The background tasks of the registry."""

from celery import shared_task

from models_registry.services.references import enqueue_waiting_references, profile_reference, rebuild_next_profile


@shared_task(ignore_result=True, soft_time_limit=840, time_limit=900)
def profile_uploaded_reference(reference_id: int) -> None:
    """Profile an uploaded reference; a second delivery does nothing."""
    profile_reference(reference_id=reference_id)


@shared_task(ignore_result=True, soft_time_limit=50, time_limit=60)
def recover_references() -> None:
    """Enqueue references whose first message was lost, or whose worker died."""
    enqueue_waiting_references()


@shared_task(ignore_result=True, soft_time_limit=840, time_limit=900)
def rebuild_profiles() -> None:
    """Rebuild the profiles of an earlier release, one in each task, until none is left."""
    if rebuild_next_profile() is not None:
        rebuild_profiles.delay()
