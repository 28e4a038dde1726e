"""The dashboards are up to date and follow the rules of Grafana's dashboard-linter.

https://github.com/grafana/dashboard-linter names the rules. Exceptions state their reason.
"""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitoring.dashboards import __main__ as generator
from monitoring.dashboards import panels as builders
from monitoring.dashboards import queries
from tests.monitoring.dashboards.expressions import MAY_BE_EMPTY, boards, choices, expressions, with_values
from tests.monitoring.rules.test_rules import ADDED_LABELS, ALERTS, family_of
from tests.monitoring.test_metric_declarations import declarations
from tests.services.debian_programs import output_of

BOARDS = boards()
TITLES = [board["title"] for board in BOARDS]
# template-instance-rule, target-instance-rule: only dashboards of machines have a choice of instances. The metrics of a
# model are sums over all instances.
OF_MACHINES = {"Resources and GPU", "mlmon itself"}
# target-job-rule: Prometheus's own series of alerts have no job.
WITHOUT_JOB = {"ALERTS"}
PROMETHEUS_OWN = {"up", "ALERTS", "scrape_duration_seconds", "scrape_samples_post_metric_relabeling"}
OWN_LABELS = {"alertname", "alertstate", "service", "severity", "model_name", "feature_name"}
SELECTOR = re.compile(r"\b([a-zA-Z_:][a-zA-Z0-9_:]*)\{([^}]*)\}")


def panels() -> Iterator[tuple[Any, Any]]:
    for board in BOARDS:
        for panel in board["panels"]:
            yield board, panel


PANELS = [pytest.param(board, panel, id=f"{board['uid']}-{panel['title']}") for board, panel in panels()]


def test_the_committed_files_are_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert generator.main(["--check"]) == 0
    assert capsys.readouterr().err == ""


def test_the_check_names_changed_missing_and_unknown_files_and_a_run_repairs_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generator.main([], tmp_path) == 0
    assert generator.main(["--check"], tmp_path) == 0
    (tmp_path / "mlmon-drift.json").unlink()
    (tmp_path / "mlmon-itself.json").write_text("{}")
    (tmp_path / "mine.json").write_text("{}")

    assert generator.main(["--check"], tmp_path) == 1
    messages = capsys.readouterr().err.splitlines()
    assert [message.split()[0] for message in messages] == ["mine.json", "mlmon-drift.json", "mlmon-itself.json"]

    assert generator.main([], tmp_path) == 0
    assert generator.main(["--check"], tmp_path) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in generator.FOLDER.iterdir())


def test_the_documented_dashboards_exist() -> None:
    assert sorted(TITLES) == [
        "Confidence",
        "Drift",
        "Latency and traffic",
        "Overview of models",
        "Performance",
        "Resources and GPU",
        "Rollouts",
        "mlmon itself",
    ]
    assert len({board["uid"] for board in BOARDS}) == len(BOARDS)


@pytest.mark.parametrize("board", BOARDS, ids=TITLES)
def test_dashboards_are_not_editable_and_have_a_choice_of_data_source(board: Any) -> None:
    """uneditable-dashboard, template-datasource-rule."""
    assert board["editable"] is False
    first = board["templating"]["list"][0]
    assert (first["name"], first["type"], first["query"]) == ("datasource", "datasource", "prometheus")


@pytest.mark.parametrize("board", BOARDS, ids=TITLES)
def test_choices_of_job_and_instance_follow_the_time_range(board: Any) -> None:
    """template-job-rule, template-instance-rule, template-on-time-change-reload-rule."""
    variables = {variable["name"]: variable for variable in board["templating"]["list"] if variable["type"] == "query"}
    expected = {"job", "instance"} if board["title"] in OF_MACHINES else {"job", "model_name"}
    assert expected <= variables.keys()
    for variable in variables.values():
        assert variable["datasource"]["uid"] == "${datasource}"
        assert (variable["multi"], variable["includeAll"], variable["allValue"]) == (True, True, ".*")
        assert variable["refresh"] == 2


@pytest.mark.parametrize("board", BOARDS, ids=TITLES)
def test_links_and_annotations_are_shown_above_the_panels(board: Any) -> None:
    assert [link["type"] for link in board["links"]] == ["dashboards", "link"]
    for shown in [*board["links"], *board["annotations"]["list"]]:
        assert "placement" not in shown


@pytest.mark.parametrize(("board", "panel"), PANELS)
def test_panels_have_a_title_a_description_a_unit_and_queries(board: Any, panel: Any) -> None:
    """panel-title-description-rule, panel-units-rule, panel-datasource-rule, panel-no-targets-rule."""
    assert panel["title"]
    assert len(panel["description"]) > 6
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"]["uid"] == "${datasource}"
    assert panel["targets"]
    assert [target["refId"] for target in panel["targets"]] == list("ABCDEFGHIJ"[: len(panel["targets"])])
    assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])
    if panel["type"] in {"timeseries", "status-history"}:
        assert all(target["legendFormat"] != "__auto" for target in panel["targets"])


