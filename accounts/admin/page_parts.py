"""Parts of admin pages that several apps share: columns, a form field, panels, and the page that confirms a change."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from django import forms
from django.contrib import messages
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from unfold.admin import ModelAdmin

if TYPE_CHECKING:
    from accounts.admin.base import AuditedAdmin

Row = TypeVar("Row")


@dataclass(frozen=True, kw_only=True, eq=False)
class Column:
    """A column of a list, or a field of a row's page, that formats values of the row.

    Attributes
    ----------
    short_description, admin_order_field, label
        The heading, the field to sort by, and the colours by text, as Django and unfold read them.
    text
        A format string, such as "{row.n_drifted_features} of {row.n_features}".
    needs
        Name of the value without which the column shows `empty`.
    """

    short_description: str
    text: str
    needs: str = "pk"
    empty: str = "-"
    admin_order_field: str | None = None
    label: Mapping[Any, str] | None = None

    def __call__(self, row: Model) -> str:
        return self.empty if getattr(row, self.needs) is None else self.text.format(row=row)


class ListField(forms.CharField):
    """A list that is entered as text; a subclass has the separator and reads the text."""

    separator = ", "

    def prepare_value(self, value: Any) -> Any:
        return self.separator.join(map(str, value)) if isinstance(value, list) else value

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(self.prepare_value(initial), data)


@dataclass(frozen=True, slots=True)
class Panel:
    """A section of a page.

    Attributes
    ----------
    key
        Unique on the page.
    template
        Receives `context` as ``panel``.
    """

    key: str
    title: str
    template: str
    context: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Panels(Generic[Row]):
    """The panels of one kind of page.

    Upper apps register panels on the pages of lower apps when they start, so that imports keep one direction.
    """

    makers: list[Callable[[Row], Panel]] = field(default_factory=list)

    def register(self, make: Callable[[Row], Panel]) -> Callable[[Row], Panel]:
        """Add the panel that `make` returns for a row to the page of each row."""
        self.makers.append(make)
        return make

    def of(self, row: Row) -> list[Panel]:
        """Return the panels of a row's page."""
        return [make(row) for make in self.makers]


def confirm_and_act(
    model_admin: "AuditedAdmin",
    request: HttpRequest,
    object_id: object,
    *,
    button: str,
    changes: Sequence[str],
    act: Callable[[Any], object],
    refusal: type[Exception],
    done: str,
) -> HttpResponse:
    """Ask for confirmation, then call `act` with the row; the row's page shows `done`, or the text of a `refusal`."""
    row = model_admin.row_or_404(request, object_id)
    if request.method != "POST":
        title = f"{button}: {row}"
        return confirmation_page(model_admin, request, row=row, title=title, changes=changes, button=button)
    try:
        act(row)
    except refusal as error:
        model_admin.message_user(request, str(error), messages.ERROR)
    else:
        model_admin.message_user(request, done)
    return redirect(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", object_id)


def confirmation_page(
    model_admin: ModelAdmin,
    request: HttpRequest,
    *,
    row: Model,
    title: str,
    changes: Sequence[str],
    button: str,
    is_final: bool = False,
    panels: Sequence[Panel] = (),
) -> TemplateResponse:
    """Return a page that lists what will change, with a button that does it and panels that help to decide.

    Its button sends a POST to the same URL. Return this page to any other method: a link alone changes nothing.
    """
    context: dict[str, Any] = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "original": row,
        "title": title,
        "changes": changes,
        "button": button,
        "is_final": is_final,
        "panels": panels,
    }
    return TemplateResponse(request, "admin/confirm_change.html", context)
