"""Who may call the API."""

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts.models import ApiToken, token_digest
from accounts.services.tokens import create_token, revoke_token
from tests.factories import uploaded_version

pytestmark = pytest.mark.django_db

BODY = {"features": [5.1, 3.5, 1.4, 0.2]}


@pytest.fixture
def _tokens_needed(settings: Settings) -> None:
    settings.MLMON_API_ACCESS = "token"
    settings.MLMON_METRICS_ACCESS = "token"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def predict(client: Client, token: str | None = None) -> Any:
    headers = bearer(token) if token else {}
    return client.post("/predict", BODY, content_type="application/json", headers=headers)


@pytest.mark.usefixtures("_tokens_needed")
class TestTokenAccess:
    def test_calls_without_a_token_are_refused(self, client: Client) -> None:
        uploaded_version("classifier")
        response = predict(client)
        assert response.status_code == 401
        assert response["WWW-Authenticate"] == "Bearer"
        assert response["Content-Type"] == "application/problem+json"
        assert client.get("/api/v1/models").status_code == 401
        assert client.get("/metrics").status_code == 401

    @pytest.mark.parametrize(
        ("scope", "predicts", "reads", "drift"),
        [("predict", 200, 403, 403), ("read", 403, 200, 200), ("registry", 403, 200, 403), ("all", 200, 200, 200)],
    )
    def test_a_scope_allows_its_calls(self, client: Client, scope: str, predicts: int, reads: int, drift: int) -> None:
        uploaded_version("classifier")
        _, token = create_token(name="t", scope=scope)
        assert predict(client, token).status_code == predicts
        assert client.get("/api/v1/models", headers=bearer(token)).status_code == reads
        assert client.get("/drift", headers=bearer(token)).status_code == drift
        assert client.get("/metrics", headers=bearer(token)).status_code == (200 if drift == 200 else 401)

    def test_an_unknown_revoked_or_expired_token_is_refused(self, client: Client) -> None:
        uploaded_version("classifier")
        assert predict(client, "mlmon_made_up").status_code == 401
        row, token = create_token(name="t", scope="predict")
        assert predict(client, token).status_code == 200
        assert revoke_token(token=row)
        assert not revoke_token(token=row)
        assert predict(client, token).status_code == 401
        _, expired = create_token(name="old", scope="predict", expires_at=timezone.now() - timedelta(seconds=1))
        assert predict(client, expired).status_code == 401

    def test_a_token_that_expires_while_it_is_cached_is_refused(self, client: Client) -> None:
        uploaded_version("classifier")
        row, token = create_token(name="t", scope="predict", expires_at=timezone.now() + timedelta(hours=1))
        assert predict(client, token).status_code == 200
        ApiToken.objects.filter(pk=row.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
        create_token(name="another", scope="read")  # lets the process refresh its tokens
        assert predict(client, token).status_code == 401

    def test_a_user_of_the_admin_may_read_but_not_predict(self, client: Client, admin_user: User) -> None:
        uploaded_version("classifier")
        client.force_login(admin_user)
        assert client.get("/api/v1/models").status_code == 200
        assert predict(client).status_code == 401


def test_with_open_access_no_token_is_needed_but_a_wrong_one_is_refused(client: Client) -> None:
    uploaded_version("classifier")
    assert predict(client).status_code == 200
    assert predict(client, "mlmon_made_up").status_code == 401


def test_only_the_digest_of_a_token_is_stored() -> None:
    row, token = create_token(name="t", scope="read")
    assert row.digest == token_digest(token)
    assert token not in str(ApiToken.objects.values().get())
    assert token.startswith(row.hint)


def test_the_name_of_a_token_is_unique() -> None:
    create_token(name="t", scope="read")
    with pytest.raises(ValidationError, match="already exists"):
        create_token(name="t", scope="read")


def test_the_command_prints_a_token_that_works(client: Client, settings: Settings) -> None:
    settings.MLMON_API_ACCESS = "token"
    uploaded_version("classifier")
    out = StringIO()
    call_command("create_token", "checkout", "--days", "30", stdout=out)
    assert predict(client, out.getvalue().strip()).status_code == 200
    with pytest.raises(CommandError, match="already exists"):
        call_command("create_token", "checkout", stdout=out)
