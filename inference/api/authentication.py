"""Who may call the API: holders of tokens with a scope, users of the admin to read, or everyone if access is open."""

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib.auth.models import User
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from accounts.actors import TokenHolder
from accounts.models import TokenScope, token_digest
from accounts.roles import Action
from inference.exceptions import RegistryUnreadError
from inference.serving import KnownToken, serving

if TYPE_CHECKING:
    from rest_framework.views import APIView  # its import imports this module, because of the settings

CHALLENGE = "Bearer"


class BearerTokenAuthentication(BaseAuthentication):
    """Authenticates ``Authorization: Bearer mlmon_…`` with the process's snapshot, without SQL."""

    def authenticate(self, request: Request) -> tuple[TokenHolder, KnownToken] | None:
        token = self.token_in(request.META.get("HTTP_AUTHORIZATION", ""))
        if token is None:
            return None
        known = known_token(token)
        if known is None:
            raise AuthenticationFailed("The token is unknown, revoked or expired.")
        return TokenHolder(known.name, known.scope), known

    def token_in(self, authorization: str) -> str | None:
        """Return the token in a header; None if the header has another scheme."""
        scheme, _, token = authorization.partition(" ")
        return token.strip() if scheme.lower() == "bearer" else None

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE


class PasswordTokenAuthentication(BearerTokenAuthentication):
    """Authenticates ``Authorization: Basic``, whose password is the token, for a client that only has a URL.

    Clients send a URL's user information in this header, not in the URL, so no log of this server contains it.
    """

    def token_in(self, authorization: str) -> str | None:
        scheme, _, credentials = authorization.partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            decoded = base64.b64decode(credentials.strip(), validate=True).decode()
        except ValueError:
            return ""  # no token has this digest
        return decoded.partition(":")[2]

    def authenticate_header(self, request: Request) -> str:
        return 'Basic realm="mlmon"'


def known_token(token: str) -> KnownToken | None:
    """Return the process's record of a token; None if it is unknown, revoked or expired.

    Raises
    ------
    RegistryUnreadError
        The process has not read the tokens yet.
    """
    snapshot = serving().snapshot()
    if snapshot.generation < 0:
        raise RegistryUnreadError
    known = snapshot.tokens.get(token_digest(token))
    return known if known is not None and known.is_valid() else None


def has_scope(
    authorization: str,
    scope: TokenScope,
    schemes: Sequence[type[BearerTokenAuthentication]] = (BearerTokenAuthentication,),
) -> bool:
    """Return whether a request with this ``Authorization`` header may make a call of `scope`, without SQL.

    False means only that the usual way has to decide: that it is refused, or why.
    """
    if not authorization:
        return settings.MLMON_API_ACCESS == "open" and scope != TokenScope.REGISTRY
    token = next((found for one in schemes if (found := one().token_in(authorization)) is not None), None)
    try:
        known = None if token is None else known_token(token)
    except RegistryUnreadError:
        return False
    if known is None:
        return False
    return settings.MLMON_API_ACCESS == "open" or known.scope in (scope, TokenScope.ALL)


SCOPES_OF_CHANGES = frozenset({TokenScope.REGISTRY, TokenScope.ROLLOUTS})  # what people see in the audit trail


class HasApiAccess(BasePermission):
    """Allows a call by the view's ``required_scope``: ``read`` (the default) or another one.

    Views of the scopes ``registry`` and ``rollouts`` can also be read with the scope ``read``. To write, they need a
    token even if access is open: the audit trail names it, and no page of another site can make a browser send
    something.
    """

    message = "The token's scope does not allow this call."

    def has_permission(self, request: Request, view: "APIView") -> bool:
        scope = getattr(view, "required_scope", TokenScope.READ)
        is_change, is_reading = scope in SCOPES_OF_CHANGES, request.method in SAFE_METHODS
        if settings.MLMON_API_ACCESS == "open" and (is_reading or not is_change):
            return True
        can_be_read = scope == TokenScope.READ or (is_change and is_reading)
        if isinstance(request.user, TokenHolder):
            return request.user.scope in (scope, TokenScope.ALL) or (
                can_be_read and request.user.scope == TokenScope.READ
            )
        self.message = f"Send a token with the scope {scope}. A login is enough to read only."
        is_reader = isinstance(request.user, User) and request.user.is_staff and Action.SEE.is_allowed(request.user)
        return can_be_read and is_reader  # a person who may see the pages of the admin


class HasDescriptionAccess(HasApiAccess):
    """Allows to read what a model expects and returns with the scope ``predict`` too, which a caller needs to infer."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        is_caller = isinstance(request.user, TokenHolder) and request.user.scope == TokenScope.PREDICT
        return is_caller or super().has_permission(request, view)


class BearerTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Describes the bearer token in OpenAPI."""

    target_class = "inference.api.authentication.BearerTokenAuthentication"
    name = "bearerToken"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer"}


class PasswordTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Describes the token as a password in OpenAPI."""

    target_class = "inference.api.authentication.PasswordTokenAuthentication"
    name = "tokenAsPassword"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "http", "scheme": "basic"}
