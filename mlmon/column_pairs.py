"""The columns of two files, read alike: by the kind that each has in the reference.

Every column of the reference is read from both files, not compared with a reason, or left out on purpose.
"""

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from mlmon.column_kinds import (
    ColumnKind,
    FileColumn,
    identifier_reason,
    in_single_precision,
    is_distinct_whole,
    read_column,
    read_reference,
    spelled_as,
    spelled_plainly,
)
from mlmon.exceptions import ComparisonInputError
from mlmon.file_columns import FileTable
from mlmon.results import LeftOut, LeftOutReason, NotCompared, ResultStatus
from mlmon.times import AmbiguousDatesError, DateOrder, in_one_zone
from mlmon.values import TextFormat, shown

ALL_COLUMNS = ""  # the key of a date order for all columns
UNNAMED = re.compile(r"|Unnamed: \d+")  # the index of a data frame in CSV, and what pandas calls it once read
NOUNS = {
    ColumnKind.NUMBER: ("a number", "numbers"),
    ColumnKind.BOOLEAN: ("a boolean", "booleans"),
    ColumnKind.TIME: ("a time", "times"),
    ColumnKind.STRING: ("a string", "strings"),
    ColumnKind.EMPTY: ("a string", "strings"),
}


@dataclass(frozen=True, slots=True)
class ColumnChoices:
    """What the user specifies about columns and files, because their values do not show it.

    Attributes
    ----------
    prediction
        The column with the model's predictions; "" if there is none.
    time
        The column that orders the rows of both files; "" if they are in order.
    ignored
        Columns that are left out.
    categorical
        Columns of numbers that are names: compared as categories.
    zone
        The time zone whose hours and weekdays are compared for times with a zone; "" for their own zone.
    missing
        Strings that are missing values in every column, such as NA. Without it they are categories in columns of
        strings.
    date_orders
        The order of dates such as 03/04/2026, by column; that of `ALL_COLUMNS` for all others.
    encoding
        Of CSV files; "" for UTF-8, or UTF-16 with a byte order mark.
    """

    prediction: str = ""
    time: str = ""
    ignored: frozenset[str] = frozenset()
    categorical: frozenset[str] = frozenset()
    zone: str = ""
    missing: frozenset[str] = frozenset()
    date_orders: Mapping[str, DateOrder] = field(default_factory=dict)
    encoding: str = ""

    def options_with(self, name: str) -> list[str]:
        """Return the options that name a column."""
        named = {
            "--prediction": name == self.prediction,
            "--time": name == self.time,
            "--categorical": name in self.categorical,
            "--date-format": name in self.date_orders,
        }
        return [option for option, is_named in named.items() if is_named and name]


class ColumnPair(NamedTuple):
    """One column of both files; `current` is None if it cannot be read as the reference's."""

    reference: FileColumn
    current: FileColumn | None

    def take(self, reference_rows: Any, current_rows: Any) -> "ColumnPair":
        """Return the pair with the rows of each file in another order."""
        current = None if self.current is None else self.current.take(current_rows)
        return ColumnPair(self.reference.take(reference_rows), current)


