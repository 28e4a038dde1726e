"""How long the pages take with months of history, compared with the simplest page of the admin.

``python -m benchmarks.pages [--json FILE]`` starts PostgreSQL and Redis, fills them and requests each page in pairs
with that simplest page. docs/benchmarks.md has the details.
"""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from benchmarks.report import argument_parser, conditions, progress, seconds_text, table, write_json
from benchmarks.services import own_services
from benchmarks.timing import PairedTimes, paired_calls
from tests.services.postgresql import DURABLE

if TYPE_CHECKING:
    from django.test import Client

MODELS, FEATURES, DAYS, CHECKS_A_DAY = 100, 50, 90, 4
PAIRS = 15
BUDGET_SECONDS = 30.0
WANTED_SECONDS = 0.3
WANTED_SECONDS_OF = {"rollout": 0.2}  # of pages with a limit of their own
PLAIN_PAGE = "/admin/auth/group/"
DURATION = "Takes about three minutes, most of them to create the history."


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argument_parser("pages", __doc__, DURATION)
    parser.add_argument("--models", type=int, default=MODELS, help="%(default)s")
    parser.add_argument("--features", type=int, default=FEATURES, help="of each model (%(default)s)")
    parser.add_argument("--days", type=int, default=DAYS, help="of history (%(default)s)")
    parser.add_argument(
        "--checks-a-day",
        type=int,
        default=CHECKS_A_DAY,
        help="of each model except the first, which has one every hour (%(default)s)",
    )
    parser.add_argument("--pairs", type=int, default=PAIRS, help="at most, for each page (%(default)s)")
    parsed = parser.parse_args(arguments)
    progress(DURATION)
    with own_services(postgresql_settings=DURABLE):
        from benchmarks.page_rows import create_history, history_size, logged_in_client, pages

        create_history(
            model_count=parsed.models,
            feature_count=parsed.features,
            days=parsed.days,
            checks_a_day=parsed.checks_a_day,
        )
        size = history_size()
        progress(f"Rows in the tables: {size}.")
        times = measured(logged_in_client(), pages(), pairs=parsed.pairs)
    sys.stdout.write(text_of(times, size))
    write_json(parsed.json, figures_of(times, size))


def measured(client: "Client", pages: dict[str, str], *, pairs: int = PAIRS) -> dict[str, PairedTimes]:
    """Return the times of each page in pairs with the plain page. First requests fill caches and do not count."""

    def request(path: str) -> None:
        response = client.get(path)
        if response.status_code != 200:
            raise RuntimeError(f"{path} returned status {response.status_code}.")

    times = {}
    request(PLAIN_PAGE)
    for name, path in pages.items():
        request(path)
        times[name] = paired_calls(
            lambda path=path: request(path),  # type: ignore[misc]  # mypy counts the default as an argument
            lambda: request(PLAIN_PAGE),
            pairs=pairs,
            budget_seconds=BUDGET_SECONDS,
        )
    return times


def figures_of(times: dict[str, PairedTimes], size: dict[str, int]) -> dict[str, Any]:
    """Return the results for the JSON file."""
    return {
        "rows": size,
        "seconds": {name: asdict(one.ours_seconds) for name, one in times.items()},
        "ratios": {name: asdict(one.ratio) for name, one in times.items()},
        "wanted_seconds": {name: WANTED_SECONDS_OF.get(name, WANTED_SECONDS) for name in times},
        **conditions("django", "django-unfold", "psycopg"),
    }


def text_of(times: dict[str, PairedTimes], size: dict[str, int]) -> str:
    """Return the results for a person."""
    headings = ["page", "median", "upper quartile", "at most", "", "ratio to the plain page"]
    rows = []
    for name, one in times.items():
        wanted = WANTED_SECONDS_OF.get(name, WANTED_SECONDS)
        rows.append(
            [
                name,
                seconds_text(one.ours_seconds.median),
                seconds_text(one.ours_seconds.upper_quartile),
                seconds_text(wanted),
                "met" if one.ours_seconds.median <= wanted else "missed",
                f"{one.ratio.median:.3g}",
            ]
        )
    sizes = ", ".join(f"{count:,} {name}" for name, count in size.items())
    return f"{sizes}\n\n{table(headings, rows)}\n"


if __name__ == "__main__":
    main()
