"""Rollouts: the traffic of versions, and the evidence that a challenger is worse."""

from grafana_foundation_sdk.models import units

from monitoring.dashboards.panels import (
    BY_MODEL,
    BY_VERSION,
    CHOOSE_VERSION,
    DASHED,
    MODEL_PAGE,
    VERSION_PAGE,
    dashboard,
    lines,
    query,
    states,
    steps,
    yes_no,
)
from monitoring.dashboards.queries import VERSION, alert_limit, gauge

BY_GUARDRAIL = "{{model_name}} {{guardrail}}"
BY_STATE = "{{model_name}} {{state}}"
OF_GUARDRAIL = ("model_name", "guardrail")

ROLLOUTS = dashboard(
    "mlmon-rollouts",
    "Rollouts",
    "How new versions take over: their shares of the traffic, and the evidence that they are worse.",
    CHOOSE_VERSION,
    (
        lines("Traffic shares", units.PercentUnit)
        .min(0)
        .max(1)
        .description("Share of the requests without a version that each version gets.")
        .with_target(query(gauge("ml_traffic_share", "model_name", "model_version", matchers=(VERSION,)), BY_VERSION))
        .data_links([VERSION_PAGE]),
        lines("Evidence that the challenger is worse", units.NoUnit)
        .description("Log10. At the dashed line of its guardrail, the challenger is rolled back.")
        .with_target(query(gauge("ml_rollout_log10_evidence", *OF_GUARDRAIL), BY_GUARDRAIL))
        .with_target(query(gauge("ml_rollout_log10_evidence_limit", *OF_GUARDRAIL), f"{BY_GUARDRAIL} limit"))
        .override_by_query("B", DASHED)
        .data_links([MODEL_PAGE]),
        states("States of rollouts", units.NoUnit)
        .description("State of each model's latest rollout.")
        .with_target(query(gauge("ml_rollout_state", "model_name", "state"), BY_STATE))
        .thresholds(steps("blue"))
        .data_links([MODEL_PAGE]),
        states("Automatic rollbacks", units.NoUnit)
        .description("Red after an automatic rollback, until it is acknowledged or the next rollout starts.")
        .with_target(query(gauge("ml_rollout_incident_open"), BY_MODEL))
        .thresholds(steps("green", (1, "red")))
        .mappings([yes_no("rolled back", "none")])
        .data_links([MODEL_PAGE]),
        lines("Overdue steps", units.Seconds, alert_at=alert_limit("RolloutStuck"))
        .description("How long a rollout has stayed in a step after its minimum time. An alert fires above the line.")
        .with_target(query(gauge("ml_rollout_overdue_seconds"), BY_MODEL))
        .data_links([MODEL_PAGE]),
        lines("Disagreements of shadows", units.PercentUnit)
        .min(0)
        .description("Share of the rows for which the shadow of the latest rollout predicts another class.")
        .with_target(query(gauge("ml_shadow_disagreement_ratio"), BY_MODEL))
        .data_links([MODEL_PAGE]),
    ),
)
