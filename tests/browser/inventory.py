"""Every page that people see, and a run of mlmon in which each has something to show."""

import contextlib
import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol
from urllib.parse import urljoin

import pyarrow.parquet as pq
import requests
from playwright.sync_api import BrowserContext
from playwright.sync_api import Page as Tab

from tests.services.embedded_run import PROJECT, EmbeddedRun, embedded_run, eventually

YEAR = PROJECT / "demo" / "flight-delay-year.parquet"
QUICK_JOBS = {
    "MLMON_DRIFT_TICK_SECONDS": "2",
    "MLMON_ARCHIVE_TICK_SECONDS": "2",
    "MLMON_PERFORMANCE_TICK_SECONDS": "5",
}
FLIGHTS = 6_000  # of April and May, with their outcomes
UNUSUAL_FLIGHTS = 1_500  # half as far again as they were, and every third by another carrier: they drift for certain
WIDTHS = {"wide": 1280, "narrow": 360}
THEMES = ("light", "dark")
HEIGHT = 900
SETTLE_MS = 200  # charts are drawn, menus are placed
_FIRST_ROWS: dict[str, str] = {}  # where the first row of a list leads, by the list's address


class Shown(Protocol):
    """A run of mlmon whose pages are looked at."""

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""

    @property
    def password(self) -> str:
        """That of the account ``admin``."""


@dataclass(frozen=True, slots=True)
class PageKind:
    """One page.

    Attributes
    ----------
    path
        Its address, or that of the list whose first row leads to it.
    is_first_of_list
        Whether it is reached by that row's link.
    ending
        Put in the place of ``change/`` at the end of the address.
    is_public
        Seen without being logged in.
    is_ours
        Not made of the admin's own lists and forms alone.
    """

    name: str
    path: str
    is_first_of_list: bool = False
    ending: str = ""
    is_public: bool = False
    is_ours: bool = False


def _of_rows(name: str, table: str, *, add: bool = False, change: bool = True, is_ours: bool = False) -> list[PageKind]:
    """Return a table's list, and its forms where it has them; a row's page may be ours."""
    path = f"/admin/{table}/"
    kinds = [PageKind(f"{name}-list", path)]
    if add:
        kinds.append(PageKind(f"{name}-add", f"{path}add/"))
    if change:
        kinds.append(PageKind(name, path, is_first_of_list=True, is_ours=is_ours))
    return kinds


PAGES = [
    PageKind("login", "/admin/login/", is_public=True),
    PageKind("overview", "/admin/", is_ours=True),
    PageKind("model", "/models/flight-delay?range=1h", is_ours=True),
    PageKind("model-without-traffic", "/models/classifier?range=90d", is_ours=True),
    *_of_rows("registry", "models_registry/model", add=True),
    *_of_rows("version", "models_registry/modelversion", add=True),
    PageKind("promotion", "/admin/models_registry/modelversion/", is_first_of_list=True, ending="promote"),
    PageKind("history", "/admin/models_registry/modelversion/", is_first_of_list=True, ending="history/"),
    *_of_rows("reference", "models_registry/referencedataset", add=True, is_ours=True),
    *_of_rows("incident", "drift/driftincident", is_ours=True),
    PageKind("acknowledging", "/admin/drift/driftincident/", is_first_of_list=True, ending="acknowledge"),
    PageKind("closing", "/admin/drift/driftincident/", is_first_of_list=True, ending="close"),
    *_of_rows("check", "drift/driftcheck", is_ours=True),
    PageKind("checking", "/admin/drift/driftcheck/", is_first_of_list=True, ending="check_now"),
    PageKind("rebaselining", "/admin/drift/driftcheck/", is_first_of_list=True, ending="rebaseline"),
    *_of_rows("drift-policy", "drift/driftpolicy", add=True, change=False),
    *_of_rows("capture-policy", "inference/capturepolicy", add=True, change=False),
    *_of_rows("report", "performance/performancereport", is_ours=True),
    *_of_rows("performance-policy", "performance/performancepolicy", add=True, change=False),
    *_of_rows("ground-truth", "performance/groundtruth"),
    *_of_rows("upload", "performance/groundtruthupload", add=True, is_ours=True),
    *_of_rows("job", "monitoring/jobrun"),
    *_of_rows("schedule", "django_celery_beat/periodictask", add=True),
    *_of_rows("token", "accounts/apitoken", add=True, change=False),
    *_of_rows("change", "accounts/changerecord"),
    *_of_rows("user", "auth/user", add=True),
    *_of_rows("group", "auth/group", add=True),
    PageKind("password", "/admin/password_change/"),
    PageKind("api", "/api/docs", is_public=True),
    PageKind("not-found", "/admin/nowhere/"),
]


