"""Who changed what: rows of the admin's own log, written in the transaction of the change."""

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db import models


def record_change(*, user: User | None, row: models.Model, message: str) -> None:
    """Write that `user` changed `row`; nothing where a program did it, as the log demands a user."""
    if user is None or not user.pk:
        return
    LogEntry.objects.create(
        user_id=user.pk,
        content_type=ContentType.objects.get_for_model(row),
        object_id=str(row.pk),
        object_repr=str(row)[:200],
        action_flag=CHANGE,
        change_message=message,
    )
