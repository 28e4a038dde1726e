"""Rubbish in an address or in a sent form, which Django's admin does not expect everywhere."""

import contextlib
from collections.abc import Iterator
from typing import Any

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import BadRequest, ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from unfold.admin import ModelAdmin


class AddressedAdmin(ModelAdmin):
    """Answers what is no row with "not found", and what is no value with "bad request"; neither is our fault."""

    def row_or_404(self, request: HttpRequest, object_id: object) -> Any:
        """Return the row of an action's address; Http404 where there is none, whatever the address holds."""
        row = self.get_object(request, str(object_id))
        if row is None:
            raise Http404(f"There is no {self.opts.verbose_name} {object_id!r}.")
        return row

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        self._check_selection(request)
        with _numbers_that_fit():
            return super().changelist_view(request, extra_context)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        with _numbers_that_fit():
            return super().changeform_view(request, *args, **kwargs)

    def _check_selection(self, request: HttpRequest) -> None:
        """Refuse the action of a list whose ticked rows are no keys."""
        for key in request.POST.getlist(ACTION_CHECKBOX_NAME):
            try:
                self.opts.pk.to_python(key)
            except ValidationError as error:
                raise BadRequest(f"{key!r} is no row of this list.") from error


@contextlib.contextmanager
def _numbers_that_fit() -> Iterator[None]:
    """Refuse a number that SQLite cannot hold; PostgreSQL says so itself, and Django understands that."""
    try:
        yield
    except OverflowError as error:
        if "SQLite" not in str(error):
            raise
        raise BadRequest("A number is too large.") from error
