"""The groups of the database, kept equal to the table of roles."""

from typing import Any

from django.apps import AppConfig
from django.apps import apps as installed
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Group, Permission
from django.db import DEFAULT_DB_ALIAS, transaction

from accounts.roles import Role, permissions_of


def sync_roles(*, using: str = DEFAULT_DB_ALIAS) -> None:
    """Create a group for each role, with exactly the permissions of `accounts.roles`.

    The members of a group and groups with other names are not changed.
    """
    with transaction.atomic(using=using):
        rows = Permission.objects.using(using).select_related("content_type")
        known = {f"{row.content_type.app_label}.{row.codename}": row for row in rows}
        for role in Role:
            group, _ = Group.objects.using(using).get_or_create(name=role.value)
            group.permissions.set([known[name] for name in sorted(permissions_of(role)) if name in known])


def sync_roles_after_migrate(sender: AppConfig, using: str, apps: Any = installed, **_: Any) -> None:
    """Receive Django's ``post_migrate``.

    A migration cannot do this: in a new database, the same signal creates permissions after the last migration. This
    creates the permissions of all apps first, so that the order of the apps does not matter.
    """
    try:
        apps.get_model("auth", "Group")
    except LookupError:  # migrated back to before django.contrib.auth
        return
    for label in sorted({permission.partition(".")[0] for permission in permissions_of(Role.ADMIN)}):
        create_permissions(installed.get_app_config(label), verbosity=0, using=using, apps=apps)
    sync_roles(using=using)
