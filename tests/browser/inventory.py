"""The list of all pages, and a run of mlmon in which each page has data."""

import contextlib
import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol
from urllib.parse import urljoin

import pyarrow.parquet as pq
import requests
from playwright.sync_api import BrowserContext
from playwright.sync_api import Page as Tab

from tests.services.embedded_run import EmbeddedRun, embedded_run
from tests.services.processes import PROJECT, await_condition

ROLLOUTS_URL = "/admin/rollouts/rollout/"
YEAR = PROJECT / "demo" / "flight-delay-year.parquet"
QUICK_JOBS = {
    "MLMON_DRIFT_TICK_SECONDS": "2",
    "MLMON_ARCHIVE_TICK_SECONDS": "2",
    "MLMON_PERFORMANCE_TICK_SECONDS": "5",
}
FLIGHTS = 6_000  # of April and May, with their outcomes
UNUSUAL_FLIGHTS = 1_500  # with longer distances and another carrier, so that they certainly drift
WIDTHS = {"wide": 1280, "narrow": 360}
THEMES = ("light", "dark")
HEIGHT = 900
# Fonts are loaded, menus are set up, charts and the API's operations are drawn, and animations have ended.
IS_SETTLED = """() => document.fonts.status === "loaded"
  && !document.querySelector("[x-cloak]")
  && [...document.querySelectorAll(".plot")].every((plot) => plot.querySelector("canvas"))
  && [...document.querySelectorAll("#swagger-ui")].every((docs) => docs.querySelector(".opblock"))
  && document.getAnimations().every(({ playState, effect }) =>
    playState !== "running" || effect.getComputedTiming().endTime === Infinity)"""


class Server(Protocol):
    """A server whose pages are opened."""

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""

    @property
    def password(self) -> str:
        """The password of the account ``admin``."""


@dataclass(frozen=True, slots=True)
class PageKind:
    """One page.

    Attributes
    ----------
    path
        Its path, or the path of a list whose first row links to it.
    is_first_of_list
        Whether `path` is such a list.
    ending
        Replaces ``change/`` at the end of the path.
    is_public
        Whether it needs no login.
    is_custom
        Whether it consists of more than the lists and forms of the admin.
    """

    name: str
    path: str
    is_first_of_list: bool = False
    ending: str = ""
    is_public: bool = False
    is_custom: bool = False


def _table_pages(
    name: str, table: str, *, add: bool = False, change: bool = True, is_custom: bool = False
) -> list[PageKind]:
    """Return the list of a table and its forms; `is_custom` applies to the page of a row."""
    path = f"/admin/{table}/"
    kinds = [PageKind(f"{name}-list", path)]
    if add:
        kinds.append(PageKind(f"{name}-add", f"{path}add/"))
    if change:
        kinds.append(PageKind(name, path, is_first_of_list=True, is_custom=is_custom))
    return kinds


