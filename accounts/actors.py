"""Who does something: a person with an account here, or a program."""

import getpass
import os
from dataclasses import dataclass
from typing import TypeAlias

from django.contrib.auth.models import User


@dataclass(frozen=True, slots=True)
class Program:
    """What acts without an account: a management command, or mlmon itself."""

    name: str


Actor: TypeAlias = User | Program
PLATFORM = Program("mlmon")  # its own jobs


def command(name: str) -> Program:
    """Return the management command `name` as an actor, with the account of the machine that runs it."""
    return Program(f"{name}, run by {_account_of_machine()}")


def account_of(actor: Actor | None) -> User | None:
    """Return the account of an actor; None for a program."""
    return actor if isinstance(actor, User) and actor.pk else None


def name_of(actor: Actor | None) -> str:
    """Return what an actor is called; the platform's name where nobody is named."""
    if isinstance(actor, User):
        return actor.get_username() or PLATFORM.name
    return (actor or PLATFORM).name


def _account_of_machine() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"user {os.getuid()}"