@contextlib.contextmanager
def run_with_history(folder: Path) -> Iterator[EmbeddedRun]:
    """Run mlmon with its demo, weeks of flights with their outcomes, drift, and a file of ground truth."""
    with embedded_run(folder / "var", variables=QUICK_JOBS) as run:
        for _ in range(20):
            run.predict()
        command = [sys.executable, "manage.py", "replay", "--url", run.url, "--limit", str(FLIGHTS), "--speed", "max"]
        subprocess.run(
            [*command, "--no-watch", "--json"], cwd=PROJECT, check=True, timeout=240, stdout=subprocess.DEVNULL
        )
        _send_unusual_flights(run)
        assert eventually(lambda: _has_history(run), seconds=90), run.said
        _upload_ground_truth(run, folder / "outcomes.csv")
        yield run


def _send_unusual_flights(run: EmbeddedRun) -> None:
    names = [name for name in pq.read_schema(YEAR).names if name not in ("scheduled_departure", "month", "late")]
    flights = pq.read_table(YEAR, columns=names).slice(FLIGHTS, UNUSUAL_FLIGHTS).to_pylist()
    for place, flight in enumerate(flights):
        flight["distance"] *= 1.5
        flight["carrier"] = flight["carrier"] if place % 3 else "ZZ"
    for begin in range(0, UNUSUAL_FLIGHTS, 500):
        status, answer = run.request(
            "POST", "/api/v1/models/flight-delay/predict", {"rows": flights[begin : begin + 500]}
        )
        assert status == 200, answer


def _upload_ground_truth(run: EmbeddedRun, path: Path) -> None:
    """Upload a file as a person does: one row of a prediction that nobody knows, one that names none."""
    path.write_text(f"prediction_id,actual\n{uuid.uuid4()},late\n,late\n")
    with requests.Session() as session:
        _send_form(session, f"{run.url}/admin/login/", username="admin", password=run.password, next="/admin/")
        with path.open("rb") as file:
            address = _send_form(session, f"{run.url}/admin/performance/groundtruthupload/add/", files={"file": file})
        assert eventually(lambda: "Rows that were not kept" in session.get(address, timeout=10).text, seconds=60)


def _send_form(session: requests.Session, url: str, *, files: dict[str, IO[bytes]] | None = None, **fields: str) -> str:
    """Send a form with its token; return the address of the page that it leads to."""
    session.get(url, timeout=10)
    token = session.cookies["csrftoken"]
    answer = session.post(
        url, {"csrfmiddlewaretoken": token, **fields}, files=files, headers={"Referer": url}, timeout=30
    )
    assert answer.status_code == 200, answer.text
    assert answer.url != url, "the form was refused"
    return answer.url


def _has_history(run: EmbeddedRun) -> bool:
    _, performance = run.request("GET", "/api/v1/models/flight-delay/performance")
    _, incidents = run.request("GET", "/api/v1/models/flight-delay/incidents")
    return bool(json.loads(performance)["latest"] and json.loads(incidents)["incidents"])


def use_theme(context: BrowserContext, theme: str) -> None:
    """Let the admin's theme switch stand at `theme` on every page."""
    context.add_init_script(f"localStorage.setItem('adminTheme', JSON.stringify('{theme}'))")


def go_to(tab: Tab, run: Shown, kind: PageKind) -> None:
    """Open a page."""
    address = run.url + kind.path
    if kind.is_first_of_list:
        address = _address_of_first_row(tab, address)
        if kind.ending:
            address = address.removesuffix("change/") + kind.ending
    tab.goto(address)
    tab.wait_for_timeout(SETTLE_MS)


def _address_of_first_row(tab: Tab, address: str) -> str:
    """Return where the link of a list's first row leads; lists are looked up once."""
    if address not in _FIRST_ROWS:
        tab.goto(address)
        links = tab.locator("#result_list tbody tr").first.get_by_role("link")
        assert links.count(), f"{address} has no row with a link"
        href = links.first.get_attribute("href")
        assert href is not None
        _FIRST_ROWS[address] = urljoin(address, href.partition("?")[0])
    return _FIRST_ROWS[address]
