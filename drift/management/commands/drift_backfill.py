"""``manage.py drift_backfill``: drift checks of archived observations."""

from argparse import ArgumentTypeError
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from django.core.management.base import CommandError, CommandParser

from accounts.management.terminal import ExitStatus, TeachingCommand, add_json_option, progress_bar, whole_number
from drift.models import LARGEST_COUNT, CheckStatus
from drift.selectors import monitored_version, policy_for
from drift.services.backfill import (
    BackfillRequest,
    BackfillStep,
    backfill,
    check_again,
    earlier_checks,
    rows_to_backfill,
)
from mlmon.results import VerdictStatus
from models_registry.selectors import active_reference

EXAMPLES = """
examples:
  All archived observations of the production version:
    manage.py drift_backfill credit

  March, with a window after every 500 predictions, and a summary in JSON:
    manage.py drift_backfill credit --since 2026-03-01 --until 2026-04-01 --every 500 --json

  After an upgrade, what the verdict's new rule says of the windows that the old one has judged:
    manage.py drift_backfill credit --earlier-checks

Every window is compared with the reference that is active now, under the present drift policy. The checks appear in the
history, in the API with the source "backfilled"; they open no incident and set no gauge. You can stop the command at
any time and run it again to continue.

exit status:
  0    done
  1    no reference, nothing archived, or a check failed
  2    an invalid option, or an unknown model or version
  3    the database is unavailable
  130  interrupted
"""


class Command(TeachingCommand):
    help = "Check archived observations for drift, window by window, in the order of time."
    epilog = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("model", help="the model's name")
        # --version is Django's own.
        parser.add_argument("--model-version", metavar="V", help="default: the production version with most traffic")
        parser.add_argument(
            "--since", type=_time, metavar="TIME", help="only windows that end then or later (ISO 8601)"
        )
        parser.add_argument("--until", type=_time, metavar="TIME", help="only windows that end before this time")
        parser.add_argument(
            "--every",
            type=partial(whole_number, largest=LARGEST_COUNT),
            metavar="ROWS",
            help="rows between windows (default: by the policy)",
        )
        parser.add_argument(
            "--earlier-checks",
            action="store_true",
            help="check the windows of earlier checks again, each with its own reference, by the present edition of "
            "the verdict's rule; both stay in the history",
        )
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        request = _request(options)
        total = earlier_checks(request).count() if options["earlier_checks"] else rows_to_backfill(request)
        if not total:
            if options["earlier_checks"]:
                raise CommandError(f"{request.version} has no check by an earlier edition of the rule in that time.")
            raise CommandError(f"No observations of {request.version} are archived in that time.")
        tally = _Tally()
        interrupted = False
        with progress_bar(total=total, options=options) as show_progress:
            try:
                for step in check_again(request) if options["earlier_checks"] else backfill(request):
                    tally.add(step)
                    show_progress(tally.rows, f"{tally.checks} checks, {tally.alarms} alarms")
            except KeyboardInterrupt:
                interrupted = True
        line = (
            f"{request.version}: {tally.checks} checks made, {tally.were_there} found from an earlier run; "
            f"{tally.drifted} with a score above its threshold, {tally.alarms} alarms, {tally.incomplete} incomplete."
        )
        figures = {name: value for name, value in asdict(tally).items() if name != "alarm_lines"}
        changes = [f"  {count} {change}" for change, count in sorted(tally.beside_earlier.items())]
        if changes:
            line += " Beside the checks by an earlier edition of the rule:"
        version = {"model_name": request.version.model.name, "model_version": request.version.version}
        self.write_result({**version, **figures}, [line, *changes, *tally.alarm_lines], as_json=options["json"])
        if interrupted:
            raise CommandError("Interrupted. Run the command again to continue.", returncode=ExitStatus.INTERRUPTED)
        if tally.failed:
            raise CommandError(f"{tally.failed} checks failed. Their pages in the admin give the reason.")


VERDICT_WORDS: dict[str, str] = {
    VerdictStatus.ALARM: "alarm",
    VerdictStatus.QUIET: "quiet",
    VerdictStatus.INCOMPLETE: "incomplete",
}


@dataclass(slots=True)
class _Tally:
    """The figures of a backfill."""

    rows: int = 0
    checks: int = 0
    were_there: int = 0
    drifted: int = 0
    alarms: int = 0
    incomplete: int = 0
    failed: int = 0
    rows_gone: int = 0
    beside_earlier: dict[str, int] = field(default_factory=dict)
    alarm_lines: list[str] = field(default_factory=list)

    def add(self, step: BackfillStep) -> None:
        """Add a step to the figures."""
        self.rows += step.rows
        self.were_there += step.was_there
        check, earlier = step.check, step.earlier
        if check is None:
            self.rows_gone += earlier is not None and not step.was_there
            return
        self.checks += 1
        if earlier is not None:
            before, now = (VERDICT_WORDS.get(each.verdict_status, "no verdict") for each in (earlier, check))
            change = f"{before} before and now" if before == now else f"{before} before, {now} now"
            self.beside_earlier[change] = self.beside_earlier.get(change, 0) + 1
        self.failed += check.status == CheckStatus.FAILED
        self.incomplete += check.n_not_compared > 0
        self.drifted += bool(check.n_drifted_features or check.prediction_is_drifted)
        if check.verdict_status == VerdictStatus.ALARM:
            self.alarms += 1
            subjects = dict.fromkeys(found.subject for found in check.comparison.listed_hypotheses)
            self.alarm_lines.append(f"  {check.window_ended_at:%Y-%m-%d %H:%M}  {', '.join(subjects)}")


def _request(options: dict[str, Any]) -> BackfillRequest:
    model, version = monitored_version(options["model"], options["model_version"])
    if version is None:
        raise CommandError(f"No version of {model.name} is in production. Choose one with --model-version.")
    reference = active_reference(version.pk)
    if reference is None:
        raise CommandError(f"{version} has no reference data to compare with.")
    every = options["every"] or policy_for(model).rows_between_checks
    return BackfillRequest(version, reference, every, options["since"], options["until"])


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError("enter a time in ISO 8601, such as 2026-03-01 or 2026-03-01T12:00+01:00") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
