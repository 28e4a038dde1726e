"""Rows that programs write and people only read."""

from typing import Any

from django.http import HttpRequest

from accounts.admin.audited import AuditedAdmin


class ReadOnlyAdmin(AuditedAdmin):
    """Lists and shows rows to who may view them; nobody adds, changes or deletes one here."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
