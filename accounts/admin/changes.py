"""The audit trail in the admin, read only."""

from typing import Any

from django.apps import apps
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from accounts.admin.base import ReadOnlyAdmin
from accounts.admin.page_parts import Column
from accounts.models import ChangeRecord

LONGEST_TEXT = 200  # characters in the list


def row_type_in_words(row_type: str) -> str:
    """Return the name of a type of row as people read it, or the type itself if this release no longer has it."""
    try:
        return str(apps.get_model(row_type)._meta.verbose_name)
    except (LookupError, ValueError):
        return row_type


def record_context(record: ChangeRecord) -> dict[str, Any]:
    """Return the context of a change's page; the URL is "" if the row has no page or no longer exists."""
    try:
        model = apps.get_model(record.row_type)
        row_url = reverse(f"admin:{record.row_type.replace('.', '_')}_change", args=[record.row_id])
    except (LookupError, ValueError, NoReverseMatch):
        return {"record": record, "row_url": ""}
    is_there = model._base_manager.filter(pk=record.row_id).exists()
    return {"record": record, "row_url": row_url if is_there else ""}


class RowTypeFilter(admin.SimpleListFilter):
    title = "what was changed"
    parameter_name = "row_type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        types = ChangeRecord.objects.order_by("row_type").values_list("row_type", flat=True).distinct()
        return sorted(((name, row_type_in_words(name)) for name in types), key=lambda choice: choice[1])

    def queryset(self, request: HttpRequest, queryset: QuerySet[ChangeRecord]) -> QuerySet[ChangeRecord]:
        return queryset.filter(row_type=self.value()) if self.value() else queryset


@admin.register(ChangeRecord)
class ChangeRecordAdmin(ReadOnlyAdmin):
    empty_text = (
        "Every change by a person or a command is recorded here: promotions, thresholds, reference data, tokens, "
        "accounts."
    )
    list_display = ["when", "actor", "kind", "row_name", "what"]
    list_display_links = ["when"]
    list_filter = [RowTypeFilter, "model_name", "actor", "happened_at"]
    search_fields = ["actor", "row_name", "model_name", "message"]
    show_full_result_count = False
    fields = [("when", "actor"), ("kind", "model_name")]
    change_form_outer_before_template = "admin/accounts/changerecord/change.html"
    page_context = staticmethod(record_context)

    when = Column(short_description="When", text="{row.happened_at:%Y-%m-%d %H:%M:%S}", admin_order_field="happened_at")

    class Media:
        css = {"all": ["mlmon/figures.css"]}

    @display(description="Kind", ordering="row_type")
    def kind(self, obj: ChangeRecord) -> str:
        return row_type_in_words(obj.row_type)

    @display(description="What")
    def what(self, obj: ChangeRecord) -> SafeString:
        text = obj.text if len(obj.text) <= LONGEST_TEXT else f"{obj.text[:LONGEST_TEXT]}…"
        return format_html('<span class="wrapped">{}</span>', text)
