"""The first login of the embedded run."""

from dataclasses import dataclass
from pathlib import Path

from django.contrib.auth import get_user_model
from django.db import transaction

from mlmon_site.environment import kept_secret

USERNAME = "admin"
PASSWORD_BYTES = 12


@dataclass(frozen=True, slots=True)
class Login:
    """An account that can log in.

    Attributes
    ----------
    new_password
        The password if the account was created by this call, else None: the database has only its hash.
    """

    username: str
    new_password: str | None


@transaction.atomic
def ensure_login(*, password_path: Path) -> Login:
    """Return the first administrator's account; create it, with a random password in `password_path`, if missing."""
    users = get_user_model()._default_manager
    if users.filter(username=USERNAME).exists():
        return Login(USERNAME, new_password=None)
    password = kept_secret(password_path, random_bytes=PASSWORD_BYTES)
    get_user_model().objects.create_superuser(USERNAME, password=password)
    return Login(USERNAME, new_password=password)
