"""``manage.py rollout``: roll a version out in steps, and stop it when it is worse."""

import json
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from accounts.actors import command
from accounts.management.terminal import ExitStatus, TeachingCommand, add_json_option, demand_file, table
from models_registry.models import Model
from models_registry.selectors import model_named
from rollouts.api.serializers import RolloutSerializer
from rollouts.models import Rollout
from rollouts.plan import DEFAULT_STEPS, MEASURES_TEXT, plan_of
from rollouts.selectors import Judgement, judgements_of, latest_rollout, rollout_of
from rollouts.services import lifecycle

ACTIONS = ("plan", "start", "show", "pause", "resume", "rollback", "promote", "cancel", "acknowledge")
WITH_REASON = {
    "pause": lifecycle.pause_rollout,
    "rollback": lifecycle.roll_back_rollout,
    "cancel": lifecycle.cancel_rollout,
}
WITHOUT_REASON = {
    "start": lifecycle.start_rollout,
    "resume": lifecycle.resume_rollout,
    "promote": lifecycle.promote_rollout,
}
EXAMPLES = """
examples:
  A canary that gets 5, 10, 25 and 50 % of the requests, unless it has more errors or more slow requests:
    manage.py rollout start credit 1.1.0 --guardrail errors --guardrail latency:0.2

  A shadow that is compared by labels, 2,000 of them:
    manage.py rollout start credit 1.1.0 --shadow --guardrail wrong_predictions --labels 2000

  Other steps, from a file with the JSON of the API; as a draft, which is started later:
    manage.py rollout plan credit 1.1.0 --plan plan.json
    manage.py rollout start credit

  The latest rollout of a model:
    manage.py rollout show credit
    manage.py rollout pause credit --reason "The labels are late."
    manage.py rollout rollback credit --json

exit status:
  0  done
  1  refused, such as for a rollout that has ended; or show: it was rolled back and nobody has acknowledged that
  2  an option is invalid, or the model, the version or the rollout does not exist
  3  the database is unavailable
"""


class Command(TeachingCommand):
    help = "Plan, start, show and end rollouts. Without --id, the latest rollout of the model is meant."
    epilog = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=ACTIONS, help="what to do")
        parser.add_argument("model", help="name of the model")
        parser.add_argument(
            "challenger", nargs="?", help="version to plan, or to plan and start; without it, start the latest draft"
        )
        parser.add_argument("--id", type=int, help="id of the rollout, as `show` prints it")
        parser.add_argument("--plan", type=Path, metavar="FILE", help="plan as JSON: steps, guardrails, alpha, …")
        parser.add_argument("--shadow", action="store_true", help="copy all requests instead of sharing them out")
        parser.add_argument(
            "--guardrail",
            action="append",
            type=_guardrail,
            metavar="MEASURE[:LIMIT]",
            help=f"one of {MEASURES_TEXT}; repeat it for several (default: errors)",
        )
        for name in ("requests", "seconds", "labels"):
            parser.add_argument(f"--{name}", type=int, help=f"minimum of {name} in each step")
        parser.add_argument("--promote-automatically", action="store_true", help="promote after the last step")
        parser.add_argument("--reason", default="", help="why: of pause, rollback and cancel")
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        action, model = options["action"], model_named(options["model"])
        if action == "plan" or (action == "start" and options["challenger"]):
            rollout = lifecycle.plan_rollout(model=model, plan=plan_of(_document(options)), user=command("rollout"))
        elif options["challenger"]:
            raise CommandError(f"{action} takes no version.", returncode=ExitStatus.WRONG_USAGE)
        else:
            rollout = _existing(model, options["id"])
        _act(action, rollout, options["reason"])
        current = rollout_of(model, rollout.pk)
        judged = judgements_of([current])
        body = RolloutSerializer(current, context={"judgements": judged}).data
        self.write_result(body, _lines(current, judged[current.pk]), as_json=options["json"])
        if action == "show" and current.has_open_incident:
            raise CommandError("It was rolled back, and nobody has acknowledged that.", returncode=ExitStatus.FOUND)


def _act(action: str, rollout: Rollout, reason: str) -> None:
    user = command("rollout")
    if action in WITH_REASON:
        WITH_REASON[action](rollout=rollout, reason=reason, user=user)
    elif action in WITHOUT_REASON:
        WITHOUT_REASON[action](rollout=rollout, user=user)
    elif action == "acknowledge":
        lifecycle.acknowledge_rollback(rollout=rollout, user=user)


def _existing(model: Model, rollout_id: int | None) -> Rollout:
    if rollout_id is not None:
        return rollout_of(model, rollout_id)
    rollout = latest_rollout(model)
    if rollout is None:
        raise CommandError(f"Model {model} has no rollout yet.", returncode=ExitStatus.WRONG_USAGE)
    return rollout


def _document(options: dict[str, Any]) -> dict[str, Any]:
    """Return the plan in the options, in the form of the API; an option replaces what the file says."""
    document: dict[str, Any] = {}
    if options["plan"]:
        try:
            document = json.loads(demand_file(options["plan"]).read_text())
        except ValueError as error:
            raise CommandError(f"{options['plan']} is not JSON: {error}", returncode=ExitStatus.WRONG_USAGE) from None
        if not isinstance(document, dict):
            raise CommandError(f"{options['plan']} has no JSON object.", returncode=ExitStatus.WRONG_USAGE)
    document["challenger"] = options["challenger"]
    if options["shadow"]:
        document["kind"] = "shadow"
    if options["guardrail"]:
        document["guardrails"] = options["guardrail"]
    if options["promote_automatically"]:
        document["promotes_automatically"] = True
    least = {
        f"minimum_{name}": options[name] for name in ("requests", "seconds", "labels") if options[name] is not None
    }
    if least:
        shares = [1.0] if document.get("kind") == "shadow" else [step.share for step in DEFAULT_STEPS]
        steps = document.get("steps", [{"share": share} for share in shares])
        document["steps"] = [{**step, **least} if isinstance(step, dict) else step for step in steps]
    return document


def _guardrail(text: str) -> dict[str, Any]:
    measure, _, limit = text.partition(":")
    try:
        return {"measure": measure, **({"limit": float(limit)} if limit else {})}
    except ValueError:
        raise ArgumentTypeError(f"the limit must be a number, got {limit!r}") from None


def _lines(rollout: Rollout, judged: list[Judgement]) -> list[Any]:
    step = f"step {rollout.step_index + 1} of {len(rollout.steps)}, share {rollout.step.share:.1%}"
    lines: list[Any] = [f"Rollout {rollout.pk}, {rollout} against {rollout.champion}: {rollout.state}, {step}"]
    lines += [f"Reason: {rollout.reason}"] if rollout.reason else []
    lines += [f"Waiting for {rollout.waiting_for}"] if rollout.waiting_for else []
    headings = ["guardrail", "champion", "challenger", "log10 worse", "log10 better", "limit"]
    rows = [
        [
            one.measure.value,
            f"{one.champion_events:,} of {one.champion_units:,}",
            f"{one.challenger_events:,} of {one.challenger_units:,}",
            f"{one.log10_evidence:.2f}",
            f"{one.log10_evidence_better:.2f}",
            f"{one.log10_limit:.2f}",
        ]
        for one in judged
    ]
    return [*lines, table(headings, rows, numbers=headings[1:])]
