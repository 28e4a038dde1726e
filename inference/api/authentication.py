"""Who may call the API: holders of tokens with a scope, users of the admin to read, or everyone if access is open."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib.auth.models import User
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from accounts.models import TokenScope, token_digest
from accounts.roles import Action
from inference.exceptions import RegistryUnreadError
from inference.serving import KnownToken, serving

if TYPE_CHECKING:
    from rest_framework.views import APIView  # its import imports this module, because of the settings

CHALLENGE = "Bearer"


@dataclass(frozen=True, slots=True)
class TokenHolder:
    """The caller behind a valid token."""

    token: KnownToken
    is_authenticated: bool = True


class BearerTokenAuthentication(BaseAuthentication):
    """Authenticates ``Authorization: Bearer mlmon_…`` with the process's snapshot, without SQL."""

    def authenticate(self, request: Request) -> tuple[TokenHolder, KnownToken] | None:
        scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        snapshot = serving().snapshot()
        if snapshot.generation < 0:
            raise RegistryUnreadError
        known = snapshot.tokens.get(token_digest(token.strip()))
        if known is None or not known.is_valid():
            raise AuthenticationFailed("The token is unknown, revoked or expired.")
        return TokenHolder(known), known

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE


class HasApiAccess(BasePermission):
    """Allows a call by the view's ``required_scope``, ``predict`` or ``read`` (the default)."""

    message = "The token's scope does not allow this call."

    def has_permission(self, request: Request, view: "APIView") -> bool:
        if settings.MLMON_API_ACCESS == "open":
            return True
        scope = getattr(view, "required_scope", TokenScope.READ)
        if isinstance(request.user, TokenHolder):
            return request.user.token.scope in (scope, TokenScope.ALL)
        is_reader = isinstance(request.user, User) and request.user.is_staff and Action.SEE.is_allowed(request.user)
        return scope == TokenScope.READ and is_reader  # a person who may see the pages of the admin


class BearerTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Describes the bearer token in OpenAPI."""

    target_class = "inference.api.authentication.BearerTokenAuthentication"
    name = "bearerToken"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer"}
