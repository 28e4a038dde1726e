"""The PromQL expressions of the dashboards, with values for Grafana's variables."""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from monitoring.dashboards.__main__ import FOLDER

VARIABLE = re.compile(r"\$\{?(\w+)\}?")
ALL = ".*"


class Expression(NamedTuple):
    """An expression and its place: the title of a panel, or the name of an annotation or a variable."""

    dashboard: str
    place: str
    text: str


# Panels, by dashboard and title, that may be empty at the end of the story in tests/monitoring/story, with the reason.
MAY_BE_EMPTY = {
    ("Resources and GPU", "GPU utilization"): "there is no GPU",
    ("Resources and GPU", "GPU memory used"): "there is no GPU",
    ("Rollouts", "Evidence that the challenger is worse"): "no rollout has started",
    ("Rollouts", "States of rollouts"): "no rollout has started",
    ("Rollouts", "Automatic rollbacks"): "no rollout has started",
    ("Rollouts", "Overdue steps"): "no rollout has started",
    ("Rollouts", "Disagreements of shadows"): "no rollout has started",
    ("Performance", "Errors of regressions"): "no regression with ground truth is served",
    ("Performance", "R² of regressions"): "no regression with ground truth is served",
}


def boards() -> list[Any]:
    """Return the committed dashboards."""
    return [json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))]


def expressions(*, rate_interval: str, values: dict[str, str] | None = None) -> Iterator[Expression]:
    """Yield the expressions of all panels and annotations.

    Parameters
    ----------
    rate_interval
        Value of ``$__rate_interval``.
    values
        Values of the variables. A variable without a value selects everything.
    """
    given = {"__rate_interval": rate_interval} | (values or {})
    for board in boards():
        for panel in board["panels"]:
            for target in panel["targets"]:
                yield Expression(board["title"], panel["title"], with_values(target["expr"], given))
        for annotation in board["annotations"]["list"]:
            yield Expression(board["title"], annotation["name"], with_values(annotation["target"]["expr"], given))


def with_values(expression: str, values: dict[str, str]) -> str:
    """Return an expression with its variables replaced by their values, or by "everything" without a value."""
    return VARIABLE.sub(lambda match: values.get(match[1], ALL), expression)


def choices() -> Iterator[tuple[str, str]]:
    """Yield the name and the query of each variable whose values come from a label."""
    for board in boards():
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                yield variable["name"], variable["query"]["query"]
