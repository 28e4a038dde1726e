"""Base classes of the pages of the admin: malformed URLs and forms are refused, and changes go to the audit trail."""

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.views.main import PAGE_VAR
from django.contrib.auth.forms import ReadOnlyPasswordHashField
from django.core.exceptions import BadRequest, ValidationError
from django.db import transaction
from django.db.models import Model, Q, QuerySet
from django.forms.models import ModelChoiceField, ModelMultipleChoiceField
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from unfold.admin import ModelAdmin

from accounts.roles import Action
from accounts.selectors import changes_of
from accounts.services.changes import NOT_SHOWN, Change, is_secret, record_change, words

CHANGES_PER_PAGE = 100


@contextlib.contextmanager
def _overflow_as_bad_request() -> Iterator[None]:
    """Refuse a number that SQLite cannot hold; Django already handles PostgreSQL's error."""
    try:
        yield
    except OverflowError as error:
        if "SQLite" not in str(error):
            raise
        raise BadRequest("A number is too large.") from error


class ServiceForm(forms.ModelForm):  # type: ignore[type-arg]  # of any model
    """A form that adds a row with a service as the last step of its validation, so that errors are beside the fields.

    Its fields need not be those of the model. A subclass calls the service in `_post_clean` and sets `created`.

    Attributes
    ----------
    user
        Who adds the row; `AuditedAdmin` sets it.
    created
        The row that the service stored.
    """

    user: Any = None
    created: Any = None

    def save(self, commit: bool = True) -> Any:
        """Return the row that the service stored."""
        self.save_m2m = self._save_m2m  # type: ignore[method-assign,attr-defined]
        return self.created


