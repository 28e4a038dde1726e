"""Examples of the drift calls' responses, made as the responses are."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from drf_spectacular.utils import OpenApiExample

from drift.report import DriftReport, ReportSource, ReportStatus, WindowSummary, report_body
from mlmon.report.json_body import hypothesis_body
from mlmon.results import (
    Channel,
    ComparisonResult,
    FeatureResult,
    HypothesisResult,
    Measure,
    Method,
    PredictionResult,
    Test,
    Verdict,
    VerdictStatus,
)
from mlmon.schema import FeatureKind
from rest.codec import OrjsonRenderer

HYPOTHESIS = HypothesisResult(
    channel=Channel.DISTRIBUTION,
    name="petal_length",
    p_value=4.0e-77,
    effect=0.62,
    passes_gate=True,
    window_rows=1000,
    is_alarm=True,
    is_listed=True,
    test=Test.LOCATION,
    alpha=6.25e-06,
    degrees_of_dispersion=909.1,
    outcome="median",
    reference_value=3.76,
    current_value=4.41,
)
REPORT = DriftReport(
    model_name="classifier",
    model_version="1.0.0",
    status=ReportStatus.OK,
    source=ReportSource.STORED,
    check_id=17,
    rule_edition=2,
    checked_at=datetime(2026, 3, 1, 12, 0, 20, tzinfo=UTC),
    window=WindowSummary(
        rows=1000,
        rows_seen=4200,
        end_id="1772366410123-0",
        started_at=datetime(2026, 3, 1, 11, 31, 7, tzinfo=UTC),
        ended_at=datetime(2026, 3, 1, 12, 0, 10, tzinfo=UTC),
        reference_rows=10_000,
    ),
    result=ComparisonResult(
        n_reference=10_000,
        n_current=1000,
        features=(
            FeatureResult(
                name="petal_length",
                kind=FeatureKind.NUMERIC,
                threshold=0.15,
                method=Method.KOLMOGOROV_SMIRNOV,
                score=0.31,
                is_drifted=True,
                statistic=0.31,
                p_value=2.1e-77,
                reference_mean=3.76,
                current_mean=4.41,
                n_reference=10_000,
                n_current=1000,
                measures={Method.HELLINGER: Measure(0.29, {"bins": 15})},
                verdict=HYPOTHESIS,
                smallest_visible={Test.LOCATION: 0.16, Test.SHAPE: 0.19},
            ),
        ),
        prediction=PredictionResult(
            threshold=0.1,
            js_divergence=0.0004,
            chi2_statistic=3.1,
            p_value=0.21,
            reference_dist={"setosa": 0.33, "versicolor": 0.33, "virginica": 0.34},
            current_dist={"setosa": 0.31, "versicolor": 0.34, "virginica": 0.35},
        ),
        verdict=Verdict(
            VerdictStatus.ALARM,
            false_alarm_budget=10_000,
            closest="petal_length",
            alpha=6.25e-06,
            smallest_p_value=4.0e-77,
            hypotheses=44,
            window_rows=(1000, 500),
        ),
    ),
)
WAITING = replace(
    REPORT,
    status=ReportStatus.INSUFFICIENT_DATA,
    detail="3 of the 100 rows that a comparison needs have been seen. Send more predictions, or lower the minimum in "
    "the model's drift policy.",
    source=None,
    check_id=None,
    checked_at=None,
    window=WindowSummary(rows=3, rows_seen=3, end_id="1772366410123-0"),
    result=None,
)
INCIDENT_BODY = {
    "id": 1,
    "model_version": "1.0.0",
    "is_open": True,
    "opened_at": "2026-03-01T12:00:10Z",
    "closed_at": None,
    "closing_reason": "",
    "opened_by_check": 17,
    "last_check": 19,
    "alarms": 3,
    "features": ["petal_length"],
    "hypotheses": [hypothesis_body(HYPOTHESIS)],
    "acknowledged_at": "2026-03-01T12:05:00Z",
    "acknowledged_by": "anna",
    "snoozed_until": None,
}


def _example(title: str, body: Any) -> OpenApiExample:
    return OpenApiExample(title, json.loads(OrjsonRenderer().render(body)), response_only=True)


DRIFT = _example("One feature has drifted", report_body(REPORT))
TOO_FEW_ROWS = _example("Too few rows for a comparison", report_body(WAITING))
HISTORY = _example(
    "Stored checks with history",
    {"model_name": "classifier", "model_version": "1.0.0", "checks": [report_body(REPORT)], "next_before": 17},
)
INCIDENT = _example("An open incident", INCIDENT_BODY)
INCIDENTS = _example("One so far", {"model_name": "classifier", "incidents": [INCIDENT_BODY], "next_before": None})
