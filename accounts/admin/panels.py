"""Parts of a row's page that apps above its own add: imports go one way, and pages show what lies on the other."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Panel:
    """A part of a page.

    Attributes
    ----------
    key
        Unique on the page.
    template
        Is given `context`, the panel's own names, as ``panel``.
    """

    key: str
    title: str
    template: str
    context: Mapping[str, Any]


class Panels(Generic[Row]):
    """The panels of one kind of page; apps register them when they start."""

    def __init__(self) -> None:
        self._makers: list[Callable[[Row], Panel]] = []

    def register(self, make: Callable[[Row], Panel]) -> Callable[[Row], Panel]:
        """Let the page of each row show what `make` returns for it."""
        self._makers.append(make)
        return make

    def of(self, row: Row) -> list[Panel]:
        """Return the panels of a row's page."""
        return [make(row) for make in self._makers]
