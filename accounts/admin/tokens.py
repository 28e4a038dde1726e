"""API tokens in the admin."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.html import format_html
from unfold.decorators import action, display

from accounts.admin.base import AuditedAdmin, user_of
from accounts.admin.page_parts import confirmation_page
from accounts.models import ApiToken, TokenScope
from accounts.roles import Action
from accounts.services.tokens import create_token, revoke_token

# A token must not do more than the person who creates it.
ACTIONS_OF_SCOPE: dict[TokenScope, tuple[Action, ...]] = {
    TokenScope.PREDICT: (),
    TokenScope.READ: (),
    TokenScope.REGISTRY: (
        Action.REGISTER_MODEL,
        Action.UPLOAD_VERSION,
        Action.UPLOAD_REFERENCE,
        Action.CHANGE_STAGE,
    ),
    TokenScope.ROLLOUTS: (Action.RUN_ROLLOUTS,),
    TokenScope.ALL: (Action.MANAGE_TOKENS,),
}


@admin.register(ApiToken)
class ApiTokenAdmin(AuditedAdmin):
    empty_text = "Programs send a token with each API call if the server requires one. It is shown only once."
    list_display = ["name", "scope", "hint", "state", "expires_at", "created_by", "created_at"]
    list_filter = ["scope"]
    list_select_related = ["created_by"]
    search_fields = ["name"]
    actions_detail = ["revoke"]
    add_fieldsets = [(None, {"fields": ["name", "scope", "expires_at"]})]
    fields = [("name", "state"), "scope", ("hint", "expires_at"), ("created_by", "created_at")]
    forbidden = ("change", "delete")  # revoke a token and create another
    recorded_by_service = ("add",)

    @display(description="State", label={"valid": "success", "revoked": "danger", "expired": "warning"})
    def state(self, obj: ApiToken) -> str:
        if obj.revoked_at:
            return "revoked"
        return "expired" if obj.expires_at and obj.expires_at <= timezone.now() else "valid"

    def formfield_for_choice_field(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_choice_field(db_field, request, **kwargs)
        if db_field.name == "scope" and isinstance(field, forms.ChoiceField):
            field.choices = [
                (scope.value, scope.label)
                for scope, actions in ACTIONS_OF_SCOPE.items()
                if all(action.is_allowed(request.user) for action in actions)
            ]
        return field

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Refuse filters on the digest, with which it could be guessed letter by letter."""
        return not lookup.startswith("digest") and super().lookup_allowed(lookup, value, request)

    def has_revoke_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        if Action.MANAGE_TOKENS.is_allowed(request.user):
            return True
        token = self.get_object(request, str(object_id))
        is_own = token is not None and token.created_by_id is not None and token.created_by_id == request.user.pk
        return is_own and Action.MAKE_TOKEN.is_allowed(request.user)

    def get_actions_detail(self, request: HttpRequest, object_id: Any = None) -> list[Any]:
        token = self.get_object(request, str(object_id))
        is_revoked = token is None or token.revoked_at is not None
        return [] if is_revoked else list(super().get_actions_detail(request, object_id))

    def save_model(self, request: HttpRequest, obj: ApiToken, form: Any, change: bool) -> None:
        row, token = create_token(name=obj.name, scope=obj.scope, expires_at=obj.expires_at, user=user_of(request))
        obj.pk = row.pk
        self.message_user(
            request,
            format_html("The token, shown only once: <code>{}</code>", token),
            messages.WARNING,
        )

    @action(description="Revoke", icon="block", permissions=["revoke"])
    def revoke(self, request: HttpRequest, object_id: int) -> HttpResponse:
        token = self.row_or_404(request, object_id)
        if request.method != "POST":
            return confirmation_page(
                self,
                request,
                row=token,
                title=f"Revoke {token}",
                changes=[f"Within a second, every call with the token {token.hint}… is refused."],
                button="Revoke",
                is_final=True,
            )
        if revoke_token(token=token, user=user_of(request)):
            self.message_user(request, f"{token} is revoked. Servers refuse it within a second.")
        return redirect("admin:accounts_apitoken_changelist")
