"""Keeping the groups of the database as the table of roles says."""

from typing import Any

from django.apps import AppConfig
from django.apps import apps as installed
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Group, Permission
from django.db import DEFAULT_DB_ALIAS, transaction

from accounts.roles import Role, permissions_of


def keep_roles(*, using: str = DEFAULT_DB_ALIAS) -> None:
    """Make a group for each role, with the permissions of `accounts.roles` and no others.

    Who belongs to a group is never touched, and neither are groups of other names.
    """
    with transaction.atomic(using=using):
        rows = Permission.objects.using(using).select_related("content_type")
        known = {f"{row.content_type.app_label}.{row.codename}": row for row in rows}
        for role in Role:
            group, _ = Group.objects.using(using).get_or_create(name=role.value)
            group.permissions.set([known[name] for name in sorted(permissions_of(role)) if name in known])


def keep_roles_after_migrate(sender: AppConfig, using: str, apps: Any = installed, **_: Any) -> None:
    """Follow Django's ``post_migrate``.

    A migration could not do this: on a new database permissions are made after the last migration, by the same signal.
    Those of apps whose turn has not come yet are made here, so that the order of the apps does not matter.
    """
    try:
        apps.get_model("auth", "Group")
    except LookupError:  # migrated back to a time before accounts
        return
    for label in sorted({permission.partition(".")[0] for permission in permissions_of(Role.ADMIN)}):
        create_permissions(installed.get_app_config(label), verbosity=0, using=using, apps=apps)
    keep_roles(using=using)
