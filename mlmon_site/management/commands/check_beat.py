"""``manage.py check_beat``: the health check of beat's container."""

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Max
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

# Beat writes down what it has sent every three minutes (the scheduler's sync_every); one such round may be missed.
OLDEST = timedelta(minutes=7)


class Command(BaseCommand):
    """Ends with 0 where beat has sent a task in the last minutes, else with 1 and the reason."""

    help = "Say whether beat has sent tasks in the last minutes; ends with 1 where it has not."

    def handle(self, *args: Any, **options: Any) -> None:
        last = PeriodicTask.objects.filter(enabled=True).aggregate(last=Max("last_run_at"))["last"]
        if last is None:
            raise CommandError("Beat has sent no task yet.")
        if timezone.now() - last > OLDEST:
            raise CommandError(f"Beat has sent no task since {last:%Y-%m-%d %H:%M:%S} UTC.")
        self.stdout.write(f"Beat sent a task at {last:%Y-%m-%d %H:%M:%S} UTC.")
