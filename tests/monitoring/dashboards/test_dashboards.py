"""The generated dashboards: committed as generated, and by the rules of Grafana's dashboard-linter.

The rules are those of https://github.com/grafana/dashboard-linter, by its names; what is left out of them says why.
"""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitoring.dashboards import __main__ as generator
from monitoring.dashboards.boards import common as source
from tests.monitoring.dashboards.expressions import MAY_BE_EMPTY, boards, choices, expressions, with_values
from tests.monitoring.rules.test_rules import ADDED_LABELS, ALERTS, family_of
from tests.monitoring.test_metric_declarations import declarations
from tests.services.debian_programs import output_of

BOARDS = boards()
TITLES = [board["title"] for board in BOARDS]
# template-instance-rule, target-instance-rule: a model's figures are of all instances together, so only the dashboards
# of machines have a choice of instances.
OF_MACHINES = {"Resources and GPU", "mlmon itself"}
# target-job-rule: the series that Prometheus makes of alerts have no job.
WITHOUT_JOB = {"ALERTS"}
PROMETHEUS_OWN = {"up", "ALERTS", "scrape_duration_seconds", "scrape_samples_post_metric_relabeling"}
OWN_LABELS = {"alertname", "alertstate", "service", "severity", "model_name", "feature_name"}
SELECTOR = re.compile(r"\b([a-zA-Z_:][a-zA-Z0-9_:]*)\{([^}]*)\}")


def panels() -> Iterator[tuple[Any, Any]]:
    for board in BOARDS:
        for panel in board["panels"]:
            yield board, panel


PANELS = [pytest.param(board, panel, id=f"{board['uid']}-{panel['title']}") for board, panel in panels()]


def test_what_is_committed_is_what_is_generated(capsys: pytest.CaptureFixture[str]) -> None:
    assert generator.main(["--check"]) == 0
    assert capsys.readouterr().err == ""


def test_a_changed_a_missing_and_a_foreign_file_are_found(tmp_path: Path) -> None:
    for name, text in generator.rendered().items():
        (tmp_path / name).write_text(text)
    assert generator.stale(tmp_path) == []
    (tmp_path / "mlmon-drift.json").unlink()
    (tmp_path / "mlmon-itself.json").write_text("{}")
    (tmp_path / "mine.json").write_text("{}")
    assert generator.stale(tmp_path) == ["mine.json", "mlmon-drift.json", "mlmon-itself.json"]


def test_the_dashboards_that_are_promised_are_there() -> None:
    assert sorted(TITLES) == [
        "Confidence",
        "Drift",
        "Latency and traffic",
        "Overview of models",
        "Performance",
        "Resources and GPU",
        "mlmon itself",
    ]
    assert len({board["uid"] for board in BOARDS}) == len(BOARDS)


@pytest.mark.parametrize("board", BOARDS, ids=TITLES)
def test_uneditable_and_the_data_source_is_a_choice(board: Any) -> None:
    """uneditable-dashboard, template-datasource-rule."""
    assert board["editable"] is False
    first = board["templating"]["list"][0]
    assert (first["name"], first["type"], first["query"]) == ("datasource", "datasource", "prometheus")


@pytest.mark.parametrize("board", BOARDS, ids=TITLES)
def test_job_and_instance_are_choices_that_follow_the_time(board: Any) -> None:
    """template-job-rule, template-instance-rule, template-on-time-change-reload-rule."""
    variables = {variable["name"]: variable for variable in board["templating"]["list"] if variable["type"] == "query"}
    wanted = {"job", "instance"} if board["title"] in OF_MACHINES else {"job", "model_name"}
    assert wanted <= variables.keys()
    for variable in variables.values():
        assert variable["datasource"]["uid"] == "${datasource}"
        assert (variable["multi"], variable["includeAll"], variable["allValue"]) == (True, True, ".*")
        assert variable["refresh"] == 2


@pytest.mark.parametrize(("board", "panel"), PANELS)
def test_each_panel_says_what_it_shows(board: Any, panel: Any) -> None:
    """panel-title-description-rule, panel-units-rule, panel-datasource-rule, panel-no-targets-rule."""
    assert panel["title"]
    assert len(panel["description"]) > 6
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"]["uid"] == "${datasource}"
    assert panel["targets"]
    if panel["type"] in {"timeseries", "status-history"}:
        several = [target for target in panel["targets"] if target["legendFormat"] == "__auto"]
        assert not several, "its series are called by their labels"


