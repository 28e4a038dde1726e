"""System checks of the settings: what would go wrong later is said at the start."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

REDIS_SCHEMES = ("redis://", "rediss://", "unix://")


@register(Tags.security)
def check_production(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """Look for what is fit for one machine only."""
    if not settings.IS_PRODUCTION:
        return []
    found: list[CheckMessage] = []
    if settings.DEBUG:
        found.append(
            Error("MLMON_DEBUG is True in production.", hint="Pages would show settings and code.", id="mlmon.E001")
        )
    if settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        found.append(
            Error(
                "DATABASE_URL names SQLite in production.",
                hint="Use PostgreSQL: SQLite takes one writer at a time, on one machine.",
                id="mlmon.E002",
            )
        )
    if "*" in settings.ALLOWED_HOSTS:
        found.append(
            Warning("MLMON_ALLOWED_HOSTS allows every host.", hint="Name the hosts of this service.", id="mlmon.W001")
        )
    if settings.MLMON_API_ACCESS == "open":
        found.append(
            Warning(
                "MLMON_API_ACCESS is open in production.",
                hint="Everyone who reaches this service may predict and read; use `token`.",
                id="mlmon.W002",
            )
        )
    return found


@register(Tags.compatibility)
def check_redis_url(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """Look whether the address of Redis is one that both redis-py and Celery understand."""
    if settings.REDIS_URL.startswith(REDIS_SCHEMES):
        return []
    hint = f"It must begin with one of {', '.join(REDIS_SCHEMES)}"
    return [Error("REDIS_URL is not the address of a Redis server.", hint=hint, id="mlmon.E003")]


@register(Tags.files)
def check_folders(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """Look whether this process may write where it has to."""
    folders = {"MLMON_MEDIA_ROOT": settings.MEDIA_ROOT, "MLMON_METRICS_DIR": settings.MLMON_METRICS_DIR}
    return [
        Error(f"{name}: {folder} cannot be written to.", hint="Give this user the right to.", id="mlmon.E004")
        for name, folder in folders.items()
        if not _is_writable(Path(folder))
    ]


def _is_writable(folder: Path) -> bool:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
