"""The pages that people look at, with months of history behind them.

``python -m benchmarks.pages [--json FILE]`` starts a PostgreSQL and a Redis of its own, fills them, and asks for each
page beside the plainest one of the admin, in pairs. docs/benchmarks.md has the details.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.machine import library_versions, machine
from benchmarks.report import progress, seconds_text, table, write_json
from benchmarks.services import own_services
from benchmarks.timing import PairedTimes, paired, timed
from tests.services.postgresql import DURABLE

if TYPE_CHECKING:
    from django.test import Client

MODELS, FEATURES, DAYS, CHECKS_A_DAY = 100, 50, 90, 4
PAIRS = 15
BUDGET_SECONDS = 30.0
WANTED_SECONDS = 0.3
PLAIN_PAGE = "/admin/auth/group/"
ESTIMATE = "About three minutes, most of them to put the history in place."


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parsed = _parser().parse_args(arguments)
    progress(ESTIMATE)
    with own_services(postgresql_settings=DURABLE):
        from benchmarks.page_rows import history_size, logged_in_client, pages, put_history_in_place

        put_history_in_place(
            model_count=parsed.models,
            feature_count=parsed.features,
            days=parsed.days,
            checks_a_day=parsed.checks_a_day,
        )
        size = history_size()
        progress(f"The tables hold {size}.")
        times = measured(logged_in_client(), pages(), pairs=parsed.pairs)
    sys.stdout.write(text_of(times, size))
    write_json(parsed.json, figures_of(times, size))


def measured(client: "Client", pages: dict[str, str], *, pairs: int = PAIRS) -> dict[str, PairedTimes]:
    """Return what each page takes beside the plain one; the first answers, which fill caches, are not counted."""
    found = {}
    for name, path in pages.items():
        ask = _asking(client, path)
        ask()
        found[name] = paired(
            lambda ask=ask: timed(ask)[0],  # type: ignore[misc]  # mypy takes the default for an argument
            lambda: timed(_asking(client, PLAIN_PAGE))[0],
            pairs=pairs,
            budget_seconds=BUDGET_SECONDS,
        )
    return found


def figures_of(times: dict[str, PairedTimes], size: dict[str, int]) -> dict[str, Any]:
    """Return the figures as they are written."""
    return {
        "rows": size,
        "seconds": {name: asdict(one.ours_seconds) for name, one in times.items()},
        "ratios": {name: asdict(one.ratio) for name, one in times.items()},
        "wanted_seconds": WANTED_SECONDS,
        "machine": machine(),
        "libraries": library_versions("django", "django-unfold", "psycopg"),
    }


def text_of(times: dict[str, PairedTimes], size: dict[str, int]) -> str:
    """Return the figures for a person."""
    headers = ["page", "takes", "upper quartile", f"{seconds_text(WANTED_SECONDS)} wanted", "times the plain page"]
    rows = ", ".join(f"{count:,} {name}" for name, count in size.items())
    return f"{rows}\n\n{table(headers, [_row(name, one) for name, one in times.items()])}\n"


def _row(name: str, times: PairedTimes) -> list[str]:
    ours = times.ours_seconds
    return [
        name,
        seconds_text(ours.median),
        seconds_text(ours.upper_quartile),
        "met" if ours.median < WANTED_SECONDS else "missed",
        f"{times.ratio.median:.3g}",
    ]


def _asking(client: "Client", path: str) -> Callable[[], None]:
    def ask() -> None:
        response = client.get(path)
        if response.status_code != 200:
            raise RuntimeError(f"{path} answered {response.status_code}.")

    return ask


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages", description=__doc__, epilog=ESTIMATE)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--models", type=int, default=MODELS, help="%(default)s")
    parser.add_argument("--features", type=int, default=FEATURES, help="of each model (%(default)s)")
    parser.add_argument("--days", type=int, default=DAYS, help="of history (%(default)s)")
    parser.add_argument(
        "--checks-a-day",
        type=int,
        default=CHECKS_A_DAY,
        help="of each model but the first, which has one every hour (%(default)s)",
    )
    parser.add_argument("--pairs", type=int, default=PAIRS, help="of each comparison (%(default)s)")
    return parser


if __name__ == "__main__":
    main()
