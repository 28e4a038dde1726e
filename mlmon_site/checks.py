"""System checks that report wrong settings at start."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

REDIS_SCHEMES = ("redis://", "rediss://", "unix://")


@register(Tags.security)
def check_production(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """Report settings of production that are safe only on one's own machine."""
    if not settings.IS_PRODUCTION:
        return []
    found: list[CheckMessage] = []
    if settings.DEBUG:
        found.append(
            Error("MLMON_DEBUG is True in production.", hint="Error pages would show settings.", id="mlmon.E001")
        )
    if settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        found.append(
            Error(
                "DATABASE_URL names SQLite in production.",
                hint="Use PostgreSQL: SQLite allows one writer at a time, on one machine.",
                id="mlmon.E002",
            )
        )
    if "*" in settings.ALLOWED_HOSTS:
        found.append(
            Warning("MLMON_ALLOWED_HOSTS allows every host.", hint="List the names of this service.", id="mlmon.W001")
        )
    if settings.MLMON_API_ACCESS == "open":
        found.append(
            Warning(
                "MLMON_API_ACCESS is open in production.",
                hint="Anyone who can reach this service can predict and read. Set it to `token`.",
                id="mlmon.W002",
            )
        )
    return found


@register(Tags.compatibility)
def check_redis_url(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """Report a Redis address that redis-py or Celery would not understand."""
    if settings.REDIS_URL.startswith(REDIS_SCHEMES):
        return []
    hint = f"Start it with {', '.join(REDIS_SCHEMES[:-1])} or {REDIS_SCHEMES[-1]}."
    return [Error("REDIS_URL is not the URL of a Redis server.", hint=hint, id="mlmon.E003")]


@register(Tags.files)
def check_folders(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """Report folders that this process must write to and cannot."""
    found: list[CheckMessage] = []
    folders = {"MLMON_MEDIA_ROOT": settings.MEDIA_ROOT, "MLMON_METRICS_DIR": settings.MLMON_METRICS_DIR}
    for name, folder in folders.items():
        existing = next(path for path in (Path(folder), *Path(folder).parents) if path.exists())
        if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
            hint = "Give this user write permission."
            found.append(Error(f"{name}: {folder} is not writable.", hint=hint, id="mlmon.E004"))
    return found
