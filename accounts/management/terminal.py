"""What every command of mlmon shares: help with examples, exit statuses, tables, progress bars and JSON output."""

import json
import sys
from argparse import ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import IntEnum
from http import HTTPStatus
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser, DjangoHelpFormatter
from django.core.serializers.json import DjangoJSONEncoder
from django.db import DatabaseError
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from mlmon.figures import plain_text
from rest.problems import STATUS_OF_ERROR, status_of

UNLIMITED_WIDTH = 1_000_000  # characters of a line that no terminal shows
ShowProgress: TypeAlias = Callable[[float, str], None]  # completed steps, and a text


class ExitStatus(IntEnum):
    """How a command ends; docs/terminal.md explains it."""

    DONE = 0
    FOUND = 1  # it found what it looks for (drift, an open incident), failed or was refused
    WRONG_USAGE = 2  # as in argparse; also an unknown model, version or file
    UNAVAILABLE = 3  # the database is unavailable
    NOT_COMPARED = 4  # a part could not be compared, and nothing was found
    INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended


class TeachingHelpFormatter(RawDescriptionHelpFormatter, DjangoHelpFormatter):
    """Keep the line breaks of the description and of the examples."""


class TeachingCommand(BaseCommand):
    """A command whose help has examples and whose errors set the exit status.

    Attributes
    ----------
    epilog
        Shown below the options: ``examples:`` with lines that begin with ``manage.py``, and ``exit status:``.
    """

    epilog: ClassVar[str] = ""

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(
            prog_name, subcommand, formatter_class=TeachingHelpFormatter, epilog=self.epilog, **kwargs
        )

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except ValidationError as error:
            messages = error.messages
            if hasattr(error, "error_dict"):
                fields = error.message_dict.items()
                messages = [
                    " ".join(of_field) if field == NON_FIELD_ERRORS else f"{field}: {' '.join(of_field)}"
                    for field, of_field in fields
                ]
            raise CommandError(plain_text(" ".join(messages)), returncode=ExitStatus.FOUND) from error
        except DatabaseError as error:
            message = f"The database is unavailable or not migrated: {error}"
            raise CommandError(message.strip(), returncode=ExitStatus.UNAVAILABLE) from error
        except KeyboardInterrupt as error:
            raise CommandError("Interrupted.", returncode=ExitStatus.INTERRUPTED) from error
        except tuple(STATUS_OF_ERROR) as error:
            is_unknown = status_of(error) is HTTPStatus.NOT_FOUND
            code = ExitStatus.WRONG_USAGE if is_unknown else ExitStatus.FOUND
            raise CommandError(plain_text(str(error)), returncode=code) from error

    def write_result(self, value: object, parts: Iterable[str | Table], *, as_json: bool) -> None:
        """Print a result: as one JSON document and nothing else, or as lines and tables for a person."""
        if as_json:
            self.stdout.write(json.dumps(value, indent=2, allow_nan=False, cls=DjangoJSONEncoder))
            return
        for part in parts:
            self.stdout.write(part if isinstance(part, str) else table_text(part, is_terminal=self.stdout.isatty()))


def add_json_option(parser: CommandParser) -> None:
    """Add ``--json``, which prints the result for a program."""
    parser.add_argument("--json", action="store_true", help="print the result as one JSON document, alone on stdout")


def whole_number(text: str, *, largest: int) -> int:
    """Return the value of an option that must be a whole number from 1 to `largest`."""
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= largest):
        raise ArgumentTypeError(f"must be a whole number from 1 to {largest:,}")
    return int(text)


def demand_file(path: Path) -> Path:
    """Return the path of an existing file, or raise CommandError."""
    if not path.is_file():
        raise CommandError(f"There is no file {path}.", returncode=ExitStatus.WRONG_USAGE)
    return path


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Collection[str] = ()) -> Table:
    """Return a table of plain strings: control characters are escaped, markup is not interpreted.

    Columns whose headings are in `numbers` are aligned to the right.
    """
    made = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in headings:
        made.add_column(Text(heading), overflow="fold", justify="right" if heading in numbers else "left")
    for row in rows:
        made.add_row(*(Text(plain_text(cell)) for cell in row))
    return made


def table_text(made: Table, *, is_terminal: bool = False) -> str:
    """Return a table as text: fitted to a terminal, or complete and without escape codes."""
    console = Console(force_terminal=is_terminal, width=None if is_terminal else UNLIMITED_WIDTH)
    with console.capture() as capture:
        console.print(made)
    lines = capture.get().splitlines()
    return "\n".join(lines if is_terminal else map(str.rstrip, lines))


@contextmanager
def progress_bar(*, total: float, options: Mapping[str, Any]) -> Iterator[ShowProgress]:
    """Show a progress bar on stderr; yield the function that updates it.

    There is no bar if stderr is not a terminal or if the command's `options` ask for JSON.
    """
    is_shown = sys.stderr.isatty() and not options["json"]
    console = Console(file=sys.stderr, force_terminal=is_shown, no_color=options.get("no_color") or None)
    columns = (BarColumn(), TaskProgressColumn(), TimeRemainingColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=console, disable=not is_shown) as progress:
        task = progress.add_task("", total=total)
        shown = ""

        def show(completed: float, text: str) -> None:
            nonlocal shown
            progress.update(task, completed=completed, description=plain_text(text), refresh=text != shown)
            shown = text

        yield show
