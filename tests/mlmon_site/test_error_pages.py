"""Responses to errors outside API views: pages for people, problem details for programs."""

import pytest
from django.test import Client

from rest.problems import PROBLEM_JSON


@pytest.mark.parametrize("path", ["/nowhere", "/api/v1/nowhere"])
def test_a_program_gets_problem_details(client: Client, path: str) -> None:
    response = client.get(path)
    assert (response.status_code, response["Content-Type"]) == (404, PROBLEM_JSON)
    assert response.json()["detail"] == "There is no page at this URL."


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/admin/nowhere/", "/models/nowhere/nowhere", "/go/nowhere"])
def test_a_person_gets_a_page(admin_client: Client, path: str) -> None:
    response = admin_client.get(path)
    assert response.status_code == 404
    assert response["Content-Type"].startswith("text/html")
    assert "Back to mlmon" in response.content.decode()


def test_a_malformed_request_is_refused_in_the_same_form(client: Client) -> None:
    malformed = {"cookie": 'sessionid="a\\000b"'}  # NUL; recent versions of http.cookies refuse to write it
    program, person = client.get("/drift", headers=malformed), client.get("/admin/", headers=malformed)
    assert (program.status_code, program["Content-Type"]) == (400, PROBLEM_JSON)
    assert (person.status_code, "The request is malformed." in person.content.decode()) == (400, True)


@pytest.mark.django_db
def test_a_server_error_is_reported_without_its_message(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("models_registry.admin.models.ModelModelAdmin.get_queryset", fail)
    admin_client.raise_request_exception = False
    response = admin_client.get("/admin/models_registry/model/")
    assert response.status_code == 500
    assert "The server failed to handle the request." in response.content.decode()
    assert "secret detail" not in response.content.decode()
    assert "secret detail" in caplog.text