PAGES = [
    PageKind("login", "/admin/login/", is_public=True),
    PageKind("overview", "/admin/", is_custom=True),
    PageKind("model", "/models/flight-delay?range=1h", is_custom=True),
    PageKind("model-without-traffic", "/models/classifier?range=90d", is_custom=True),
    *_table_pages("registry", "models_registry/model", add=True),
    PageKind("traffic", "/admin/models_registry/model/", is_first_of_list=True, ending="share_out_traffic"),
    *_table_pages("version", "models_registry/modelversion", add=True),
    PageKind("version-elsewhere", "/admin/models_registry/modelversion/served-elsewhere/"),
    PageKind("promotion", "/admin/models_registry/modelversion/", is_first_of_list=True, ending="promote"),
    PageKind("history", "/admin/models_registry/modelversion/", is_first_of_list=True, ending="history/"),
    *_table_pages("rollout", "rollouts/rollout", add=True, is_custom=True),
    PageKind("rolling-back", "/admin/rollouts/rollout/", is_first_of_list=True, ending="roll_back"),
    *_table_pages("reference", "models_registry/referencedataset", add=True, is_custom=True),
    *_table_pages("incident", "drift/driftincident", is_custom=True),
    PageKind("acknowledging", "/admin/drift/driftincident/", is_first_of_list=True, ending="acknowledge"),
    PageKind("closing", "/admin/drift/driftincident/", is_first_of_list=True, ending="close"),
    *_table_pages("check", "drift/driftcheck", is_custom=True),
    PageKind("checking", "/admin/drift/driftcheck/", is_first_of_list=True, ending="check_now"),
    PageKind("rebaselining", "/admin/drift/driftcheck/", is_first_of_list=True, ending="rebaseline"),
    *_table_pages("drift-policy", "drift/driftpolicy", add=True, change=False),
    *_table_pages("capture-policy", "inference/capturepolicy", add=True, change=False),
    *_table_pages("kserve-service", "inference/kserveservice", add=True, change=False),
    *_table_pages("report", "performance/performancereport", is_custom=True),
    *_table_pages("performance-policy", "performance/performancepolicy", add=True, change=False),
    *_table_pages("ground-truth", "performance/groundtruth"),
    *_table_pages("upload", "performance/groundtruthupload", add=True, is_custom=True),
    *_table_pages("job", "monitoring/jobrun"),
    *_table_pages("schedule", "django_celery_beat/periodictask", add=True),
    *_table_pages("token", "accounts/apitoken", add=True, change=False),
    *_table_pages("change", "accounts/changerecord"),
    *_table_pages("user", "auth/user", add=True),
    *_table_pages("group", "auth/group", add=True),
    PageKind("password", "/admin/password_change/"),
    PageKind("api", "/api/docs", is_public=True),
    PageKind("not-found", "/admin/nowhere/"),
]


@contextlib.contextmanager
def run_with_history(folder: Path) -> Iterator[EmbeddedRun]:
    """Run mlmon with its demo: flights, outcomes, drift, a rejected request, a file of ground truth, and a rollout."""
    with embedded_run(folder / "var", variables=QUICK_JOBS) as run:
        for _ in range(20):
            run.predict()
        command = [sys.executable, "manage.py", "replay", "--url", run.url, "--limit", str(FLIGHTS), "--speed", "max"]
        subprocess.run(
            [*command, "--no-watch", "--json"], cwd=PROJECT, check=True, timeout=240, stdout=subprocess.DEVNULL
        )
        _send_unusual_flights(run)
        await_condition(lambda: _has_history(run), "there is no report or incident", seconds=90)
        with requests.Session() as session:
            _send_form(session, f"{run.url}/admin/login/", username="admin", password=run.password, next="/admin/")
            _upload_ground_truth(session, run, folder / "outcomes.csv")
            _start_rollout(session, run)
        yield run


def _flights(count: int) -> list[dict[str, Any]]:
    """Return the features of the flights after those that were replayed."""
    names = [name for name in pq.read_schema(YEAR).names if name not in ("scheduled_departure", "month", "late")]
    flights: list[dict[str, Any]] = pq.read_table(YEAR, columns=names).slice(FLIGHTS, count).to_pylist()
    return flights


def _send_unusual_flights(run: EmbeddedRun) -> None:
    flights = _flights(UNUSUAL_FLIGHTS)
    for index, flight in enumerate(flights):
        flight["distance"] *= 1.5
        flight["carrier"] = flight["carrier"] if index % 3 else "ZZ"
    for begin in range(0, UNUSUAL_FLIGHTS, 500):
        rows = flights[begin : begin + 500]
        status, content = run.request("POST", "/api/v1/models/flight-delay/predict", {"rows": rows})
        assert status == 200, content
    renamed = {("miles" if name == "distance" else name): value for name, value in flights[0].items()}
    status, content = run.request("POST", "/api/v1/models/flight-delay/predict", {"features": renamed})
    assert status == 422, content


def _has_history(run: EmbeddedRun) -> bool:
    _, performance = run.request("GET", "/api/v1/models/flight-delay/performance")
    _, incidents = run.request("GET", "/api/v1/models/flight-delay/incidents")
    return bool(json.loads(performance)["latest"] and json.loads(incidents)["incidents"])


