"""Shapes of the performance call."""

from typing import Any

from rest_framework import serializers

from inference.api.serializers import ClassOrNumberField

MOST_DAYS = 400


class PerformanceQuerySerializer(serializers.Serializer[object]):
    version = serializers.CharField(required=False, max_length=64, help_text="By default the primary one.")
    days = serializers.IntegerField(
        required=False, default=30, min_value=0, max_value=MOST_DAYS, help_text="How many reports of days to answer."
    )
    since = serializers.DateTimeField(
        required=False, help_text="With until: the figures of the predictions of that span, computed for this answer."
    )
    until = serializers.DateTimeField(required=False, help_text="Not included.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("since" in attrs) != ("until" in attrs):
            name = "until" if "since" in attrs else "since"
            raise serializers.ValidationError({name: "Give since and until together."})
        if "since" in attrs and not attrs["since"] < attrs["until"]:
            raise serializers.ValidationError({"until": "It must be later than since."})
        return attrs


class PerformanceReportSerializer(serializers.Serializer[object]):
    started_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(help_text="Not included.")
    computed_at = serializers.DateTimeField()
    predicted_rows = serializers.IntegerField(help_text="Predictions of that time.")
    labelled_rows = serializers.IntegerField(help_text="Those of them with ground truth.")
    label_coverage = serializers.FloatField(allow_null=True)
    label_delay_seconds = serializers.FloatField(allow_null=True, help_text="Median.")
    realised = serializers.JSONField(
        allow_null=True,
        help_text="By ground truth: accuracy, balanced_accuracy, precision, recall, f1_score, roc_auc, log_loss, "
        "brier_score, expected_calibration_error, classes, confusion_matrix; of a regression mean_absolute_error, "
        "root_mean_squared_error, r2_score, bias. A figure that cannot be computed is null, its reason in unavailable.",
    )
    estimated = serializers.JSONField(
        allow_null=True, help_text="Without ground truth (CBPE), of the newest predictions or of the whole span."
    )
    estimated_of_labelled = serializers.JSONField(
        allow_null=True, help_text="The same of the predictions with ground truth, to compare with what was realised."
    )
    estimate_note = serializers.CharField(allow_blank=True, help_text="Why there is no estimate.")
    drop = serializers.FloatField(allow_null=True, help_text="How much worse than on the labelled reference.")


class EstimateErrorSerializer(serializers.Serializer[object]):
    days = serializers.IntegerField(help_text="Days with both an estimate and ground truth.")
    estimated_accuracy = serializers.FloatField(help_text="Mean absolute error of the estimate, day by day.")
    no_change = serializers.FloatField(help_text="That of assuming the accuracy of the reference.")


class PerformanceSerializer(serializers.Serializer[object]):
    model_name = serializers.CharField()
    model_version = serializers.CharField(allow_null=True)
    detail = serializers.CharField(allow_blank=True, help_text="Why there are no figures, and what to do next.")
    reference = serializers.JSONField(allow_null=True, help_text="The figures on the labelled reference in force.")
    latest = PerformanceReportSerializer(allow_null=True, help_text="Of the newest predictions with ground truth.")
    span = PerformanceReportSerializer(allow_null=True, help_text="Of the span asked for.")
    days = PerformanceReportSerializer(many=True, help_text="Day by day (UTC), newest first.")
    estimate_error = EstimateErrorSerializer(allow_null=True)


class FeedbackItemSerializer(serializers.Serializer[object]):
    prediction_id = serializers.UUIDField(help_text="As the predict call answered it.")
    actual = ClassOrNumberField(help_text="The class that turned out to be true, or the number for regression.")
    observed_at = serializers.DateTimeField(
        required=False, help_text="When it became known; by default when it comes here."
    )


class FeedbackAnswerSerializer(serializers.Serializer[object]):
    prediction_id = serializers.CharField(allow_null=True)
    status = serializers.ChoiceField(choices=["accepted", "duplicate", "corrected", "unknown", "invalid"])
    field = serializers.CharField(required=False, allow_null=True, help_text="Of an invalid item: what is wrong.")
    reason = serializers.CharField(required=False, help_text="Of an invalid item: why.")


class FeedbackListAnswerSerializer(serializers.Serializer[object]):
    counts = serializers.DictField(child=serializers.IntegerField(), help_text="Items by what became of them.")
    results = FeedbackAnswerSerializer(many=True, help_text="In the order of the items.")
