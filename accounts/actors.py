"""Who does something: a person with an account, or a program, which may hold an API token."""

import getpass
import os
from dataclasses import dataclass
from typing import TypeAlias

from django.contrib.auth.models import User


@dataclass(frozen=True, slots=True)
class Program:
    """An actor without an account: a management command, the holder of a token, or mlmon itself."""

    name: str


@dataclass(frozen=True, slots=True)
class TokenHolder:
    """The caller behind a valid API token: the token's name and scope."""

    name: str
    scope: str
    is_authenticated: bool = True


Actor: TypeAlias = User | Program
PLATFORM = Program("mlmon")  # background tasks


def command(name: str) -> Program:
    """Return the management command `name` as an actor, with the operating system's user who runs it."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = f"user {os.getuid()}"
    return Program(f"{name}, run by {user}")


def caller(user: object) -> Actor:
    """Return the user of an API request as an actor: an account, or the program that holds the token."""
    if isinstance(user, User):
        return user
    return Program(f"API token {user.name}" if isinstance(user, TokenHolder) else "API, without a token")


def account_of(actor: Actor | None) -> User | None:
    """Return the account of an actor; None for a program."""
    return actor if isinstance(actor, User) and actor.pk else None
