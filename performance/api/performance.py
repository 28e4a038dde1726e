"""The endpoint for the performance of a model."""

from collections.abc import Sequence
from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import TokenScope
from mlmon.detection.performance import DropStatus
from models_registry.models import ModelVersion
from models_registry.selectors import model_named, primary_version, version_of
from performance import selectors
from performance.models import PerformanceReport
from performance.services.reports import baseline_of, performance_between
from rest.codec import validated_query
from rest.problems import problem_responses

MOST_DAYS = 400
NO_PRODUCTION_VERSION = "No version of this model is in production; name one with version=."
NO_FIGURES = (
    "There are no figures yet. Send ground truth to /api/v1/feedback with the prediction_id of each prediction."
)

FIGURES_EXAMPLE: dict[str, Any] = {
    "rows": 150,
    "accuracy": 0.973,
    "balanced_accuracy": 0.973,
    "precision": 0.974,
    "recall": 0.973,
    "f1_score": 0.973,
    "roc_auc": 0.999,
    "log_loss": 0.13,
    "brier_score": 0.056,
    "expected_calibration_error": 0.08,
    "classes": {"setosa": {"precision": 1.0, "recall": 1.0, "f1_score": 1.0, "support": 50}},
    "confusion_matrix": [[50, 0, 0], [0, 47, 3], [0, 1, 49]],
    "unavailable": {},
}
DROP_EXAMPLE: dict[str, Any] = {
    "status": "no_drop",
    "sentence": "No drop is confirmed: the share of wrong predictions is 6.00 % in the latest 150 labelled "
    "predictions, and 2.70 % in reference 3, reference.parquet (2,000 rows). p = 0.059; an alarm needs at most 0.0001.",
    "p_value": 0.059,
    "alpha": 0.0001,
    "baseline": "reference 3, reference.parquet",
    "baseline_rows": 2000,
    "baseline_error": 0.027,
    "window_rows": 150,
    "window_error": 0.06,
    "windows": 1,
    "phi": 1.01,
    "nu": 182.0,
}
EXAMPLE: dict[str, Any] = {
    "model_name": "classifier",
    "model_version": "1.0.0",
    "detail": "",
    "reference": FIGURES_EXAMPLE,
    "latest": {
        "started_at": "2026-03-01T11:00:00Z",
        "ended_at": "2026-03-01T12:00:00Z",
        "computed_at": "2026-03-01T12:00:20Z",
        "predicted_rows": 1000,
        "labelled_rows": 150,
        "label_coverage": 0.15,
        "label_delay_seconds": 3600.0,
        "realised": FIGURES_EXAMPLE,
        "estimated": {"accuracy": 0.969, "rows": 1000},
        "estimated_of_labelled": {"accuracy": 0.971, "rows": 150},
        "estimate_note": "",
    },
    "drop": DROP_EXAMPLE,
    "span": None,
    "days": [],
    "estimate_error": {"days": 12, "estimated_accuracy": 0.011, "no_change": 0.034},
}
EMPTY_EXAMPLE = {**EXAMPLE, "detail": NO_FIGURES, "latest": None, "drop": None, "estimate_error": None}


