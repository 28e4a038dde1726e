"""What people change on a page of the admin goes to the audit trail, with old and new values."""

from collections.abc import Iterable, Iterator
from typing import Any

from django import forms
from django.contrib.admin.views.main import PAGE_VAR
from django.contrib.auth.forms import ReadOnlyPasswordHashField
from django.db import transaction
from django.db.models import Model, QuerySet
from django.forms.models import ModelChoiceField, ModelMultipleChoiceField
from django.http import HttpRequest, HttpResponse

from accounts.admin.addressed import AddressedAdmin
from accounts.selectors import changes_of
from accounts.services.audit import NOT_SHOWN, Change, is_secret, record_change, words

CHANGES_PER_PAGE = 100


class AuditedAdmin(AddressedAdmin):
    """Writes each addition, change and deletion to the audit trail, and shows a row's part of it as its history.

    Where a service writes what it does, its page overrides `log_addition` or `log_change` to write nothing.

    Attributes
    ----------
    empty_text
        What the list says while it has no rows: what they would be, and where they come from.
    """

    empty_text = ""
    object_history_template: Any = "admin/changes_of_row.html"

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        """Return the changes by name, for `log_addition` and `log_change`."""
        return {**dict(changes_of_form(form, is_new=add)), **dict(_changes_of_formsets(formsets or []))}

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        record_change(user=user_of(request), row=obj, message="Added.", changes=message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        if message:  # a page that was saved as it was is no change
            record_change(user=user_of(request), row=obj, message="", changes=message)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        for row in queryset:
            record_change(user=user_of(request), row=row, message="Deleted.")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        with transaction.atomic():  # what a list's action does, and its lines in the trail: all or nothing
            return super().changelist_view(request, extra_context)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        row = self.get_object(request, object_id)
        context = {} if row is None else self._history_context(request, changes_of(row))
        return super().history_view(request, object_id, {**context, **(extra_context or {})})

    def _history_context(self, request: HttpRequest, changes: QuerySet[Any]) -> dict[str, Any]:
        page = self.get_paginator(request, changes, CHANGES_PER_PAGE).get_page(request.GET.get(PAGE_VAR, 1))
        return {"changes": page, "page_var": PAGE_VAR}


def user_of(request: HttpRequest) -> Any:
    """Return who is logged in, or None."""
    return request.user if request.user.is_authenticated else None


def changes_of_form(form: Any, *, is_new: bool = False) -> Iterator[tuple[str, Change]]:
    """Yield what a form changed, by the labels of its fields; of a new row all that was given."""
    for name in form.changed_data:
        field = form.fields.get(name)
        if field is None or _is_secret(name, field):
            yield words(name), (NOT_SHOWN, NOT_SHOWN)
            continue
        before, after = None if is_new else _before(form, name, field), form.cleaned_data.get(name)
        if before != after and not (is_new and after in ("", [])):
            yield str(field.label or words(name)), (before, after)


def _is_secret(name: str, field: forms.Field) -> bool:
    has_password = isinstance(field.widget, forms.PasswordInput) or isinstance(field, ReadOnlyPasswordHashField)
    return has_password or is_secret(name)


def _before(form: Any, name: str, field: forms.Field) -> object:
    """Return what a field held, with the name of a row in place of its key."""
    value = form.get_initial_for_field(field, name)
    is_key = isinstance(field, ModelChoiceField) and not isinstance(field, ModelMultipleChoiceField)
    if is_key and value is not None and not isinstance(value, Model):
        return field.queryset.model._base_manager.filter(pk=value).first() or value  # type: ignore[attr-defined]
    return value


def _changes_of_formsets(formsets: Iterable[Any]) -> Iterator[tuple[str, Change]]:
    for formset in formsets:
        for index, form in enumerate(formset.forms):
            if form.has_changed() and form.cleaned_data.get("DELETE"):
                yield f"{form.instance}", ("there", "removed")
            elif form.has_changed():
                for name, change in changes_of_form(form, is_new=index >= formset.initial_form_count()):
                    yield f"{form.instance}: {name}", change