class ColumnPairs:
    """The columns of two files, each read by the kind that it has in the reference.

    Parameters
    ----------
    reference, current
        The files as they are.
    choices
        What the values do not show.

    Attributes
    ----------
    pairs
        Every column that could be read from the reference, by name, in the reference's order.
    not_compared
        The columns that cannot be compared, by name.
    left_out
        The columns that are left out on purpose.
    notes
        Sentences about values that were read in a way that may surprise.

    Raises
    ------
    ComparisonInputError
        A column that the user named cannot be read.
    """

    def __init__(self, reference: FileTable, current: FileTable, choices: ColumnChoices) -> None:
        self._reference, self._current, self._choices = reference, current, choices
        self.pairs: dict[str, ColumnPair] = {}
        self.not_compared: dict[str, NotCompared] = {}
        self.left_out: list[LeftOut] = []
        self.notes: list[str] = []
        for name in sorted(choices.ignored):
            if name in reference.all_names or name in current.all_names:
                self.left_out.append(LeftOut(name, LeftOutReason.IGNORED, "--ignore names it."))
            else:
                hint = close_name(name, [*reference.names, *current.names])
                self.notes.append(f"--ignore: neither file has a column {shown(name)}.{hint}")
        for name in reference.names:
            before = self._read_reference(name)
            if isinstance(before, LeftOut):
                self.left_out.append(before)
                continue
            if isinstance(before, NotCompared):
                self.not_compared[name] = before
                continue
            now = self._read_current(name, before)
            if isinstance(now, NotCompared):
                self.not_compared[name] = now
            self.pairs[name] = self._alike(name, before, None if isinstance(now, NotCompared) else now)
        for name in current.names:
            if name not in reference.names:
                reason, detail = LeftOutReason.NOT_IN_REFERENCE, f"{reference.name} has no such column."
                if name in current.index_columns:
                    reason, detail = LeftOutReason.INDEX_COLUMN, "It is the index of a data frame."
                self.left_out.append(LeftOut(name, reason, detail))
        self._order_rows()
        self._leave_out_identifiers()

    def _read_reference(self, name: str) -> FileColumn | NotCompared | LeftOut:
        table, choices = self._reference, self._choices
        is_named = bool(choices.options_with(name))
        if name in table.index_columns and not is_named:
            return LeftOut(name, LeftOutReason.INDEX_COLUMN, "It is the index of a data frame.")
        if name in table.unread:
            kind = table.unread[name]
            if isinstance(kind, pa.UuidType) and not is_named:
                return LeftOut(name, LeftOutReason.IDENTIFIER, "Its values are UUIDs.")
            detail = f"In {table.name} it has the type {str(kind)[:80]}, which cannot be compared."
            return NotCompared(name, ResultStatus.ERROR, detail)
        column = table.columns[name]
        text = TextFormat(table.format.decimal_point or ".", choices.missing)
        order = choices.date_orders.get(name, choices.date_orders.get(ALL_COLUMNS))
        try:
            before = read_reference(column, text, order, are_names=name in choices.categorical)
        except AmbiguousDatesError as error:
            return _ambiguous(name, table, error)
        found = before.type
        if name in choices.date_orders and found.kind is not ColumnKind.TIME:
            raise ComparisonInputError(
                f"--date-format {name}={choices.date_orders[name]}: most values of the column in {table.name} are no "
                "such dates."
            )
        self.notes += [f"{name}: {found.note}."] if found.note else []
        if before.type.date_order is not None:
            self.notes.append(f"{name}: its dates are read as {before.type.date_order}.")
        self.notes += _notes_of(name, table, before)
        return replace(before, values=spelled_plainly(before.values)) if found.has_named_numbers else before

    def _read_current(self, name: str, before: FileColumn) -> FileColumn | NotCompared:
        table, choices = self._current, self._choices
        if name not in table.names:
            detail = f"{table.name} has no such column.{close_name(name, table.names)}"
            return NotCompared(name, ResultStatus.MISSING_COLUMN, detail)
        if name in table.unread:
            detail = f"In {table.name} it has the type {str(table.unread[name])[:80]}."
            return NotCompared(name, ResultStatus.TYPE_CHANGED, detail)
        try:
            now = read_column(
                table.columns[name], before.type, TextFormat(table.format.decimal_point or ".", choices.missing)
            )
        except AmbiguousDatesError as error:
            return _ambiguous(name, table, error)
        if now.is_mostly_unreadable:
            detail = f"In {table.name}, {_unreadable(now)}."
            return NotCompared(name, ResultStatus.TYPE_CHANGED, detail)
        self.notes += _notes_of(name, table, now)
        return now

    def _alike(self, name: str, before: FileColumn, now: FileColumn | None) -> ColumnPair:
        """Return both columns with the same spellings, in the same precision and in the same time zone."""
        if before.is_single and now is not None and not now.is_single:
            now = in_single_precision(now)
        elif now is not None and now.is_single and not before.is_single:  # .1 differs between the two
            before = in_single_precision(before)
        if before.times is not None:
            zone = self._choices.zone
            try:
                times = in_one_zone(before.times, None if now is None else now.times, zone)
            except pa.ArrowInvalid as error:
                message = f"There is no time zone {zone or before.times.zone!r} on this machine (--zone)."
                raise ComparisonInputError(message) from error
            before = replace(before, times=times[0], values=times[0].local)
            if times[0].zone == "UTC" and times[0].has_clock and not zone:
                self.notes.append(
                    f"{name}: its hours are in UTC, so summer time looks like drift; use --zone to choose a time zone."
                )
            if now is not None and times[1] is not None:
                now = replace(now, times=times[1], values=times[1].local)
        elif now is not None and before.type.kind is ColumnKind.STRING:
            now = replace(now, values=spelled_as(now.values, before.values))
        return ColumnPair(before, now)

    def _order_rows(self) -> None:
        """Order the rows of both files by the column of times, those without a time last."""
        if not self._choices.time:
            return
        reference, current = self.pairs[self._choices.time]
        if current is None:
            raise ComparisonInputError(f"--time: {self.not_compared[self._choices.time].detail}")
        orders = pc.sort_indices(reference.values), pc.sort_indices(current.values)
        self.pairs = {name: pair.take(*orders) for name, pair in self.pairs.items()}

    def _leave_out_identifiers(self) -> None:
        for name, pair in list(self.pairs.items()):
            if self._choices.options_with(name):
                continue
            is_index = UNNAMED.fullmatch(name) and is_distinct_whole(pair.reference)
            detail = (
                "It numbers the rows." if is_index else identifier_reason(pair.reference, self._reference.columns[name])
            )
            if detail:
                reason = LeftOutReason.INDEX_COLUMN if is_index else LeftOutReason.IDENTIFIER
                self.left_out.append(LeftOut(name, reason, detail))
                del self.pairs[name]
                self.not_compared.pop(name, None)