class AuditedAdmin(ModelAdmin):
    """Write each addition, change and deletion to the audit trail, and show a row's changes as its history.

    Malformed keys and numbers in a URL or form are answered with 404 or 400, not 500.

    Attributes
    ----------
    empty_text
        Shown in an empty list: what its rows are and where they come from.
    forbidden
        What nobody may do on these pages, whatever their role: "add", "change" or "delete".
    opens_added_row
        Whether adding a row leads to its page instead of the list.
    recorded_by_service
        Which of "add", "change" and "delete" a service records, so that the page does not.
    annotations
        Values that the query adds to each row, by name, for columns.
    fixed_fields
        Fields of the form that are read-only once the row exists.
    service_form
        The form that adds a row, if Django cannot build it from the model.
    page_context
        A static method that returns what the template of a row's page gets besides Django's context.
    """

    empty_text = ""
    forbidden: Collection[str] = ()
    opens_added_row = False
    recorded_by_service: Collection[str] = ()
    annotations: Mapping[str, Any] = {}
    fixed_fields: Collection[str] = ()
    service_form: type[ServiceForm] | None = None
    object_history_template: Any = "admin/changes_of_row.html"
    page_context: Callable[[Any], dict[str, Any]] | None = None

    def row_or_404(self, request: HttpRequest, object_id: object) -> Any:
        """Return the row with this key, or raise Http404; the key may be any string."""
        row = self.get_object(request, str(object_id))
        if row is None:
            raise Http404(f"There is no {self.opts.verbose_name} {object_id!r}.")
        return row

    def is_allowed(self, needed: Action, request: HttpRequest, object_id: Any = None) -> bool:
        """Return whether the user's role allows an action.

        A button with ``permissions=["check"]`` needs ``has_check_permission = partialmethod(AuditedAdmin.is_allowed,
        Action.RUN_CHECK)``. The names of Django's permissions would be looked up in the database at each start.
        """
        return needed.is_allowed(request.user)

    def is_protected(self, request: HttpRequest, row: Any) -> bool:
        """Return whether the user may neither change nor delete the row; None stands for all rows."""
        return False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return "add" not in self.forbidden and super().has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        is_refused = "change" in self.forbidden or self.is_protected(request, obj)
        return not is_refused and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        is_refused = "delete" in self.forbidden or self.is_protected(request, obj)
        return not is_refused and super().has_delete_permission(request, obj)

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).annotate(**self.annotations)

    def get_form(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:  # UserAdmin has no `change`
        if obj is None and self.service_form is not None:
            return type("Form", (self.service_form,), {"user": user_of(request)})
        return super().get_form(request, obj, **kwargs)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [*super().get_readonly_fields(request, obj), *(self.fixed_fields if obj else ())]

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        """Return the changes by field label, for `log_addition` and `log_change`."""
        changes = dict(changes_of_form(form, is_new=add))
        for formset in formsets or []:
            for index, inline in enumerate(formset.forms):
                if inline.has_changed() and inline.cleaned_data.get("DELETE"):
                    changes[f"{inline.instance}"] = ("present", "removed")
                elif inline.has_changed():
                    is_new = index >= formset.initial_form_count()
                    for name, change in changes_of_form(inline, is_new=is_new):
                        changes[f"{inline.instance}: {name}"] = change
        return changes

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        if "add" not in self.recorded_by_service:
            record_change(user=user_of(request), row=obj, message="Added.", changes=message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        if message and "change" not in self.recorded_by_service:  # there is no message for an unchanged form
            record_change(user=user_of(request), row=obj, message="", changes=message)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        for row in () if "delete" in self.recorded_by_service else queryset:
            record_change(user=user_of(request), row=row, message="Deleted.")

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Protect rows from the list's delete action, which does not check the permission for each row."""
        to_delete, counts, perms_needed, protected = super().get_deleted_objects(objs, request)
        kept = [str(row) for row in objs if not self.has_delete_permission(request, row)]
        return to_delete, counts, perms_needed, [*protected, *kept]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        for key in request.POST.getlist(ACTION_CHECKBOX_NAME):
            try:
                self.opts.pk.to_python(key)
            except ValidationError as error:
                raise BadRequest(f"{key!r} is not the key of a row.") from error
        # An action of the list and its audit rows succeed or fail together.
        with _overflow_as_bad_request(), transaction.atomic():
            return super().changelist_view(request, extra_context)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        with _overflow_as_bad_request():
            return super().changeform_view(request, *args, **kwargs)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        row = self.get_object(request, object_id) if self.page_context else None
        context = self.page_context(row) if self.page_context and row is not None else {}
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        if self.opens_added_row:
            return redirect(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", obj.pk)
        return super().response_add(request, obj, post_url_continue)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context: dict[str, Any] = {}
        row = self.get_object(request, object_id)
        if row is not None:
            pages = self.get_paginator(request, changes_of(row), CHANGES_PER_PAGE)
            context = {"changes": pages.get_page(request.GET.get(PAGE_VAR, 1)), "page_var": PAGE_VAR}
        return super().history_view(request, object_id, {**context, **(extra_context or {})})


class ConditionFilter(admin.SimpleListFilter):
    """A filter of a list by conditions.

    Attributes
    ----------
    conditions
        The label and the condition of each value of the parameter.
    """

    conditions: Mapping[str, tuple[str, Q]] = {}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, label) for value, (label, _) in self.conditions.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = self.conditions.get(self.value() or "")
        return queryset.filter(chosen[1]) if chosen else queryset


class ReadOnlyAdmin(AuditedAdmin):
    """Show rows that programs write; nobody can add, change or delete them here."""

    forbidden = ("add", "change", "delete")


def user_of(request: HttpRequest) -> Any:
    """Return the user who is logged in, or None."""
    return request.user if request.user.is_authenticated else None


def changes_of_form(form: Any, *, is_new: bool = False) -> Iterator[tuple[str, Change]]:
    """Yield each changed field's label with its old and new value; for a new row, every value that was entered."""
    for name in form.changed_data:
        field = form.fields.get(name)
        is_password = field is not None and (
            isinstance(field.widget, forms.PasswordInput) or isinstance(field, ReadOnlyPasswordHashField)
        )
        if field is None or is_password or is_secret(name):
            yield words(name), (NOT_SHOWN, NOT_SHOWN)
            continue
        before, after = None if is_new else form.get_initial_for_field(field, name), form.cleaned_data.get(name)
        is_key = isinstance(field, ModelChoiceField) and not isinstance(field, ModelMultipleChoiceField)
        if is_key and before is not None and not isinstance(before, Model):
            before = field.queryset.model._base_manager.filter(pk=before).first() or before
        if before != after and not (is_new and after in ("", [])):
            yield str(field.label or words(name)), (before, after)
