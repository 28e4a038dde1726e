"""The groups of the database follow the table of roles."""

from itertools import pairwise

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command

from accounts.roles import Action, Role, permissions_of
from accounts.services.roles import sync_roles, sync_roles_after_migrate
from tests.admin_site import model_admins

pytestmark = pytest.mark.django_db


def granted(role: Role) -> set[str]:
    rows = Group.objects.get(name=role.value).permissions.select_related("content_type")
    return {f"{row.content_type.app_label}.{row.codename}" for row in rows}


def member(role: Role) -> User:
    user = User.objects.create_user(role.value.replace(" ", "-"), is_staff=True)
    user.groups.add(Group.objects.get(name=role.value))
    return user


@pytest.mark.parametrize("role", Role)
def test_a_new_database_has_a_group_for_each_role(role: Role) -> None:
    assert granted(role) == permissions_of(role)  # after the migrations of the test database


def test_every_permission_of_the_table_exists() -> None:
    rows = Permission.objects.select_related("content_type")
    known = {f"{row.content_type.app_label}.{row.codename}" for row in rows}
    assert permissions_of(Role.ADMIN) <= known


def test_each_role_extends_the_one_before() -> None:
    sets = [permissions_of(role) for role in Role]
    assert all(less < more for less, more in pairwise(sets))


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("action", Action)
def test_members_have_exactly_the_permissions_of_their_role(role: Role, action: Action) -> None:
    # The order of the roles, repeated by hand.
    order = {"viewer": 0, "operator": 1, "model owner": 2, "admin": 3}
    assert action.is_allowed(member(role)) == (order[role.value] >= order[action.least_role.value])


def test_no_role_allows_nothing_and_superusers_everything() -> None:
    nobody, root = User.objects.create_user("nobody", is_staff=True), User.objects.create_superuser("root")
    assert not any(action.is_allowed(nobody) for action in Action)
    assert all(action.is_allowed(root) for action in Action)


def test_changed_permissions_are_restored_and_members_stay() -> None:
    viewer, user = Group.objects.get(name="viewer"), User.objects.create_user("anna")
    user.groups.add(viewer)
    viewer.permissions.set(Permission.objects.filter(codename__in=["promote_modelversion", "view_model"]))
    Group.objects.filter(name="operator").delete()
    own = Group.objects.create(name="night shift")
    own.permissions.set(Permission.objects.filter(codename="change_driftincident"))

    sync_roles()

    assert granted(Role.VIEWER) == permissions_of(Role.VIEWER)
    assert granted(Role.OPERATOR) == permissions_of(Role.OPERATOR)
    assert list(user.groups.all()) == [viewer]
    assert [row.codename for row in own.permissions.all()] == ["change_driftincident"]


def test_migrate_restores_the_roles(capsys: pytest.CaptureFixture[str]) -> None:
    Permission.objects.filter(codename__in=["promote_modelversion", "view_driftcheck"]).delete()
    Group.objects.filter(name="model owner").delete()
    call_command("migrate", verbosity=0, interactive=False)
    assert granted(Role.MODEL_OWNER) == permissions_of(Role.MODEL_OWNER)
    assert "models_registry.promote_modelversion" in granted(Role.MODEL_OWNER)


def test_a_database_without_accounts_is_not_changed() -> None:
    class WithoutAccounts:
        def get_model(self, *names: str) -> None:
            raise LookupError(*names)

    Group.objects.all().delete()
    config = apps.get_app_config("accounts")
    sync_roles_after_migrate(sender=config, using="default", apps=WithoutAccounts())
    assert not Group.objects.exists()


def test_viewers_can_see_every_page_of_the_admin() -> None:
    pages = {f"{model._meta.app_label}.view_{model._meta.model_name}" for model in model_admins()}
    assert pages <= permissions_of(Role.VIEWER)


def test_viewers_cannot_change_anything() -> None:
    assert all(name.partition(".")[2].startswith("view_") for name in permissions_of(Role.VIEWER))
