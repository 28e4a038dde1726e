"""Keeping the live windows at their bound in rows."""

import redis
from django.conf import settings

from drift.selectors import policy_for
from inference.archive_queue import first_unarchived
from inference.redis_client import redis_client
from inference.stream import rows_seen, trim_to_rows
from models_registry.models import ModelVersion, Stage


def trim_live_windows() -> int:
    """Drop what is beyond the live window of each version; return how many entries went.

    The window is as long as the setting says, or as long as the model's policy needs. What is not archived stays beyond
    it, up to the bound of the stream; what is dropped there the archive counts as lost.
    """
    client = redis_client()
    versions = list(ModelVersion.objects.exclude(stage=Stage.ARCHIVED).select_related("model__drift_policy"))
    seen = rows_seen(client, [version.pk for version in versions])
    dropped = 0
    for version in versions:
        rows = max(settings.MLMON_LIVE_WINDOW_ROWS, policy_for(version.model).longest_window_rows)
        if seen[version.pk] > rows:
            dropped += _trim(client, version.pk, rows)
    return dropped


def _trim(client: redis.Redis, version_id: int, rows: int) -> int:
    beyond_window = trim_to_rows(client, version_id, rows, keep_from=first_unarchived(client, version_id))
    return beyond_window + trim_to_rows(client, version_id, max(rows, settings.MLMON_STREAM_ROWS))
