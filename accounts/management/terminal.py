"""What all commands of mlmon share: help that teaches, exit statuses, tables, progress bars, one JSON document."""

import json
import sys
from argparse import RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from enum import IntEnum
from http import HTTPStatus
from pathlib import Path
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser, DjangoHelpFormatter
from django.core.serializers.json import DjangoJSONEncoder
from django.db import DatabaseError
from tqdm import tqdm

from mlmon.figures import plain_text
from rest.errors import status_of


class ExitStatus(IntEnum):
    """How a command ends; docs/terminal.md tells it to people."""

    DONE = 0
    FOUND = 1  # found what it looks for (drift, an open incident), or failed in its work, or was refused
    WRONG_USAGE = 2  # as argparse; also a model, a version or a file that is not there
    UNAVAILABLE = 3  # the database does not answer
    INTERRUPTED = 130  # as a shell says it of a program that Ctrl-C ended


class TeachingHelpFormatter(RawDescriptionHelpFormatter, DjangoHelpFormatter):
    """Keeps the lines of the description and of the examples."""


class TeachingCommand(BaseCommand):
    """A command with examples under its help, whose errors end with the status that they mean.

    Attributes
    ----------
    epilog
        What stands under the options: ``examples:`` with lines that begin with ``manage.py``, and ``exit status:``.
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
            raise CommandError(plain_text(" ".join(error.messages)), returncode=ExitStatus.FOUND) from error
        except DatabaseError as error:
            message = f"The database does not answer as it should (is it migrated?): {error}"
            raise CommandError(message.strip(), returncode=ExitStatus.UNAVAILABLE) from error
        except KeyboardInterrupt as error:
            raise CommandError("Interrupted.", returncode=ExitStatus.INTERRUPTED) from error
        except Exception as error:
            status = status_of(error)
            if status is None:
                raise
            code = ExitStatus.WRONG_USAGE if status is HTTPStatus.NOT_FOUND else ExitStatus.FOUND
            raise CommandError(plain_text(str(error)), returncode=code) from error

    def write_result(self, value: object, lines: Sequence[str], *, as_json: bool) -> None:
        """Print a result: as one JSON document and nothing else, or as lines for a person."""
        if as_json:
            self.stdout.write(json.dumps(value, indent=2, allow_nan=False, cls=DjangoJSONEncoder))
        else:
            self.stdout.write("\n".join(lines))


def add_json_option(parser: CommandParser) -> None:
    """Let a command print its result for a program."""
    parser.add_argument("--json", action="store_true", help="the result as one JSON document, alone on stdout")


def demand_file(path: Path) -> Path:
    """Return the path of a file that is there; CommandError where it is not."""
    if not path.is_file():
        raise CommandError(f"There is no file {path}.", returncode=ExitStatus.WRONG_USAGE)
    return path


def progress_bar(*, total: int, unit: str, as_json: bool) -> "tqdm[Any]":
    """Return a bar on stderr, so that stdout holds the result alone; without a terminal, or for a program, none."""
    return tqdm(total=total, unit=unit, disable=True if as_json else None, file=sys.stderr)


def table_lines(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield a heading, a rule and a line for each row; the last column is not padded."""
    shown = [[plain_text(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in [headings, *shown]) for column in range(len(headings))]
    for row in [headings, ["-" * width for width in widths], *shown]:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
