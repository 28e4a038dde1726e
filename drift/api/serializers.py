"""Shapes of the drift calls: their query, and their answers for the OpenAPI description."""

from rest_framework import serializers

from drift.report import ReportSource, ReportStatus
from drift.results import Method, ResultStatus
from models_registry.schema import FeatureKind

LONGEST_HISTORY = 100
LARGEST_ID = 2**63 - 1
RESULT_STATUSES = [status.value for status in ResultStatus]  # named in SPECTACULAR_SETTINGS


class DriftQuerySerializer(serializers.Serializer[object]):
    version = serializers.CharField(
        required=False, max_length=64, help_text="Default: the production version with the most traffic."
    )
    history = serializers.IntegerField(
        required=False,
        min_value=1,
        max_value=LONGEST_HISTORY,
        help_text="Answer with this many stored checks, newest first, in place of the latest drift.",
    )
    before = serializers.IntegerField(
        required=False,
        min_value=1,
        max_value=LARGEST_ID,
        help_text="With history: only checks older than this one (`next_before`).",
    )

    def validate(self, attrs: dict[str, object]) -> dict[str, object]:
        if "before" in attrs and "history" not in attrs:
            raise serializers.ValidationError({"before": ["Goes with history=N only."]})
        return attrs


class WindowSerializer(serializers.Serializer[object]):
    rows = serializers.IntegerField(help_text="Rows of the current window.")
    rows_seen = serializers.IntegerField(help_text="Predictions of the version up to the window's end, ever.")
    end_id = serializers.CharField(help_text="Identifies the window: no window is checked twice.")
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    reference_rows = serializers.IntegerField(allow_null=True)


class FeatureDriftSerializer(serializers.Serializer[object]):
    score = serializers.FloatField(
        allow_null=True, help_text="Numeric: the KS statistic. Categorical: debiased Cohen's w of the pooled levels."
    )
    is_drifted = serializers.BooleanField(help_text="score > threshold, where status is ok.")
    p_value = serializers.FloatField(allow_null=True)
    threshold = serializers.FloatField()
    method = serializers.ChoiceField(choices=[m.value for m in Method if m], allow_null=True)
    kind = serializers.ChoiceField(choices=[k.value for k in FeatureKind])
    statistic = serializers.FloatField(allow_null=True, help_text="The KS statistic, or X-squared.")
    reference_mean = serializers.FloatField(allow_null=True)
    current_mean = serializers.FloatField(allow_null=True)
    n_reference = serializers.IntegerField(help_text="Reference rows in which the feature is not missing.")
    n_current = serializers.IntegerField(help_text="Window rows in which the feature is not missing.")
    n_missing_reference = serializers.IntegerField()
    n_missing_current = serializers.IntegerField()
    status = serializers.ChoiceField(choices=RESULT_STATUSES)
    status_detail = serializers.CharField(allow_blank=True)


class PredictionDriftSerializer(serializers.Serializer[object]):
    chi2_statistic = serializers.FloatField(
        allow_null=True, help_text="Two-sample X-squared; classes that expect fewer than 20 rows are pooled."
    )
    p_value = serializers.FloatField(allow_null=True)
    js_divergence = serializers.FloatField(
        allow_null=True, help_text="Jensen-Shannon divergence of the two distributions shown, natural log."
    )
    threshold = serializers.FloatField(help_text="For js_divergence.")
    is_drifted = serializers.BooleanField()
    reference_dist = serializers.DictField(child=serializers.FloatField(), help_text="Shares by class, or by decile.")
    current_dist = serializers.DictField(child=serializers.FloatField())
    status = serializers.ChoiceField(choices=RESULT_STATUSES)


class FailureSerializer(serializers.Serializer[object]):
    check_id = serializers.IntegerField()
    checked_at = serializers.DateTimeField()
    reason = serializers.CharField()


class DriftReportSerializer(serializers.Serializer[object]):
    model_name = serializers.CharField()
    model_version = serializers.CharField(allow_null=True)
    status = serializers.ChoiceField(choices=[s.value for s in ReportStatus])
    detail = serializers.CharField(allow_blank=True, help_text="Without a comparison: why, and what to do next.")
    checked_at = serializers.DateTimeField(allow_null=True)
    source = serializers.ChoiceField(  # type: ignore[assignment]  # a field, which the metaclass takes out of the way
        choices=[s.value for s in ReportSource],
        allow_null=True,
        help_text="stored: a check of the scheduler. live: computed for this answer.",
    )
    check_id = serializers.IntegerField(allow_null=True)
    window = WindowSerializer(allow_null=True)
    is_drifted = serializers.BooleanField()
    drifted_features = serializers.ListField(child=serializers.CharField(), help_text="Strongest first.")
    features = serializers.DictField(child=FeatureDriftSerializer(), help_text="By feature name.")
    prediction_drift = PredictionDriftSerializer(allow_null=True)
    last_failure = FailureSerializer(
        allow_null=True, help_text="The newest check, where it failed; the figures are then of the one before."
    )


class DriftHistorySerializer(serializers.Serializer[object]):
    model_name = serializers.CharField()
    model_version = serializers.CharField(allow_null=True)
    checks = DriftReportSerializer(many=True)
    next_before = serializers.IntegerField(allow_null=True, help_text="Ask for the next page with before=.")