def _upload_ground_truth(session: requests.Session, run: EmbeddedRun, path: Path) -> None:
    """Upload a file with an unknown prediction id and a missing one, through the form."""
    path.write_text(f"prediction_id,actual\n{uuid.uuid4()},late\n,late\n")
    with path.open("rb") as file:
        address = _send_form(session, f"{run.url}/admin/performance/groundtruthupload/add/", files={"file": file})
    await_condition(lambda: "Invalid rows" in session.get(address, timeout=10).text, seconds=60)


def _start_rollout(session: requests.Session, run: EmbeddedRun) -> None:
    """Start a rollout of a second version of the flights, and wait until its page shows evidence."""
    command = [sys.executable, "manage.py", "upload_version", "flight-delay", "1.1.0", "demo/flight-delay-1.1.0.onnx"]
    optional = ["--optional", "seats,plane_age,wind_speed,precip,visib"]
    environment = {"PATH": os.environ["PATH"], "MLMON_VAR_DIR": str(run.folder)}
    subprocess.run([*command, *optional], cwd=PROJECT, env=environment, check=True, stdout=subprocess.DEVNULL)
    challenger = _choice(session, f"{ROLLOUTS_URL}add/", run, "challenger", "flight-delay 1.1.0")
    plan = {"shares": "20, 50", "minimum_requests": "1000", "minimum_seconds": "600", "minimum_labels": "100"}
    guardrails = {"guards_errors": "on", "guards_wrong_predictions": "on", "latency_limit": "0.1"}
    page = _send_form(
        session,
        f"{run.url}{ROLLOUTS_URL}add/",
        files=None,
        challenger=challenger,
        kind="canary",
        alpha="0.01",
        **plan,
        **guardrails,
    )
    _send_form(session, page.replace("/change/", "/start/"))
    row = _flights(1)[0]

    def has_evidence() -> bool:
        for _ in range(20):
            run.request("POST", "/api/v1/models/flight-delay/predict", {"features": row})
        return "<figcaption>Errors" in session.get(page, timeout=10).text

    await_condition(has_evidence, "the rollout's page shows no evidence", seconds=120, pause=0.5)


def _choice(session: requests.Session, path: str, run: EmbeddedRun, field: str, text: str) -> str:
    """Return the value of an option of a select element."""
    page = session.get(run.url + path, timeout=10).text
    select = page.partition(f'<select name="{field}"')[2].partition("</select>")[0]
    found = re.search(rf'<option value="([^"]*)"[^>]*>\s*{re.escape(text)}\s*</option>', select)
    assert found, f"{path} does not offer {text}"
    return found[1]


def _send_form(session: requests.Session, url: str, *, files: dict[str, IO[bytes]] | None = None, **fields: str) -> str:
    """Send a form with its CSRF token; return the address of the page that follows."""
    session.get(url, timeout=10)
    token = session.cookies["csrftoken"]
    response = session.post(
        url, {"csrfmiddlewaretoken": token, **fields}, files=files, headers={"Referer": url}, timeout=30
    )
    assert response.status_code == 200, response.text
    assert response.url != url, "the form was refused"
    return response.url


class Visitor:
    """Opens pages of a server in one tab.

    Attributes
    ----------
    tab
        The tab, in the given theme on every page.
    """

    def __init__(self, context: BrowserContext, server: Server, theme: str) -> None:
        context.add_init_script(f"localStorage.setItem('adminTheme', JSON.stringify('{theme}'))")
        self.tab = context.new_page()
        self._server = server
        self._first_rows: dict[str, str] = {}  # by address of a list

    def open(self, kind: PageKind) -> Tab:
        """Open a page and wait until it is complete."""
        address = self._server.url + kind.path
        if kind.is_first_of_list:
            address = self._first_row(address)
            if kind.ending:
                address = address.removesuffix("change/") + kind.ending
        self.tab.goto(address)
        self.tab.wait_for_function(IS_SETTLED)
        return self.tab

    def _first_row(self, address: str) -> str:
        """Return the address that the first row of a list links to."""
        if address not in self._first_rows:
            self.tab.goto(address)
            links = self.tab.locator("#result_list tbody tr").first.get_by_role("link")
            assert links.count(), f"{address} has no row with a link"
            href = links.first.get_attribute("href")
            assert href is not None
            self._first_rows[address] = urljoin(address, href.partition("?")[0])
        return self._first_rows[address]
