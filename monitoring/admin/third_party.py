"""Third-party pages in the look of the others, with their permissions and in the audit trail."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django_celery_beat.admin import (
    ClockedScheduleAdmin,
    CrontabScheduleAdmin,
    PeriodicTaskAdmin,
)
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminSelect2MultipleWidget,
)

from accounts.admin.base import AuditedAdmin, user_of
from accounts.roles import Action, Role
from accounts.services.changes import record_change
from monitoring.admin.schedule_forms import CrontabScheduleForm, IntervalScheduleForm, StyledPeriodicTaskForm

# Schedules by the sun are not offered: they need the package ephem, and beat ends at one without it.
for third_party in (User, Group, PeriodicTask, IntervalSchedule, CrontabSchedule, ClockedSchedule, SolarSchedule):
    admin.site.unregister(third_party)

FOR_SUPERUSERS = ["is_superuser", "user_permissions"]


def give_widget(field: Any, *, is_short: bool) -> Any:
    """Let a person tick a few rows, or search many: Django's two lists side by side are wider than a narrow page."""
    widget = UnfoldAdminCheckboxSelectMultipleWidget if is_short else UnfoldAdminSelect2MultipleWidget
    field.widget = widget(choices=field.choices)
    return field


@admin.register(User)
class UserModelAdmin(UserAdmin[User], AuditedAdmin):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ["username", "roles", "email", "is_active", "is_staff", "is_superuser", "last_login"]
    list_filter = ["groups", "is_active", "is_staff", "is_superuser"]
    filter_horizontal = []

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("groups")

    def formfield_for_manytomany(self, db_field: Any, request: Any = None, **kwargs: Any) -> Any:
        field: Any = super().formfield_for_manytomany(db_field, request, **kwargs)
        if db_field.name == "groups":
            field.help_text = "The roles are viewer, operator, model owner and admin; each includes those before it."
        else:
            field.help_text = "Beyond those of the groups. Type to search."
        return give_widget(field, is_short=db_field.name == "groups")

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        # Otherwise an admin would make themselves a superuser.
        return [] if is_superuser(request) else FOR_SUPERUSERS

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        if obj is None or self.has_change_permission(request, obj):
            return super().get_fieldsets(request, obj)
        about = ["username", ("first_name", "last_name"), "email", "groups", "is_active", "is_staff", "is_superuser"]
        return [(None, {"fields": [*about, ("last_login", "date_joined")]})]  # nothing of the password's hash

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and may_touch(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and may_touch(request, obj)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Protect superusers from the list's action too, which asks for no single row's permission."""
        to_delete, counts, perms_needed, protected = super().get_deleted_objects(objs, request)
        return to_delete, counts, perms_needed, [*protected, *(str(row) for row in objs if not may_touch(request, row))]

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        with transaction.atomic():  # the password and its line in the trail
            return super().user_change_password(request, id, form_url)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        if not change:
            obj.is_staff = True  # accounts are for these pages alone, and may nothing here until they have a role
        super().save_model(request, obj, form, change)

    @admin.display(description="Roles")
    def roles(self, obj: User) -> str:
        return ", ".join(sorted(group.name for group in obj.groups.all())) or "-"


def is_superuser(request: HttpRequest) -> bool:
    """Return whether a superuser is logged in."""
    return bool(getattr(request.user, "is_superuser", False))


def may_touch(request: HttpRequest, account: User | None) -> bool:
    """Return whether a person who manages accounts may change this one: a superuser's only as a superuser."""
    return account is None or not account.is_superuser or is_superuser(request)


@admin.register(Group)
class GroupModelAdmin(GroupAdmin, AuditedAdmin):
    list_display = ["name", "of_mlmon", "members"]
    filter_horizontal = []

    def get_queryset(self, request: HttpRequest) -> QuerySet[Group]:
        return super().get_queryset(request).annotate(n_members=Count("user"))

    def formfield_for_manytomany(self, db_field: Any, request: Any = None, **kwargs: Any) -> Any:
        field: Any = super().formfield_for_manytomany(db_field, request, **kwargs)
        field.help_text = "Type to search."
        return give_widget(field, is_short=False)

    def get_fields(self, request: HttpRequest, obj: Group | None = None) -> Any:
        return ["name", "may"] if is_role(obj) else ["name", "permissions"]

    def get_readonly_fields(self, request: HttpRequest, obj: Group | None = None) -> list[str]:
        return ["may"] if is_role(obj) else []

    @admin.display(description="May")
    def may(self, obj: Group) -> SafeString:
        allowed = [action.summary for action in Action if Role(obj.name).includes(action.least_role)]
        return format_html_join("", "<div>{}</div>", ((summary,) for summary in allowed))

    @admin.display(description="Role of mlmon", boolean=True)
    def of_mlmon(self, obj: Group) -> bool:
        return is_role(obj)

    @admin.display(description="People", ordering="n_members")
    def members(self, obj: Any) -> int:
        return int(obj.n_members)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and not is_role(obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and not is_role(obj)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Protect the roles from the list's action too, which asks for no single row's permission."""
        to_delete, counts, perms_needed, protected = super().get_deleted_objects(objs, request)
        return to_delete, counts, perms_needed, [*protected, *(str(group) for group in objs if is_role(group))]


def is_role(group: Group | None) -> bool:
    """Return whether a group is one of mlmon's own, which every migration puts right again."""
    return group is not None and group.name in list(Role)


def without_field(fieldsets: Any, name: str) -> list[tuple[Any, dict[str, Any]]]:
    """Return the groups of fields of a page without one field."""
    return [
        (title, {**options, "fields": [field for field in options["fields"] if field != name]})
        for title, options in fieldsets
    ]


class ScheduleModelAdmin(AuditedAdmin):
    """Schedules, whose own pages ask for no permission of their list's actions."""

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return Action.MANAGE_SCHEDULES.is_allowed(request.user)


@admin.register(PeriodicTask)
class PeriodicTaskModelAdmin(PeriodicTaskAdmin, ScheduleModelAdmin):
    """django-celery-beat lets everyone who sees the list start and stop tasks: here it takes the permission."""

    form = StyledPeriodicTaskForm
    fieldsets = without_field(PeriodicTaskAdmin.fieldsets, "solar")

    @admin.action(description="Enable selected tasks", permissions=["operate"])
    def enable_tasks(self, request: HttpRequest, queryset: QuerySet[PeriodicTask]) -> None:
        self._record(request, queryset, "Enabled.")
        super().enable_tasks(request, queryset)

    @admin.action(description="Disable selected tasks", permissions=["operate"])
    def disable_tasks(self, request: HttpRequest, queryset: QuerySet[PeriodicTask]) -> None:
        self._record(request, queryset, "Disabled.")
        super().disable_tasks(request, queryset)

    @admin.action(description="Toggle activity of selected tasks", permissions=["operate"])
    def toggle_tasks(self, request: HttpRequest, queryset: QuerySet[PeriodicTask]) -> None:
        self._record(request, queryset.filter(enabled=True), "Disabled.")
        self._record(request, queryset.filter(enabled=False), "Enabled.")
        super().toggle_tasks(request, queryset)

    @admin.action(description="Run selected tasks", permissions=["operate"])
    def run_tasks(self, request: HttpRequest, queryset: QuerySet[PeriodicTask]) -> None:
        self._record(request, queryset, "Run by hand.")
        super().run_tasks(request, queryset)

    def _record(self, request: HttpRequest, queryset: QuerySet[PeriodicTask], message: str) -> None:
        for task in queryset:
            record_change(user=user_of(request), row=task, message=message)


@admin.register(IntervalSchedule)
class IntervalScheduleModelAdmin(ScheduleModelAdmin):
    form = IntervalScheduleForm


@admin.register(CrontabSchedule)
class CrontabScheduleModelAdmin(CrontabScheduleAdmin, ScheduleModelAdmin):
    form = CrontabScheduleForm


@admin.register(ClockedSchedule)
class ClockedScheduleModelAdmin(ClockedScheduleAdmin, ScheduleModelAdmin):
    pass
