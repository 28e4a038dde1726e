"""Creating and revoking API tokens."""

import secrets
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from accounts.actors import Actor, account_of
from accounts.models import TOKEN_PREFIX, ApiToken, token_digest
from accounts.services.changes import bump_generation, record_change


@transaction.atomic
def create_token(
    *, name: str, scope: str, expires_at: datetime | None = None, user: Actor | None = None
) -> tuple[ApiToken, str]:
    """Create an API token; return its row and the token, which is shown once and not stored."""
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    row = ApiToken(name=name, scope=scope, expires_at=expires_at, created_by=account_of(user))
    row.digest, row.hint = token_digest(token), token[:12]
    row.full_clean()
    row.save()
    bump_generation()
    changes = {"Scope": (None, scope), "Expires at": (None, expires_at)}
    record_change(user=user, row=row, message=f"Created with the scope {scope}.", changes=changes)
    return row, token


@transaction.atomic
def revoke_token(*, token: ApiToken, user: Actor | None = None) -> bool:
    """Revoke a token; return whether it was valid before."""
    changed = ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now())
    if changed:
        bump_generation()
        record_change(user=user, row=token, message="Revoked.", changes={"State": ("valid", "revoked")})
    return bool(changed)
