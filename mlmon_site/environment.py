"""Strict readers of environment variables.

Every variable can also come from a file: ``NAME_FILE=/run/secrets/name`` is read instead of ``NAME``.
"""

import contextlib
import os
import secrets
import tempfile
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from environ import FileAwareEnv

from mlmon_site.ports import LARGEST_PORT

LARGEST_INT = 2**63 - 1  # in PostgreSQL and SQLite
MOST_DIGITS = len(str(LARGEST_INT))
SOCKET_PATH_LIMIT = 100  # bytes; the kernel allows 107


class Environment(FileAwareEnv):  # type: ignore[misc]  # django-environ has no annotations
    """django-environ's reader with strict booleans, choices, counts and ports."""

    def strict_bool(self, name: str, *, default: bool) -> bool:
        value = self.str(name, default=str(default))
        if value not in ("True", "False"):
            raise ImproperlyConfigured(f"{name} must be True or False, not {value!r}.")
        return bool(value == "True")

    def choice(self, name: str, choices: tuple[str, ...], *, default: str) -> str:
        value = str(self.str(name, default=default))
        if value not in choices:
            raise ImproperlyConfigured(f"{name} must be one of {', '.join(choices)}, not {value!r}.")
        return value

    def positive_int(self, name: str, *, default: int, most: int = LARGEST_INT) -> int:
        text = str(self.str(name, default=str(default)))
        digits = text.lstrip("0")
        if not text.isascii() or not text.isdigit() or not digits:
            raise ImproperlyConfigured(f"{name} must be a whole number greater than 0, not {text!r}.")
        if len(digits) > MOST_DIGITS or int(digits) > most:
            raise ImproperlyConfigured(f"{name} must be at most {most}, not {text!r}.")
        return int(digits)

    def whole_number(self, name: str, *, default: int, most: int = LARGEST_INT) -> int:
        """Return a number that may be 0."""
        text = str(self.str(name, default=str(default)))
        return 0 if text == "0" else self.positive_int(name, default=default, most=most)

    def networks(self, name: str) -> list[IPv4Network | IPv6Network]:
        """Return the networks of a list of addresses and networks, by default none."""
        try:
            return [ip_network(text) for text in self.list(name, default=[])]
        except ValueError as error:
            raise ImproperlyConfigured(
                f"{name} must be addresses or networks (10.0.0.0/8), separated by commas: {error}."
            ) from None

    def port_or_none(self, name: str, *, default: int) -> int:
        """Return a port, or 0 for none."""
        text = str(self.str(name, default=str(default)))
        if not text.isascii() or not text.isdigit() or int(text) > LARGEST_PORT:
            raise ImproperlyConfigured(f"{name} must be a port, or 0 for none, not {text!r}.")
        return int(text)


def kept_secret(path: Path, *, random_bytes: int = 48) -> str:
    """Return the secret in the file `path`. Create a random one, readable only by its owner, if the file is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        # Written to another file and linked, so that a process that starts at the same time never reads half of it.
        draft_fd, draft = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(draft_fd, "w") as draft_file:
            draft_file.write(secrets.token_urlsafe(random_bytes))
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        os.unlink(draft)
    secret = path.read_text().strip()
    if not secret:
        raise ImproperlyConfigured(f"{path} is empty. Delete it, and the next start creates a new secret.")
    return secret


def database_settings(env: Environment, sqlite_path: Path) -> dict[str, Any]:
    """Return Django's settings for the database at ``DATABASE_URL``, by default SQLite at `sqlite_path`."""
    settings: dict[str, Any] = dict(env.db_url("DATABASE_URL", default=f"sqlite:///{sqlite_path}"))
    if settings["ENGINE"].endswith("sqlite3"):
        # Without IMMEDIATE, a third of concurrent writes fail with "database is locked".
        settings["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;",
        }
    else:
        settings.setdefault("OPTIONS", {})["connect_timeout"] = 5
        settings["CONN_MAX_AGE"] = 60
        settings["CONN_HEALTH_CHECKS"] = True
    return settings
