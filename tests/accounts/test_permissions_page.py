"""docs/permissions.md agrees with the table of roles."""

import re

from django.conf import settings
from django.core.management import get_commands

from accounts.roles import Action, Role

PAGE = (settings.BASE_DIR / "docs" / "permissions.md").read_text()


def test_the_table_of_the_page_equals_that_of_the_code() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.splitlines()
        if line.startswith("| ") and line.count("|") == len(Role) + 2
    ]
    expected = [["What", *(role.value for role in Role)]]
    for action in Action:
        cells = ["yes" if role.includes(action.least_role) else "no" for role in Role]
        expected.append([action.summary, *cells])
    assert rows == expected


def test_the_permissions_and_commands_of_the_page_exist() -> None:
    named = set(re.findall(r"`(\w+\.\w+_\w+)`", PAGE))
    assert named == {"models_registry.promote_modelversion"}
    assert named <= set(Action.CHANGE_STAGE.permissions)
    commands = set(re.findall(r"`(upload_\w+|create_\w+|load_\w+)", PAGE))
    assert commands == {"upload_version", "upload_reference", "create_token", "load_demo"}
    assert commands <= set(get_commands())
