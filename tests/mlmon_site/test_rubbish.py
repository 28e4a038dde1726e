"""Invalid URLs and forms get a 4xx response and never cause a server error."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from accounts.admin.base import AuditedAdmin
from accounts.models import ApiToken, TokenScope
from models_registry.admin.models import ModelModelAdmin
from models_registry.models import Model
from tests.admin_site import model_admins

pytestmark = pytest.mark.django_db

NO_KEYS = ["abc", "1.5", "None", "-1", "0", "9" * 30, "1" * 5000]


def actions() -> list[str]:
    """Return the URL names of all actions on one row."""
    return sorted(
        f"{model._meta.app_label}_{model._meta.model_name}_{action}"
        for model, page in model_admins().items()
        for entry in page.actions_detail  # type: ignore[attr-defined]  # unfold's
        for action in (entry["items"] if isinstance(entry, dict) else [entry])  # a menu, or one action
    )


def test_actions_are_found() -> None:
    assert {"models_registry_modelversion_promote", "drift_driftincident_close", "accounts_apitoken_revoke"} <= {
        *actions()
    }


@pytest.mark.parametrize("name", actions())
def test_an_action_on_a_missing_row_is_not_found(admin_client: Client, name: str) -> None:
    for key in NO_KEYS:
        address = reverse(f"admin:{name}", args=[key])
        assert admin_client.get(address).status_code == 404, address[:80]
        assert admin_client.post(address).status_code == 404, address[:80]


@pytest.mark.parametrize("app_table", ["models_registry/model", "auth/user", "django_celery_beat/periodictask"])
def test_a_list_action_on_an_invalid_key_is_a_bad_request(admin_client: Client, app_table: str) -> None:
    for key in ("abc", "\0", "1.5"):
        sent = {"action": "delete_selected", "_selected_action": key}
        assert admin_client.post(f"/admin/{app_table}/", sent).status_code == 400


def test_a_list_action_on_rows_works(admin_client: Client) -> None:
    model = Model.objects.create(name="unused")
    sent = {"action": "delete_selected", "_selected_action": [model.pk], "post": "yes"}
    assert admin_client.post("/admin/models_registry/model/", sent).status_code == 302
    assert not Model.objects.exists()


@pytest.mark.parametrize(
    "path",
    [
        "/admin/accounts/changerecord/?actor=%00",
        "/admin/models_registry/modelversion/?stage__exact=%00",
        "/admin/auth/user/?username=a%00b",
        "/admin/autocomplete/?term=%00&app_label=drift&model_name=driftpolicy&field_name=model",
        "/admin/drift/driftpolicy/add/?model=%00",
    ],
)
def test_a_nul_in_an_admin_query_is_a_bad_request(admin_client: Client, path: str) -> None:
    assert admin_client.get(path).status_code == 400


@pytest.mark.parametrize("page", ["abc", "0", "-1", "999", ""])
def test_the_search_ignores_page_numbers(admin_client: Client, page: str) -> None:
    assert admin_client.get("/admin/search/", {"s": "a", "page": page}).status_code == 200


def test_the_search_finds_models_and_pages(admin_client: Client) -> None:
    Model.objects.create(name="flight-delay")
    found = admin_client.get("/admin/search/", {"s": "Flight"}).content.decode()
    assert 'href="/models/flight-delay"' in found
    found = admin_client.get("/admin/search/", {"s": "incid"}).content.decode()
    assert 'href="/admin/drift/driftincident/"' in found
    assert "flight-delay" not in found
    assert admin_client.get("/admin/search/", {"s": " "}).content.decode().strip() == ""
    assert "No model or page has that name." in admin_client.get("/admin/search/", {"s": "zzz"}).content.decode()


def test_the_search_finds_only_what_the_person_may_view(client: Client) -> None:
    Model.objects.create(name="flight-delay")
    person = User.objects.create_user("somebody", is_staff=True)
    client.force_login(person)
    assert "flight-delay" not in client.get("/admin/search/", {"s": "flight"}).content.decode()
    assert "/admin/auth/user/" not in client.get("/admin/search/", {"s": "users"}).content.decode()
    person.groups.add(Group.objects.get(name="viewer"))
    assert "flight-delay" in client.get("/admin/search/", {"s": "flight"}).content.decode()


def test_tokens_cannot_be_filtered_by_their_digest(admin_client: Client) -> None:
    ApiToken.objects.create(name="app", scope=TokenScope.READ, digest="a" * 64, hint="x")
    address = reverse("admin:accounts_apitoken_changelist")
    assert admin_client.get(address, {"scope__exact": "read"}).status_code == 200
    assert admin_client.get(address, {"digest__startswith": "a"}).status_code == 400


def test_a_number_that_sqlite_cannot_hold_is_a_bad_request(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overflow(*_: Any, **__: Any) -> Any:
        raise OverflowError(message)

    message = "Python int too large to convert to SQLite INTEGER"
    monkeypatch.setattr(ModelModelAdmin, "get_queryset", overflow)
    assert admin_client.get("/admin/models_registry/model/").status_code == 400
    assert admin_client.get("/admin/models_registry/model/1/change/").status_code == 400
    message = "date value out of range"  # a server error
    with pytest.raises(OverflowError, match="out of range"):
        admin_client.get("/admin/models_registry/model/")


def test_every_model_admin_has_the_guards() -> None:
    assert [page for page in model_admins().values() if not isinstance(page, AuditedAdmin)] == []


@pytest.mark.parametrize("path", ["/admin/", "/admin/login/", "/api/docs", "/admin/nowhere/"])
def test_pages_forbid_requests_to_other_hosts(admin_client: Client, path: str) -> None:
    policy = admin_client.get(path)["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "http" not in policy


def test_api_responses_have_no_content_security_policy(client: Client) -> None:
    response: Any = client.get("/healthz")
    assert "Content-Security-Policy" not in response