class PerformanceQuerySerializer(serializers.Serializer[object]):
    version = serializers.CharField(required=False, max_length=64, help_text="By default the primary version.")
    days = serializers.IntegerField(
        required=False, default=30, min_value=0, max_value=MOST_DAYS, help_text="Number of daily reports to return."
    )
    since = serializers.DateTimeField(
        required=False, help_text="With until: compute the figures of the predictions of this span."
    )
    until = serializers.DateTimeField(required=False, help_text="Exclusive.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("since" in attrs) != ("until" in attrs):
            name = "until" if "since" in attrs else "since"
            raise serializers.ValidationError({name: "Give since and until together."})
        if "since" in attrs and not attrs["since"] < attrs["until"]:
            raise serializers.ValidationError({"until": "It must be later than since."})
        return attrs


class PerformanceReportSerializer(serializers.Serializer[object]):
    started_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(help_text="Exclusive.")
    computed_at = serializers.DateTimeField()
    predicted_rows = serializers.IntegerField(help_text="Predictions of the period.")
    labelled_rows = serializers.IntegerField(help_text="Predictions of the period with ground truth.")
    label_coverage = serializers.FloatField(allow_null=True)
    label_delay_seconds = serializers.FloatField(
        allow_null=True, help_text="Median time from a prediction to its ground truth."
    )
    realised = serializers.JSONField(
        allow_null=True,
        help_text="From ground truth: accuracy, balanced_accuracy, precision, recall, f1_score, roc_auc, log_loss, "
        "brier_score, expected_calibration_error, classes, confusion_matrix; for a regression mean_absolute_error, "
        "root_mean_squared_error, r2_score, bias. A figure that cannot be computed is null, with the reason in "
        "unavailable.",
    )
    estimated = serializers.JSONField(
        allow_null=True, help_text="Without ground truth (CBPE), for the latest predictions or the whole span."
    )
    estimated_of_labelled = serializers.JSONField(
        allow_null=True, help_text="Estimate for the predictions with ground truth, to compare with realised."
    )
    estimate_note = serializers.CharField(allow_blank=True, help_text="Why there is no estimate.")


class PerformanceDropSerializer(serializers.Serializer[object]):
    status = serializers.ChoiceField(
        choices=[(status.value, status.value) for status in DropStatus],
        help_text="drop: an alarm. improvement: errors are fewer or smaller at the same alpha, which is no alarm.",
    )
    sentence = serializers.CharField(help_text="The result in words, or why there is none and what to do.")
    p_value = serializers.FloatField(allow_null=True, help_text="Two-sided.")
    alpha = serializers.FloatField(
        allow_null=True, help_text="Largest p-value of an alarm: 1 / (false-alarm budget * windows)."
    )
    baseline = serializers.CharField(
        allow_blank=True,
        help_text="The active reference, or the first labelled predictions in production if it has too few labels.",
    )
    baseline_rows = serializers.IntegerField()
    baseline_error = serializers.FloatField(
        allow_null=True, help_text="Share of wrong predictions; for a regression, the median absolute error."
    )
    window_rows = serializers.IntegerField(help_text="Rows of the window that shows the most.")
    window_error = serializers.FloatField(allow_null=True)
    windows = serializers.IntegerField(help_text="Number of windows that were compared.")
    phi = serializers.FloatField(
        allow_null=True, help_text="How many times the variance of independent errors that of the baseline is."
    )
    nu = serializers.FloatField(allow_null=True, help_text="Degrees of freedom of phi; null if infinite.")


class EstimateErrorSerializer(serializers.Serializer[object]):
    days = serializers.IntegerField(help_text="Number of days with an estimate and ground truth.")
    estimated_accuracy = serializers.FloatField(help_text="Mean absolute error of the daily estimates.")
    no_change = serializers.FloatField(help_text="Mean absolute error if the accuracy of the reference is assumed.")


class PerformanceSerializer(serializers.Serializer[object]):
    model_name = serializers.CharField()
    model_version = serializers.CharField(allow_null=True)
    detail = serializers.CharField(allow_blank=True, help_text="Why there are no figures, and what to do next.")
    reference = serializers.JSONField(allow_null=True, help_text="Figures on the active reference, if it is labelled.")
    latest = PerformanceReportSerializer(allow_null=True, help_text="For the latest predictions with ground truth.")
    drop = PerformanceDropSerializer(
        allow_null=True,
        help_text="Whether the latest errors are more frequent or larger than before; null: not judged.",
    )
    span = PerformanceReportSerializer(allow_null=True, help_text="For the requested span.")
    days = PerformanceReportSerializer(many=True, help_text="By day (UTC), latest first.")
    estimate_error = EstimateErrorSerializer(allow_null=True)


class PerformanceView(APIView):
    """Returns the performance of a model: realised, from ground truth, and estimated without it."""

    required_scope = TokenScope.READ

    @extend_schema(
        tags=["Performance"],
        summary="Performance of a model",
        description="Realised performance, from ground truth, and estimated performance without it (CBPE): for the "
        "latest predictions, by day and, with since= and until=, for a span.",
        parameters=[PerformanceQuerySerializer],
        responses={200: PerformanceSerializer, **problem_responses(400, 401, 403, 404, 406, 503)},
        examples=[
            OpenApiExample("With ground truth", EXAMPLE, response_only=True),
            OpenApiExample("Before any ground truth has arrived", EMPTY_EXAMPLE, response_only=True),
        ],
    )
    def get(self, request: Request, model_name: str) -> Response:
        query = validated_query(request, PerformanceQuerySerializer)
        model = model_named(model_name)
        version = version_of(model, query["version"]) if "version" in query else primary_version(model)
        body: dict[str, Any] = {
            "model_name": model.name,
            "model_version": version.version if version else None,
            "detail": NO_PRODUCTION_VERSION,
            "reference": None,
            "latest": None,
            "drop": None,
            "span": None,
            "days": [],
            "estimate_error": None,
        }
        return Response(body if version is None else body | _figures(version, query))


def _figures(version: ModelVersion, query: dict[str, Any]) -> dict[str, Any]:
    baseline = baseline_of(version)
    latest = selectors.latest_report(version)
    days = selectors.daily_reports(version, query["days"])
    span = None
    if "since" in query:
        span = performance_between(version, since=query["since"], until=query["until"])
    return {
        "detail": "" if latest or span else NO_FIGURES,
        "reference": baseline.figures,
        "latest": latest and PerformanceReportSerializer(latest).data,
        "drop": latest and latest.judged_drop and PerformanceDropSerializer(latest.judged_drop).data,
        "span": span and PerformanceReportSerializer(span).data,
        "days": PerformanceReportSerializer(days, many=True).data,
        "estimate_error": _estimate_error(days, (baseline.figures or {}).get("accuracy")),
    }


def _estimate_error(days: Sequence[PerformanceReport], reference_accuracy: float | None) -> dict[str, Any] | None:
    """Return the mean absolute errors of the estimate and of the reference accuracy, or None without such days."""
    both = [
        (day.realised["accuracy"], day.estimated_of_labelled["accuracy"])
        for day in days
        if day.realised and day.estimated_of_labelled
    ]
    if not both or reference_accuracy is None:
        return None
    return {
        "days": len(both),
        "estimated_accuracy": sum(abs(realised - estimated) for realised, estimated in both) / len(both),
        "no_change": sum(abs(realised - reference_accuracy) for realised, _ in both) / len(both),
    }
