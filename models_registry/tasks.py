"""Background work of the registry."""

from celery import shared_task

from models_registry.services.references import enqueue_waiting_references, profile_reference


@shared_task(name="models_registry.tasks.profile_reference", time_limit=900, soft_time_limit=840)
def profile_reference_task(reference_id: int) -> None:
    """Profile an uploaded reference; harmless when it is delivered twice."""
    profile_reference(reference_id=reference_id)


@shared_task(name="models_registry.tasks.enqueue_waiting_references", time_limit=60, soft_time_limit=50)
def enqueue_waiting_references_task() -> None:
    """Enqueue references whose first message was lost, or whose worker died."""
    enqueue_waiting_references()
