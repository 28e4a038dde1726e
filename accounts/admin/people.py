"""Users and groups in the admin, with the roles of mlmon and in the audit trail."""

from collections.abc import Mapping
from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminSelect2MultipleWidget,
)

from accounts.admin.base import AuditedAdmin
from accounts.admin.page_parts import Column
from accounts.roles import Action, Role

admin.site.unregister(User)
admin.site.unregister(Group)

FOR_SUPERUSERS = ["is_superuser", "user_permissions"]


class ChoiceFields(admin.ModelAdmin[Any]):
    """Use checkboxes for few rows and a search for many: Django's two lists are wider than a narrow page."""

    help_texts: Mapping[str, str] = {}
    filter_horizontal = []

    def formfield_for_manytomany(self, db_field: Any, request: Any = None, **kwargs: Any) -> Any:
        field: Any = super().formfield_for_manytomany(db_field, request, **kwargs)
        field.help_text = self.help_texts[db_field.name]
        is_short = db_field.name == "groups"
        widget = UnfoldAdminCheckboxSelectMultipleWidget if is_short else UnfoldAdminSelect2MultipleWidget
        field.widget = widget(choices=field.choices)
        return field


@admin.register(User)
class UserModelAdmin(ChoiceFields, UserAdmin[User], AuditedAdmin):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ["username", "roles", "email", "is_active", "is_staff", "is_superuser", "last_login"]
    list_filter = ["groups", "is_active", "is_staff", "is_superuser"]
    help_texts = {
        "groups": "The roles are viewer, operator, model owner and admin; each includes those before it.",
        "user_permissions": "In addition to those of the groups. Type to search.",
    }
    # The password and its entry in the audit trail succeed or fail together.
    user_change_password = transaction.atomic(UserAdmin.user_change_password)

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("groups")

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        # Otherwise an admin could become a superuser.
        return [] if request.user.is_superuser else FOR_SUPERUSERS

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        if obj is None or self.has_change_permission(request, obj):
            return super().get_fieldsets(request, obj)
        about = ["username", ("first_name", "last_name"), "email", "groups", "is_active", "is_staff", "is_superuser"]
        return [(None, {"fields": [*about, ("last_login", "date_joined")]})]  # without the hash of the password

    def is_protected(self, request: HttpRequest, row: User | None) -> bool:
        """Return whether only superusers may change the account: it is one of theirs."""
        return row is not None and row.is_superuser and not request.user.is_superuser

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        if not change:
            obj.is_staff = True  # accounts are only for these pages, and have no permissions without a role
        super().save_model(request, obj, form, change)

    @admin.display(description="Roles")
    def roles(self, obj: User) -> str:
        return ", ".join(sorted(group.name for group in obj.groups.all())) or "-"


@admin.display(description="Role of mlmon", boolean=True)
def is_role(group: Group | None) -> bool:
    """Return whether a group is a role of mlmon, which each migration restores."""
    return group is not None and group.name in list(Role)


@admin.register(Group)
class GroupModelAdmin(ChoiceFields, GroupAdmin, AuditedAdmin):
    list_display = ["name", is_role, "members"]
    help_texts = {"permissions": "Type to search."}
    annotations = {"n_members": Count("user")}
    members = Column(short_description="People", text="{row.n_members}", admin_order_field="n_members")

    def get_fields(self, request: HttpRequest, obj: Group | None = None) -> Any:
        return ["name", "may"] if is_role(obj) else ["name", "permissions"]

    @admin.display(description="May")
    def may(self, obj: Group) -> SafeString:
        allowed = [action.summary for action in Action if Role(obj.name).includes(action.least_role)]
        return format_html_join("", "<div>{}</div>", ((summary,) for summary in allowed))

    def is_protected(self, request: HttpRequest, row: Group | None) -> bool:
        """Return whether the group is a role, which nobody may change."""
        return is_role(row)
