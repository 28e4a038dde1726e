"""The sidebar shows exactly the links that a person may open."""

import re

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from accounts.roles import Role

pytestmark = pytest.mark.django_db
LISTS = 19


def links(client: Client) -> list[str]:
    """Return the URLs of the sidebar on the overview."""
    page = client.get("/admin/").content.decode()
    sidebar = page[page.index('id="nav-sidebar') : page.index('id="main"')]
    return sorted(set(re.findall(r'href="(/[^"?#]*)"', sidebar)) - {"/admin/logout/"})


@pytest.mark.parametrize("role", Role)
def test_every_link_shown_to_a_role_opens_a_page(client: Client, role: Role) -> None:
    person = User.objects.create_user("person", password="secret", is_staff=True)
    person.groups.add(Group.objects.get(name=role))
    client.force_login(person)
    found = links(client)
    assert len([link for link in found if link.count("/") == 4]) == LISTS
    assert {link: client.get(link).status_code for link in found} == dict.fromkeys(found, 200)


def test_a_person_without_a_role_sees_no_links_to_lists(client: Client) -> None:
    client.force_login(User.objects.create_user("nobody", password="secret", is_staff=True))
    found = links(client)
    assert [link for link in found if link.count("/") == 4] == []
    assert {link: client.get(link).status_code for link in found} == dict.fromkeys(found, 200)
