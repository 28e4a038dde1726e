"""``manage.py check_beat``: the health check of the beat container."""

from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db.models import Max
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from accounts.management.terminal import ExitStatus, TeachingCommand, add_json_option

# Beat saves the times of sent tasks every three minutes (the scheduler's sync_every). It may miss one round.
OLDEST = timedelta(minutes=7)
EXAMPLES = """
examples:
  As a container's health check:
    manage.py check_beat

  The time of the last task, for a program:
    manage.py check_beat --json
    manage.py check_beat --json | jq -r .last_sent_at

exit status:
  0  beat has sent a task in the last seven minutes
  1  it has not; the message, and with --json the document, says since when
  2  an option is invalid
  3  the database is unavailable
"""


class Command(TeachingCommand):
    help = (
        "Report whether Celery beat, which starts mlmon's periodic jobs, has sent a task in the last minutes.\n"
        "Without beat, drift is not checked and observations are not archived."
    )
    epilog = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        last = PeriodicTask.objects.filter(enabled=True).aggregate(last=Max("last_run_at"))["last"]
        is_well = last is not None and timezone.now() - last <= OLDEST
        if options["json"] or is_well:
            line = f"Beat sent a task at {last:%Y-%m-%d %H:%M:%S} UTC." if last else ""
            self.write_result({"is_well": is_well, "last_sent_at": last}, [line], as_json=options["json"])
        if not is_well:
            reason = f"since {last:%Y-%m-%d %H:%M:%S} UTC" if last else "yet"
            raise CommandError(f"Beat has sent no task {reason}.", returncode=ExitStatus.FOUND)