@pytest.mark.parametrize(("board", "panel"), PANELS)
def test_expressions_select_the_chosen_job_and_instance(board: Any, panel: Any) -> None:
    """target-job-rule, target-instance-rule."""
    for target in panel["targets"]:
        found = SELECTOR.findall(target["expr"])
        assert found
        for name, matchers in found:
            if name not in WITHOUT_JOB:
                assert 'job=~"$job"' in matchers, target["expr"]
        if board["title"] in OF_MACHINES and any(label in target["expr"] for label in ("slot", "gpu_id")):
            assert 'instance=~"$instance"' in target["expr"]


@pytest.mark.parametrize(("board", "panel"), PANELS)
def test_counters_appear_only_as_rates(board: Any, panel: Any) -> None:
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
def test_panels_fill_the_grid_without_overlap(board: Any) -> None:
    assert [panel["id"] for panel in board["panels"]] == list(range(1, len(board["panels"]) + 1))
    for one, other in itertools.combinations([panel["gridPos"] for panel in board["panels"]], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in board["panels"])


def test_dashed_lines_are_thresholds() -> None:
    """An override by reference refers to the query of a threshold, and no other query is drawn dashed."""
    dashed = []
    for _, panel in panels():
        legends = {target["refId"]: target["legendFormat"] for target in panel["targets"]}
        for override in panel["fieldConfig"]["overrides"]:
            if override["matcher"]["id"] == "byFrameRefID":
                assert {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [6, 6]}} in override["properties"]
                dashed.append(legends[override["matcher"]["options"]])
    assert sorted(dashed) == [
        "limit",
        "threshold of {{model_name}}",
        "threshold of {{model_name}} {{feature_name}}",
        "{{model_name}} {{guardrail}} limit",
    ]


def test_every_expression_and_choice_is_promql(tmp_path: Path) -> None:
    """target-promql-rule, template-label-promql-rule: checked by promtool."""
    parsed = {expression.text for expression in expressions(rate_interval="1m")}
    parsed |= {re.sub(r"label_values\((.*), \w+\)", r"\1", with_values(query, {})) for _, query in choices()}
    rules = [{"record": f"tested{number}", "expr": query} for number, query in enumerate(sorted(parsed))]
    assert len(rules) > 60
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "tested", "rules": rules}]}))
    assert f"{len(rules)} rules found" in output_of("promtool", "check", "rules", path)


def test_the_drawn_thresholds_are_those_of_the_alerts() -> None:
    assert f"> {queries.LATENCY_ALERT_SECONDS:g}" in ALERTS["HighPredictionLatency"]["expr"]
    assert f"> {queries.ERROR_ALERT_RATIO:g}" in ALERTS["HighErrorRate"]["expr"]
    assert f"> {queries.REJECTED_ALERT_RATIO:g}" in ALERTS["RequestsRejected"]["expr"]
    assert f"< {queries.CONFIDENCE_ALERT:g}" in ALERTS["LowConfidencePredictions"]["expr"]
    for name in ("DriftJobStale", "ArchiveJobStale"):
        assert f"> {queries.JOB_AGE_ALERT_SECONDS:g}" in ALERTS[name]["expr"]


def test_every_drawn_limit_is_that_of_an_alert() -> None:
    limits = {float(limit) for rule in ALERTS.values() for limit in re.findall(r"[<>] ([0-9.]+)", rule["expr"])}
    drawn = {
        panel["fieldConfig"]["defaults"]["thresholds"]["steps"][-1]["value"]
        for _, panel in panels()
        if panel["fieldConfig"]["defaults"].get("custom", {}).get("thresholdsStyle", {}).get("mode") == "dashed"
    }
    assert {0.05, 0.5, 0.6, 600} <= drawn <= limits


def test_an_alert_that_compares_with_no_number_has_no_limit() -> None:
    with pytest.raises(ValueError, match="DataDriftDetected compares with no number"):
        queries.alert_limit("DataDriftDetected")


def test_the_provisioned_data_source_and_folder_are_those_of_the_dashboards() -> None:
    folder = generator.FOLDER.parent / "provisioning"
    (found,) = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert (found["uid"], found["type"]) == (builders.DATA_SOURCE_UID, "prometheus")
    (provider,) = yaml.safe_load((folder / "dashboards" / "mlmon.yml").read_text())["providers"]
    assert provider["options"]["path"] == "/etc/grafana/dashboards"


def test_the_mlmon_address_is_that_of_the_alerts() -> None:
    configuration = yaml.safe_load((generator.FOLDER.parents[1] / "prometheus" / "prometheus.yml").read_text())
    assert configuration["global"]["external_labels"]["mlmon_url"] == builders.MLMON_URL


def test_panels_that_may_be_empty_exist() -> None:
    assert MAY_BE_EMPTY.keys() <= {(board["title"], panel["title"]) for board, panel in panels()}
