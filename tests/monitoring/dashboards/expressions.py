"""Every PromQL expression of the dashboards, with Grafana's variables filled in."""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from monitoring.dashboards.__main__ import FOLDER

VARIABLE = re.compile(r"\$\{?(\w+)\}?")
ALL = ".*"


class Expression(NamedTuple):
    """An expression and where it stands."""

    dashboard: str
    place: str  # a panel's title; of a mark or a choice its name
    text: str


# By dashboard and panel what has nothing to show on the day that tests/monitoring/story tells, and why.
MAY_BE_EMPTY = {
    ("Resources and GPU", "GPU: share of the time in which it works"): "there is no GPU",
    ("Resources and GPU", "GPU: used memory"): "there is no GPU",
    ("Performance", "Errors of regressions"): "no regression with ground truth is served",
    ("Performance", "Explained by regressions"): "no regression with ground truth is served",
}


def boards() -> list[Any]:
    """Return the committed dashboards."""
    return [json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))]


def expressions(*, rate_interval: str, values: dict[str, str] | None = None) -> Iterator[Expression]:
    """Yield every expression of every panel and mark.

    Parameters
    ----------
    rate_interval
        What ``$__rate_interval`` stands for.
    values
        What the variables stand for; all of them everything where nothing is said.
    """
    filled = {"__rate_interval": rate_interval} | (values or {})
    for board in boards():
        for panel in board["panels"]:
            for target in panel["targets"]:
                yield Expression(board["title"], panel["title"], with_values(target["expr"], filled))
        for mark in board["annotations"]["list"]:
            yield Expression(board["title"], mark["name"], with_values(mark["target"]["expr"], filled))


def with_values(expression: str, values: dict[str, str]) -> str:
    """Return an expression with its variables filled in; a choice that is not given stands for everything."""
    return VARIABLE.sub(lambda found: values.get(found[1], ALL), expression)


def choices() -> Iterator[tuple[str, str]]:
    """Yield name and query of every variable that is filled from a label."""
    for board in boards():
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                yield variable["name"], variable["query"]["query"]
