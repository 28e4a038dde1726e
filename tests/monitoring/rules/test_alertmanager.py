"""Alertmanager's configuration: amtool reads it and routes alerts."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.services.debian_programs import output_of

CONFIGURATION = Path(__file__).resolve().parents[3] / "monitoring" / "alertmanager" / "alertmanager.yml"


def configuration() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(CONFIGURATION.read_text())
    return loaded


def test_amtool_reads_the_configuration_and_its_templates() -> None:
    said = output_of("amtool", "check-config", CONFIGURATION)
    assert "3 receivers" in said
    assert "1 templates" in said


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ({"alertname": "HighErrorRate", "severity": "critical", "model_name": "credit"}, "critical"),
        ({"alertname": "HighPredictionLatency", "severity": "warning", "model_name": "credit"}, "warning"),
        ({"alertname": "SomebodyElses", "severity": "page"}, "warning"),
        ({"alertname": "Watchdog", "severity": "none"}, "watchdog"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_alerts_are_routed_by_severity(labels: dict[str, str], receiver: str) -> None:
    given = [f"{name}={value}" for name, value in {**labels, "service": "mlmon"}.items()]
    output_of(
        "amtool", "config", "routes", "test", f"--config.file={CONFIGURATION}", f"--verify.receivers={receiver}", *given
    )


def test_alerts_are_grouped_by_name_and_model() -> None:
    route = configuration()["route"]
    assert route["group_by"] == ["alertname", "model_name"]
    assert not [child for child in route["routes"] if "group_by" in child]


def test_resolved_alerts_are_sent_to_slack_and_by_mail() -> None:
    receivers = {receiver["name"]: receiver for receiver in configuration()["receivers"]}
    for name in ("critical", "warning"):
        for kind in ("slack_configs", "email_configs"):
            assert [channel["send_resolved"] for channel in receivers[name][kind]] == [True]
    assert receivers["watchdog"] == {"name": "watchdog"}


def test_secrets_are_only_in_files() -> None:
    """The names are the settings that Alertmanager's documentation marks as secret."""
    secret = {"slack_api_url", "api_url", "smtp_auth_password", "smtp_auth_secret", "auth_password", "auth_secret"}
    found = _keys(configuration())
    assert not found & secret
    assert {"slack_api_url_file", "smtp_auth_password_file"} <= found


def _keys(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(_keys, value.values()))
    return set().union(*map(_keys, value)) if isinstance(value, list) else set()
