"""``manage.py drift_compare``: ``python -m mlmon compare`` with the limits of the settings."""

import sys
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from accounts.management.terminal import ExitStatus, TeachingCommand
from mlmon.cli import DESCRIPTION, EPILOG, add_compare_arguments, run_compare
from mlmon.exceptions import MlmonError
from mlmon.figures import plain_text
from mlmon.report.views import Tone
from mlmon.tables import TableLimits


class Command(TeachingCommand):
    help = DESCRIPTION
    epilog = EPILOG.replace("COMMAND", "manage.py drift_compare")
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        add_compare_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        limits = TableLimits(file_bytes=settings.MLMON_MAX_REFERENCE_BYTES, rows=settings.MLMON_MAX_REFERENCE_ROWS)
        styles = {Tone.ALARM: self.style.ERROR, Tone.WARNING: self.style.WARNING, Tone.GOOD: self.style.SUCCESS}
        try:
            status = run_compare(
                options, limits, write=self.stdout.write, paint=lambda tone, text: styles.get(tone, str)(text)
            )
        except MlmonError as error:
            raise CommandError(plain_text(str(error)), returncode=ExitStatus.WRONG_USAGE) from error
        except OSError as error:
            raise CommandError(f"stdout: {error.strerror}.", returncode=ExitStatus.WRONG_USAGE) from error
        if status:
            sys.exit(status)
