"""API tokens in the admin."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.utils.html import format_html
from unfold.admin import ModelAdmin
from unfold.decorators import action, display

from inference import services
from inference.models import ApiToken
from models_registry.admin.confirmation import confirmation_page, is_confirmed


@admin.register(ApiToken)
class ApiTokenAdmin(ModelAdmin):
    list_display = ["name", "scope", "hint", "state", "expires_at", "created_by", "created_at"]
    list_filter = ["scope"]
    search_fields = ["name"]
    fields = ["name", "scope", "expires_at"]
    actions_detail = ["revoke"]

    @display(description="State", label={"valid": "success", "revoked": "danger", "expired": "warning"})
    def state(self, obj: ApiToken) -> str:
        if obj.revoked_at:
            return "revoked"
        return "expired" if obj.expires_at and obj.expires_at <= timezone.now() else "valid"

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # a token is revoked and made anew

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_revoke_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return bool(request.user.has_perm("inference.change_apitoken"))

    def save_model(self, request: HttpRequest, obj: ApiToken, form: Any, change: bool) -> None:
        row, token = services.create_token(
            name=obj.name, scope=obj.scope, expires_at=obj.expires_at, user=request.user if request.user.pk else None
        )
        obj.pk = row.pk
        self.message_user(
            request,
            format_html("The token, shown this once: <code>{}</code>", token),
            messages.WARNING,
        )

    @action(description="Revoke", icon="block", permissions=["revoke"])
    def revoke(self, request: HttpRequest, object_id: int) -> HttpResponse:
        if not self.has_revoke_permission(request):
            raise PermissionDenied
        token = get_object_or_404(ApiToken, pk=object_id)
        if not is_confirmed(request):
            return confirmation_page(
                self,
                request,
                row=token,
                title=f"Revoke {token}",
                changes=[f"Every call with the token {token.hint}… is refused, within a second."],
                button="Revoke",
                is_final=True,
            )
        if services.revoke_token(token=token):
            self.message_user(request, f"{token} is revoked; servers refuse it from the next second on.")
        return redirect("admin:inference_apitoken_changelist")