def close_name(name: str, names: Collection[str]) -> str:
    """Return a sentence with the name that a misspelt one may mean; "" if there is none."""
    close = difflib.get_close_matches(name, names, n=1) or [each for each in names if each.lower() == name.lower()]
    return f" Did you mean {shown(close[0])}?" if close else ""


def _ambiguous(name: str, table: FileTable, error: AmbiguousDatesError) -> NotCompared:
    detail = (
        f"In {table.name}, day and month of dates such as {shown(str(error))} cannot be told apart; use --date-format "
        f"{name}={DateOrder.DAY_FIRST} or {name}={DateOrder.MONTH_FIRST}."
    )
    return NotCompared(name, ResultStatus.AMBIGUOUS_DATES, detail)


def _unreadable(column: FileColumn) -> str:
    """Return how many values could not be read, and the first of them."""
    one, many = NOUNS[column.type.kind]
    first = f"row {column.first_row:,}: {shown(column.first_value, 60)}"
    if column.n_unreadable == 1:
        return f"1 of {column.n_present:,} values is not {one}, in {first}"
    return f"{column.n_unreadable:,} of {column.n_present:,} values are not {many}, the first in {first}"


def _notes_of(name: str, table: FileTable, column: FileColumn) -> Iterator[str]:
    if column.n_unreadable:
        counted = "it counts" if column.n_unreadable == 1 else "they count"
        yield f"{name} in {table.name}: {_unreadable(column)}; {counted} as missing."
    if column.spelled_missing:
        total = sum(column.spelled_missing.values())
        spellings = " or ".join(map(shown, column.spelled_missing))
        options = " ".join(f"--missing {spelling}" for spelling in column.spelled_missing)
        yield (
            f"{name} in {table.name}: {total:,} of {column.n_present:,} values {'is' if total == 1 else 'are'} "
            f"{spellings}, a category in a column of strings; use {options} if it means a missing value."
        )
