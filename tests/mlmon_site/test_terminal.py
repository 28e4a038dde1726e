"""All of mlmon's commands: help, examples, JSON output and exit statuses."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from django.conf import settings
from django.core.management import get_commands, load_command_class
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from pytest_django.fixtures import Settings

from accounts.management.terminal import ExitStatus, TeachingCommand, table, table_text
from accounts.models import ApiToken, ChangeRecord, token_digest
from drift.models import DriftCheck
from drift.services.checks import run_drift_check
from mlmon.figures import plain_text
from models_registry.models import Model, ModelVersion, Stage
from models_registry.services.versions import set_stage
from tests.factories import IRIS_FEATURES, iris_onnx, uploaded_version
from tests.mlmon.observed import iris_rows, observe, profiled_reference
from tests.services.processes import free_port

REPOSITORY = Path(settings.BASE_DIR)
OURS = (
    "demo",
    "mlmon_site",
    "monitoring",
    "rollouts",
    "drift",
    "performance",
    "inference",
    "models_registry",
    "accounts",
)
COMMANDS = {name: app for name, app in get_commands().items() if app in OURS and name != "migrate"}  # Django's own
WITHOUT_RESULT = {"run"}  # runs until it is stopped
REFERENCE = REPOSITORY / "demo" / "classifier-reference.csv"
DOCUMENT = (REPOSITORY / "docs" / "terminal.md").read_text()
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]


def _command(name: str) -> TeachingCommand:
    command = load_command_class(COMMANDS[name], name)
    assert isinstance(command, TeachingCommand), f"{name} is not a TeachingCommand"
    return command


def _help(name: str) -> str:
    return _command(name).create_parser("manage.py", name).format_help()


def _calls(text: str) -> list[list[str]]:
    """Return the words of each mlmon command in the shell lines of `text`, up to a pipe."""
    calls = []
    for line in text.replace("\\\n", " ").splitlines():
        if re.match(r"\s*([$.\w/]*python3? |docker compose exec web python )?manage\.py ", line):
            words = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
            words.whitespace_split = True
            calls += [words for words in _between_operators(list(words)) if words[0] in COMMANDS]
    return calls


def _between_operators(words: list[str]) -> Iterator[list[str]]:
    """Yield the words after ``manage.py`` in each command of a line, up to the next operator."""
    call: list[str] | None = None
    for word in [*words, ";"]:
        if set(word) <= set("|&;<>"):
            if call:
                yield call
            call = None
        elif word == "manage.py":
            call = []
        elif call is not None:
            call.append(word)


HELP_CALLS = [call for name in COMMANDS for call in _calls(_help(name))]
PAGE_CALLS = [(page.name, call) for page in PAGES for call in _calls(page.read_text())]


# --- help and documents ---------------------------------------------------------------------------------------------


def test_every_command_is_documented() -> None:
    assert set(re.findall(r"^## (\w+)$", DOCUMENT, re.MULTILINE)) == set(COMMANDS)
    assert set(re.findall(r"^\| \[`(\w+)`\]", DOCUMENT, re.MULTILINE)) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_has_examples_and_exit_statuses(name: str) -> None:
    text = _help(name)
    assert len(_command(name).help) > 60
    examples = [call for call in _calls(text) if call[0] == name]
    assert len(examples) >= 2, "two example lines at least"
    assert re.search(r"^exit status:\n  [01]", text, re.MULTILINE)
    assert re.search(r"^  2 ", text, re.MULTILINE)
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("call", HELP_CALLS, ids=" ".join)
def test_each_example_in_the_help_parses(call: list[str]) -> None:
    _command(call[0]).create_parser("manage.py", call[0]).parse_args(call[1:])  # raises an error


@pytest.mark.parametrize(("page", "call"), PAGE_CALLS, ids=lambda value: value if isinstance(value, str) else value[0])
def test_each_command_in_the_documents_parses(page: str, call: list[str]) -> None:
    _command(call[0]).create_parser("manage.py", call[0]).parse_args(call[1:])  # raises an error


def test_the_documents_show_every_command() -> None:
    assert {call[0] for page, call in PAGE_CALLS if page == "terminal.md"} == set(COMMANDS)
    assert any(page == "README.md" for page, _ in PAGE_CALLS)


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - WITHOUT_RESULT))
def test_each_command_has_a_json_option(name: str) -> None:
    assert "--json" in _help(name)


def test_the_documented_exit_statuses_are_those_of_the_code() -> None:
    table = re.findall(r"^\| (\d+) \| ", DOCUMENT, re.MULTILINE)
    assert [int(status) for status in table] == [status.value for status in ExitStatus]


# --- results --------------------------------------------------------------------------------------------------------


class Ended:
    """The output and exit status of a command, as a shell sees them."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *words: object) -> None:
        capsys.readouterr()
        name, *rest = map(str, words)
        self.status = 0
        try:
            _command(name).run_from_argv(["manage.py", name, *rest])
        except SystemExit as end:
            self.status = int(end.code or 0)
        self.out, self.err = capsys.readouterr()

    @property
    def document(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def registry(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty registry. Commands keep the test's database connection open."""
    settings.MEDIA_ROOT = tmp_path / "media"
    monkeypatch.setattr("django.core.management.base.connections.close_all", lambda: None)


@pytest.fixture
def onnx_file(tmp_path: Path) -> Path:
    path = tmp_path / "iris.onnx"
    path.write_bytes(iris_onnx())
    return path


@pytest.fixture
def version(db: None, registry: None) -> ModelVersion:
    return uploaded_version("classifier")


@pytest.mark.django_db
def test_a_model_is_registered_uploaded_and_promoted(
    registry: None, onnx_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registered = Ended(capsys, "register_model", "credit", "--description", "A loan.", "--json")
    assert (registered.status, registered.err) == (0, "")
    assert (registered.document["name"], registered.document["description"]) == ("credit", "A loan.")
    features = ",".join(IRIS_FEATURES)
    uploaded = Ended(capsys, "upload_version", "credit", "1.0.0", onnx_file, "--features", features, "--json")
    assert (uploaded.status, uploaded.document["stage"]) == (0, "staging")
    assert [feature["name"] for feature in uploaded.document["features"]] == list(IRIS_FEATURES)
    assert uploaded.document["artefact_sha256"] == ModelVersion.objects.get().artefact_sha256
    profiled = Ended(capsys, "upload_reference", "credit", "1.0.0", REFERENCE, "--json")
    assert (profiled.status, profiled.document["rows"], profiled.document["labelled_rows"]) == (0, 150, 150)
    promoted = Ended(capsys, "promote", "credit", "1.0.0", "--json")
    assert (promoted.status, promoted.document["stage"], promoted.err) == (0, "production", "")
    listed = Ended(capsys, "models", "--check", "--json")
    (model,) = listed.document["models"]
    (row,) = model["versions"]
    assert (listed.status, row["traffic_weight"], row["reference"]["rows"], row["problems"]) == (0, 100, 150, [])
    programs = set(ChangeRecord.objects.values_list("actor", flat=True))
    assert {actor.partition(",")[0] for actor in programs} >= {"register_model", "upload_version", "promote"}


def test_a_refused_file_registers_no_model(
    registry: None, db: None, tmp_path: Path, onnx_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "no.onnx").write_bytes(b"no model")
    assert Ended(capsys, "upload_version", "credit", "1.0.0", tmp_path / "no.onnx").status == 1
    assert Ended(capsys, "upload_version", "credit", "1.0", onnx_file).status == 1
    assert not Model.objects.exists()
    assert not ChangeRecord.objects.exists()


def test_the_upload_takes_what_the_graph_does_not_contain(
    registry: None, db: None, onnx_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    features = ("--features", ",".join(IRIS_FEATURES))
    told = ("--optional", "sepal_length,petal_width", "--categorical", "petal_width")
    uploaded = Ended(capsys, "upload_version", "credit", "1.0.0", onnx_file, *features, *told, "--json")
    found = {one["name"]: (one["kind"], one["is_required"]) for one in uploaded.document["features"]}
    assert found["sepal_length"] == ("numeric", False)
    assert found["petal_width"] == ("categorical", False)
    assert found["sepal_width"] == ("numeric", True)
    refused = Ended(capsys, "upload_version", "credit", "1.1.0", onnx_file, *features, "--optional", "height")
    assert (refused.status, "no feature 'height'" in refused.err) == (1, True)
    assert ModelVersion.objects.count() == 1


def test_a_dry_run_promotes_nothing(version: ModelVersion, capsys: pytest.CaptureFixture[str]) -> None:
    challenger = uploaded_version("classifier", "1.1.0", production=False)
    said = Ended(capsys, "promote", "classifier", "1.1.0", "--dry-run", "--json")
    challenger.refresh_from_db()
    assert (said.status, challenger.stage, said.document["is_dry_run"]) == (0, Stage.STAGING, True)
    assert "classifier 1.0.0 loses its traffic and goes to staging." in said.document["consequences"]
    text = Ended(capsys, "promote", "classifier", "1.1.0")
    version.refresh_from_db()
    assert (text.status, version.stage) == (0, Stage.STAGING)
    assert "classifier 1.1.0 goes from staging to production." in text.out


def test_a_canary_gets_its_weight(version: ModelVersion, capsys: pytest.CaptureFixture[str]) -> None:
    uploaded_version("classifier", "1.1.0", production=False)
    canary = Ended(capsys, "set_stage", "classifier", "1.1.0", "production", "--weight", "5", "--json")
    assert (canary.status, canary.document["traffic_weight"]) == (0, 5)
    version.refresh_from_db()
    assert (version.stage, version.traffic_weight) == (Stage.PRODUCTION, 100)
    refused = Ended(capsys, "set_stage", "classifier", "1.1.0", "shadow", "--weight", "5")
    assert (refused.status, refused.out) == (ExitStatus.FOUND, "")
    assert "takes no traffic" in refused.err


def test_an_archived_version_stays_archived(version: ModelVersion, capsys: pytest.CaptureFixture[str]) -> None:
    assert Ended(capsys, "set_stage", "classifier", "1.0.0", "archived").status == 0
    for words in (("promote", "classifier", "1.0.0"), ("set_stage", "classifier", "1.0.0", "staging")):
        refused = Ended(capsys, *words)
        assert (refused.status, "archived, which is final" in refused.err) == (ExitStatus.FOUND, True)


def test_the_list_shows_problems(version: ModelVersion, capsys: pytest.CaptureFixture[str]) -> None:
    Path(version.artefact.path).unlink()
    checked = Ended(capsys, "models", "classifier", "--check")
    assert checked.status == ExitStatus.FOUND
    assert "Its ONNX file is missing. It has no reference data" in checked.out
    assert Ended(capsys, "models", "classifier").status == 0


def test_the_list_shows_a_failed_reference(
    version: ModelVersion, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "no.csv").write_text("a,b\n1,2\n")
    assert Ended(capsys, "upload_reference", "classifier", "1.0.0", tmp_path / "no.csv").status == ExitStatus.FOUND
    (row,) = Ended(capsys, "models", "classifier", "--json").document["models"][0]["versions"]
    assert row["reference"] is None
    assert row["problems"][0].startswith("no.csv could not be profiled: The file lacks the columns")
    set_stage(version=version, stage=Stage.ARCHIVED)
    assert Ended(capsys, "models", "--check").status == 0


@pytest.mark.django_db
def test_empty_results_show_the_next_step(registry: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert "load_demo" in Ended(capsys, "models").out
    assert "promote" in Ended(capsys, "drift_status").out
    Model.objects.create(name="empty")
    assert "No version has been uploaded yet." in Ended(capsys, "models").out


def test_drift_status_shows_checks_and_incidents(
    version: ModelVersion, redis_client: redis.Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    before = Ended(capsys, "drift_status", "--json")
    assert (before.status, before.document["versions"][0]["check"]) == (0, None)
    assert "not checked yet" in Ended(capsys, "drift_status").out
    profiled_reference(version, iris_rows(5000, seed=1))
    observe(version, iris_rows(1000, seed=2) + np.array([0.5, 0, 0, 0]))
    assert run_drift_check(version_id=version.pk) is not None
    drifted = Ended(capsys, "drift_status", "classifier", "--json")
    (state,) = drifted.document["versions"]
    assert (drifted.status, drifted.err) == (ExitStatus.FOUND, "")
    assert (state["check"]["verdict"], state["incident"]["features"][0]) == ("alarm", "sepal_length")
    assert "sepal_length" in state["check"]["drifted_features"]
    text = Ended(capsys, "drift_status")
    assert (text.status, f"#{state['incident']['id']}: sepal_length" in text.out) == (ExitStatus.FOUND, True)
    assert Ended(capsys, "drift_status", "--fail-on", "never").status == 0


def test_drift_status_finds_drifted_scores_and_failed_checks(
    version: ModelVersion, redis_client: redis.Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    profiled_reference(version, iris_rows(5000, seed=1))
    observe(version, iris_rows(200, seed=2) + np.array([0.5, 0, 0, 0]))  # too few for a verdict
    assert run_drift_check(version_id=version.pk) is not None
    assert Ended(capsys, "drift_status").status == 0
    assert Ended(capsys, "drift_status", "--fail-on", "drift").status == ExitStatus.FOUND
    DriftCheck.objects.update(status="failed", error_message="The profile is unreadable.")
    failed = Ended(capsys, "drift_status")
    assert (failed.status, "failed: The profile is unreadable." in failed.out) == (ExitStatus.FOUND, True)


@pytest.mark.django_db
def test_a_token_is_printed_once(registry: None, capsys: pytest.CaptureFixture[str]) -> None:
    made = Ended(capsys, "create_token", "dashboard", "--scope", "read", "--days", "90", "--json")
    row = ApiToken.objects.get()
    assert (made.status, made.document["scope"], made.err) == (0, "read", "")
    assert row.digest == token_digest(made.document["token"])
    assert row.expires_at is not None
    assert timedelta(days=89) < row.expires_at - timezone.now() < timedelta(days=91)
    twice = Ended(capsys, "create_token", "dashboard")
    assert (twice.status, "already exists" in twice.err) == (ExitStatus.FOUND, True)


@pytest.mark.django_db
def test_check_beat_prints_json_even_when_unhealthy(registry: None, capsys: pytest.CaptureFixture[str]) -> None:
    PeriodicTask.objects.update(last_run_at=None)
    ill = Ended(capsys, "check_beat", "--json")
    assert (ill.status, ill.document) == (ExitStatus.FOUND, {"is_well": False, "last_sent_at": None})
    every, _ = IntervalSchedule.objects.get_or_create(every=20, period=IntervalSchedule.SECONDS)
    PeriodicTask.objects.create(name="a tick", task="a.tick", interval=every, last_run_at=timezone.now())
    well = Ended(capsys, "check_beat", "--json")
    assert (well.status, well.document["is_well"]) == (0, True)


@pytest.mark.django_db
def test_load_demo_prints_json(registry: None, redis_client: redis.Redis, capsys: pytest.CaptureFixture[str]) -> None:
    loaded = Ended(capsys, "load_demo", "--json")
    assert (loaded.status, [model["name"] for model in loaded.document]) == (0, ["classifier", "flight-delay"])
    nothing = Ended(capsys, "drift_backfill", "classifier", "--json")
    assert (nothing.status, nothing.out) == (ExitStatus.FOUND, "")


def test_drift_compare_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    same = Ended(capsys, "drift_compare", REFERENCE, REFERENCE, "--json", "-")
    assert (same.status, same.document["reference"]["rows"], same.err) == (0, 150, "")


# --- statuses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("models", "absent"),
        ("drift_status", "absent"),
        ("drift_backfill", "absent"),
        ("drift_backfill", "classifier", "--model-version", "9.9.9"),
        ("drift_compare", "absent.csv", "absent.csv"),
        ("promote", "classifier", "9.9.9"),
        ("set_stage", "classifier", "1.0.0", "nowhere"),
        ("set_stage", "classifier", "1.0.0", "production", "--weight", "0"),
        ("upload_version", "classifier", "1.1.0", "absent.onnx"),
        ("upload_reference", "absent", "1.0.0", "absent.csv"),
        ("upload_reference", "classifier", "1.0.0", "absent.csv"),
        ("create_token", "a", "--days", "0"),
        ("create_token", "a", "--scope", "everything"),
        ("replay", "--speed", "0"),
        ("run", "--port", "http"),
        ("load_demo", "--yaml"),
        ("check_beat", "now"),
        ("register_model",),
    ],
    ids=" ".join,
)
def test_a_wrong_call_exits_with_2_and_an_error_message(
    version: ModelVersion, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    ended = Ended(capsys, *words)
    assert (ended.status, ended.out) == (ExitStatus.WRONG_USAGE, "")
    assert ended.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("register_model", "Not A Name"), "name: Use at most 63 lower-case letters"),
        (("create_token", ""), "name: This field cannot be blank."),
        (("create_token", "a", "--days", "soon"), "argument --days: must be a whole number from 1 to 36,500"),
        (("create_token", "a", "--scope", "everything"), "argument --scope: invalid choice: 'everything'"),
        (("upload_version", "classifier", "one", REFERENCE), "version: "),
        (("set_stage", "classifier", "1.0.0", "nowhere"), "argument stage: invalid choice: 'nowhere'"),
        (
            ("set_stage", "classifier", "1.0.0", "production", "--weight", "x"),
            "argument --weight: must be a whole number",
        ),
        (("drift_status", "--fail-on", "monday"), "argument --fail-on: invalid choice: 'monday'"),
        (("drift_backfill", "classifier", "--since", "monday"), "argument --since: enter a time in ISO 8601"),
        (("drift_backfill", "classifier", "--until", "2026-13-01"), "argument --until: enter a time in ISO 8601"),
        (("drift_backfill", "classifier", "--every", "0"), "argument --every: must be a whole number"),
        (("replay", "--url", "nowhere"), "--url: 'nowhere' is not the address of a server."),
        (("replay", "--token", "a\nb"), "--token: a token has no line breaks"),
        (("replay", "--months", "13"), "argument --months: "),
        (("replay", "--speed", "x"), "argument --speed: "),
        (("run", "--port", "0"), "argument --port: "),
        (("run", "--workers", "0"), "argument --workers: must be a whole number from 1 to 256"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(map(str, value[:3])),
)
def test_messages_about_an_argument_name_it(
    version: ModelVersion, words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = Ended(capsys, *words)
    assert ended.status in (ExitStatus.FOUND, ExitStatus.WRONG_USAGE)
    assert message in ended.err


@pytest.mark.parametrize("words", [["help"], ["models", "--help"], ["drift_status", "--json"], ["check"]], ids=" ".join)
def test_a_reader_that_stops_early_sees_no_traceback(words: list[str], tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=REPOSITORY,
        env={**os.environ, "MLMON_VAR_DIR": str(tmp_path), "DATABASE_URL": f"sqlite:///{tmp_path / 'new.sqlite3'}"},
        stdout=write_end,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write_end)
    assert done.returncode == (ExitStatus.UNAVAILABLE if words == ["drift_status", "--json"] else 0), done.stderr
    assert not {"Traceback", "BrokenPipe"} & set(done.stderr.split())


def test_the_exit_statuses_of_refusals(
    version: ModelVersion, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "no.onnx").write_text("no model")
    (tmp_path / "no.csv").write_text("a,b\n1,2\n")
    for words in (
        ("register_model", "classifier"),
        ("register_model", "Not A Name"),
        ("upload_version", "classifier", "1.1.0", tmp_path / "no.onnx"),
        ("upload_reference", "classifier", "1.0.0", tmp_path / "no.csv"),
        ("drift_backfill", "classifier"),
        ("replay", "--url", f"http://127.0.0.1:{free_port()}"),
    ):
        refused = Ended(capsys, *words)
        assert (refused.status, refused.out) == (ExitStatus.FOUND, ""), words
        assert refused.err


@pytest.mark.parametrize("name", ["models", "drift_status", "check_beat"])
def test_an_unavailable_database_exits_with_3(name: str, tmp_path: Path) -> None:
    address = f"postgres://nobody@127.0.0.1:{free_port()}/nothing"
    done = subprocess.run(
        [sys.executable, "manage.py", name, "--json"],
        cwd=REPOSITORY,
        env={**os.environ, "DATABASE_URL": address, "MLMON_VAR_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (ExitStatus.UNAVAILABLE, ""), done.stderr
    assert "The database is unavailable" in done.stderr


class Terminal(StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


def test_progress_is_shown_only_in_a_terminal(
    version: ModelVersion, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    quiet = Ended(capsys, "upload_reference", "classifier", "1.0.0", REFERENCE)
    assert (quiet.status, quiet.err) == (0, "")
    for options, is_seen in (([], True), (["--json"], False)):
        terminal = Terminal()
        monkeypatch.setattr("sys.stderr", terminal)
        assert Ended(capsys, "upload_reference", "classifier", "1.0.0", REFERENCE, *options).status == 0
        assert ("reading and predicting" in terminal.getvalue(), "%" in terminal.getvalue()) == (is_seen, is_seen)


def test_a_table_is_aligned_and_complete() -> None:
    long = "x" * 300
    rows = [("a", "x\x1b[2J", "1"), ("longer", f"[bold]{long}[/bold]", "1,000")]
    heading, _, first, second = table_text(table(("name", "what", "rows"), rows, numbers=("rows",))).splitlines()
    assert heading.split() == ["name", "what", "rows"]
    assert first.split() == ["a", "x\\x1b[2J", "1"]
    assert second.split() == ["longer", f"[bold]{long}[/bold]", "1,000"]
    assert len(first) == len(second)  # numbers are aligned to the right
    assert plain_text("é\n") == "é\\n"


def test_a_terminal_sees_a_table_in_its_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    text = table_text(table(("name", "what"), [("a", "x" * 100)]), is_terminal=True)
    plain = re.sub(r"\x1b\[[\d;]*m", "", text)
    assert plain != text  # the headings are bold
    assert max(map(len, plain.splitlines())) <= 40
    assert plain.count("x") == 100