@pytest.mark.parametrize(("board", "panel"), PANELS)
def test_each_expression_is_of_the_chosen_job_and_instance(board: Any, panel: Any) -> None:
    """target-job-rule, target-instance-rule."""
    for target in panel["targets"]:
        found = SELECTOR.findall(target["expr"])
        assert found
        for name, matchers in found:
            if name not in WITHOUT_JOB:
                assert 'job=~"$job"' in matchers, target["expr"]
        if board["title"] in OF_MACHINES and any(variable in target["expr"] for variable in ("slot", "gpu_id")):
            assert 'instance=~"$instance"' in target["expr"]


@pytest.mark.parametrize(("board", "panel"), PANELS)
def test_counters_are_only_looked_at_as_rates(board: Any, panel: Any) -> None:
    """target-counter-agg-rule, target-rate-interval-rule."""
    for target in panel["targets"]:
        bare = re.sub(r"\b(?:rate|increase)\([^()]*\)", "", target["expr"])
        assert not re.search(r"\w+_(total|sum|count|bucket)\{", bare), target["expr"]
        for span in re.findall(r"\brate\([^()]*\[([^\]]*)\]\)", target["expr"]):
            assert span == "$__rate_interval"


@pytest.mark.parametrize(("board", "panel"), PANELS)
def test_metrics_and_their_labels_are_declared(board: Any, panel: Any) -> None:
    for target in panel["targets"]:
        for name, matchers in SELECTOR.findall(target["expr"]):
            labels = set(re.findall(r"(\w+)\s*(?:=|!)", matchers)) - ADDED_LABELS
            allowed = OWN_LABELS if name in PROMETHEUS_OWN else set(declarations()[family_of(name)].labels)
            assert labels <= allowed, (name, labels)
        grouped = {
            name for names in re.findall(r"\bby \(([^)]*)\)", target["expr"]) for name in re.findall(r"\w+", names)
        }
        known = {label for row in declarations().values() for label in row.labels} | ADDED_LABELS | OWN_LABELS
        assert grouped <= known


@pytest.mark.parametrize("board", BOARDS, ids=TITLES)
def test_panels_fill_the_grid_without_covering_each_other(board: Any) -> None:
    assert [panel["id"] for panel in board["panels"]] == list(range(1, len(board["panels"]) + 1))
    for one, other in itertools.combinations([panel["gridPos"] for panel in board["panels"]], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in board["panels"])


def test_every_expression_and_choice_is_promql(tmp_path: Path) -> None:
    """target-promql-rule, template-label-promql-rule: by the real promtool."""
    queries = {expression.text for expression in expressions(rate_interval="1m")}
    queries |= {re.sub(r"label_values\((.*), \w+\)", r"\1", with_values(query, {})) for _, query in choices()}
    rules = [{"record": f"tested{number}", "expr": query} for number, query in enumerate(sorted(queries))]
    assert len(rules) > 60
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "tested", "rules": rules}]}))
    assert f"{len(rules)} rules found" in output_of("promtool", "check", "rules", path)


def test_the_limits_are_those_of_the_alerts() -> None:
    assert f"> {source.SLOW_SECONDS:g}" in ALERTS["HighPredictionLatency"]["expr"]
    assert f"> {source.MOST_ERRORS:g}" in ALERTS["HighErrorRate"]["expr"]
    assert f"< {source.LEAST_CONFIDENCE:g}" in ALERTS["LowConfidencePredictions"]["expr"]
    for name in ("DriftJobStale", "ArchiveJobStale"):
        assert f"> {source.STALE_SECONDS:g}" in ALERTS[name]["expr"]


def test_the_provisioned_data_source_and_folder_are_the_dashboards() -> None:
    folder = generator.FOLDER.parent / "provisioning"
    (found,) = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert (found["uid"], found["type"]) == (source.DATA_SOURCE_UID, "prometheus")
    (provider,) = yaml.safe_load((folder / "dashboards" / "mlmon.yml").read_text())["providers"]
    assert provider["options"]["path"] == "/etc/grafana/dashboards"


def test_the_mlmon_address_is_that_of_the_alerts() -> None:
    configuration = yaml.safe_load((generator.FOLDER.parents[1] / "prometheus" / "prometheus.yml").read_text())
    assert configuration["global"]["external_labels"]["mlmon_url"] == source.MLMON_URL


def test_what_may_be_empty_is_a_panel_that_there_is() -> None:
    assert MAY_BE_EMPTY.keys() <= {(board["title"], panel["title"]) for board, panel in panels()}
