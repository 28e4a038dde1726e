"""The OpenAPI description is valid and complete, and its page needs no outside host."""

import re
from io import StringIO

import pytest
from django.core.management import call_command
from django.test import Client


def test_the_description_is_valid_and_without_warnings() -> None:
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=StringIO())


@pytest.mark.django_db
def test_the_page_loads_nothing_from_elsewhere(client: Client) -> None:
    page = client.get("/api/docs").content.decode()
    assert re.findall(r'(?:src|href)="(?:https?:)?//', page) == []
    assert client.get("/api/schema", headers={"Accept": "application/vnd.oai.openapi"}).status_code == 200
