"""The Prometheus rules: promtool runs their tests, and each alert has tests, a runbook page and links."""

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.monitoring.test_metric_declarations import declarations
from tests.services.debian_programs import output_of

REPOSITORY = Path(__file__).resolve().parents[3]
RULE_FILES = sorted((REPOSITORY / "monitoring" / "prometheus" / "rules").glob("*.yml"))
RUNBOOKS = REPOSITORY / "docs" / "runbooks"
TEST_FILES = sorted(Path(__file__).parent.glob("*.yml"))
ANNOTATIONS = {"summary", "description", "runbook_url", "dashboard_url"}
ALWAYS_FIRES = {"Watchdog"}
ADDED_LABELS = {"le", "job", "instance"}  # added by histograms and Prometheus
HISTOGRAM_SUFFIX = re.compile(r"_(bucket|count|sum)$")


def rules() -> list[dict[str, Any]]:
    """Return the rules of all files."""
    files = [yaml.safe_load(path.read_text()) for path in RULE_FILES]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}
RECORDED = {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}


def metrics_in(expression: str) -> set[str]:
    """Return the scraped metrics of an expression, including those of recorded series."""
    behind = [metrics_in(RECORDED[name]) for name in re.findall(r"\w+:\w+:\w+", expression)]
    named = re.findall(r"(?<!:)\b(?:ml_\w+|up)\b(?!:)", expression)
    return set(named).union(*behind)


def family_of(name: str) -> str:
    """Return the declared name of a series."""
    return name if name in declarations() else HISTOGRAM_SUFFIX.sub("", name)


def cases() -> dict[str, dict[str, set[str]]]:
    """Return the metrics in the firing and in the quiet cases of each alert."""
    found: dict[str, dict[str, set[str]]] = defaultdict(dict)
    for path in TEST_FILES:
        for test in yaml.safe_load(path.read_text())["tests"]:
            given = {series["series"].partition("{")[0] for series in test["input_series"]}
            fires = {case["alertname"] for case in test["alert_rule_test"] if case.get("exp_alerts")}
            for name in fires:
                found[name].setdefault("fires", set()).update(given)
            for name in {case["alertname"] for case in test["alert_rule_test"]} - fires:
                found[name].setdefault("quiet", set()).update(given)
    return found


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.stem)
def test_alerts_fire_and_stay_quiet(path: Path) -> None:
    assert "SUCCESS" in output_of("promtool", "test", "rules", path)


def test_prometheus_accepts_its_configuration() -> None:
    folder = REPOSITORY / "monitoring" / "prometheus"
    output_of("promtool", "check", "rules", "--lint=all", "--lint-fatal", *RULE_FILES)
    said = output_of("promtool", "check", "config", "--lint=all", "--lint-fatal", folder / "prometheus.yml")
    assert f"{len(RULE_FILES)} rule files found" in said


@pytest.mark.parametrize("name", ALERTS)
def test_each_alert_has_a_firing_case(name: str) -> None:
    assert "fires" in cases()[name]


@pytest.mark.parametrize("name", sorted(ALERTS.keys() - ALWAYS_FIRES))
def test_each_alert_has_a_quiet_case_with_its_series(name: str) -> None:
    given = cases()[name]["quiet"]
    assert given & metrics_in(ALERTS[name]["expr"]), given


def test_only_the_watchdog_reads_no_series() -> None:
    assert {name for name, rule in ALERTS.items() if not metrics_in(rule["expr"])} == ALWAYS_FIRES


def test_every_tested_alert_exists() -> None:
    assert cases().keys() == ALERTS.keys()


@pytest.mark.parametrize("name", ALERTS)
def test_each_alert_has_texts_and_links(name: str) -> None:
    rule = ALERTS[name]
    assert rule["annotations"].keys() == ANNOTATIONS
    assert rule["annotations"]["runbook_url"] == "{{ $externalLabels.runbooks_url }}/" + f"{name}.md"
    assert rule["annotations"]["dashboard_url"].startswith("{{ $externalLabels.mlmon_url }}/")
    assert rule["labels"] == {"severity": rule["labels"]["severity"], "service": "mlmon"}
    assert rule["labels"]["severity"] in {"critical", "warning", "none"}


@pytest.mark.parametrize("name", ALERTS)
def test_each_alert_has_a_runbook_page(name: str) -> None:
    page = (RUNBOOKS / f"{name}.md").read_text()
    assert page.startswith(f"# {name}\n")
    assert re.findall(r"^## (.+)$", page, re.MULTILINE) == [
        "What it means",
        "Who is affected",
        "What to check",
        "What to do",
        "How to silence it",
    ]


def test_each_runbook_page_belongs_to_an_alert() -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == ALERTS.keys()


def test_the_rules_read_only_declared_metrics() -> None:
    read = set().union(*(metrics_in(rule["expr"]) for rule in rules()))
    assert {family_of(name) for name in read} - {"up"} <= declarations().keys()


def test_the_rules_match_only_labels_of_the_metrics() -> None:
    matched = [pair for rule in rules() for pair in re.findall(r"\b(ml_\w+)\{([^}]*)\}", rule["expr"])]
    assert len(matched) > 5
    for name, matchers in matched:
        labels = set(re.findall(r"(\w+)\s*(?:=|!)", matchers)) - ADDED_LABELS
        assert labels <= set(declarations()[family_of(name)].labels), (name, matchers)


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_series_are_named_level_metric_operation(name: str) -> None:
    assert re.fullmatch(r"(model_name|slo):ml_[a-z0-9_]+:[a-z0-9_]+", name)


def test_each_objective_is_defined_once() -> None:
    text = "\n".join(path.read_text() for path in RULE_FILES)
    code = "\n".join(line.partition("#")[0] for line in text.splitlines())
    assert (code.count("0.995"), code.count("vector(0.95)")) == (1, 1)


def test_alerts_have_the_thresholds_and_durations_of_the_contract() -> None:
    """Section 3 of the contract: limit in the expression, duration, severity."""
    contract = {
        "HighPredictionLatency": ("> 0.5", "5m", "warning"),
        "HighErrorRate": ("> 0.05", "5m", "critical"),
        "DataDriftDetected": ("ml_feature_drift_threshold", "10m", "warning"),
        "PredictionDriftDetected": ("ml_prediction_drift_threshold", "10m", "warning"),
        "LowConfidencePredictions": ("< 0.6", "15m", "warning"),
        "DriftConfirmed": ("== 1", "0m", "critical"),
        "RequestsRejected": ("> 0.05", "10m", "warning"),
        "DriftCoverageLost": ("> 0", "15m", "warning"),
    }
    for name, (limit, duration, severity) in contract.items():
        rule = ALERTS[name]
        assert limit in rule["expr"]
        assert (rule.get("for", "0m"), rule["labels"]["severity"]) == (duration, severity)
