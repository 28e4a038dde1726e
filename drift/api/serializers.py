"""Shapes of the drift calls: their query, and their answers for the OpenAPI description."""

from rest_framework import serializers

from drift.report import ReportSource, ReportStatus
from mlmon.results import Channel, Method, QualityEvent, ResultStatus, VerdictStatus
from mlmon.schema import FeatureKind

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

    since = serializers.DateTimeField(
        required=False, help_text="With history: only checks whose window ended then or later."
    )
    until = serializers.DateTimeField(required=False, help_text="With history: only checks whose window ended before.")
    drifted = serializers.BooleanField(
        required=False, help_text="With history: only checks with a score above its threshold."
    )
    alarm = serializers.BooleanField(required=False, help_text="With history: only checks whose verdict is an alarm.")
    feature = serializers.CharField(
        required=False,
        max_length=128,
        help_text="Only this feature's results; with drifted or alarm, only checks in which it is the one.",
    )

    def validate(self, attrs: dict[str, object]) -> dict[str, object]:
        for name in ("before", "since", "until", "drifted", "alarm"):
            if name in attrs and "history" not in attrs:
                raise serializers.ValidationError({name: ["Goes with history=N only."]})
        return attrs


class IncidentQuerySerializer(serializers.Serializer[object]):
    version = serializers.CharField(required=False, max_length=64, help_text="Only those of this version.")
    open = serializers.BooleanField(required=False, help_text="Only open ones, or only closed ones.")
    limit = serializers.IntegerField(
        required=False, default=20, min_value=1, max_value=LONGEST_HISTORY, help_text="So many, newest first."
    )
    before = serializers.IntegerField(
        required=False, min_value=1, max_value=LARGEST_ID, help_text="Only those older than this one (`next_before`)."
    )


class HypothesisSerializer(serializers.Serializer[object]):
    channel = serializers.ChoiceField(
        choices=[c.value for c in Channel],
        help_text="distribution: a feature's values. missing_values: how many are missing. prediction: the answers.",
    )
    name = serializers.CharField(allow_blank=True, help_text="The feature.")
    sentence = serializers.CharField(help_text="What changed, in words.")
    p_value = serializers.FloatField(help_text="Corrected for dependence in time.")
    chi2_statistic = serializers.FloatField(allow_null=True, help_text="Of levels or deciles, before phi.")
    degrees_of_freedom = serializers.IntegerField(allow_null=True)
    passes_gate = serializers.BooleanField(help_text="The effect is large enough to matter.")
    effect = serializers.FloatField(help_text="Debiased Cohen's w; of missing values the difference of the shares.")
    window_rows = serializers.IntegerField(help_text="Of the window that tells it.")
    dispersion = serializers.FloatField(help_text="phi: how much more counts vary than those of independent rows.")
    smallest_detectable = serializers.FloatField(allow_null=True, help_text="The smallest effect seen as an alarm.")
    is_alarm = serializers.BooleanField()
    is_listed = serializers.BooleanField(help_text="To be looked at, by Benjamini and Hochberg at .05.")


class VerdictSerializer(serializers.Serializer[object]):
    status = serializers.ChoiceField(choices=[s.value for s in VerdictStatus])
    sentence = serializers.CharField()
    detail = serializers.CharField(allow_blank=True)
    false_alarm_budget = serializers.IntegerField(help_text="A: at most one false alarm in so many checks.")
    alpha = serializers.FloatField(help_text="A p-value up to this is an alarm: 1 / (A * hypotheses).")
    hypotheses = serializers.IntegerField()
    smallest_p_value = serializers.FloatField(allow_null=True)
    window_rows = serializers.ListField(child=serializers.IntegerField())
    badges = serializers.ListField(child=serializers.CharField(), help_text="What to know about the data behind it.")
    listed = HypothesisSerializer(many=True, help_text="What drifted, strongest first.")


class MeasureSerializer(serializers.Serializer[object]):
    value = serializers.FloatField(allow_null=True)
    parameters = serializers.DictField(help_text="How it was computed here.")
    definition = serializers.CharField()


class QualitySerializer(serializers.Serializer[object]):
    event = serializers.ChoiceField(choices=[e.value for e in QualityEvent])
    count = serializers.IntegerField()
    share = serializers.FloatField()
    detail = serializers.CharField()
    is_notable = serializers.BooleanField(help_text="More than stray rows.")


class IncidentSerializer(serializers.Serializer[object]):
    id = serializers.IntegerField()
    model_version = serializers.CharField()
    is_open = serializers.BooleanField()
    opened_at = serializers.DateTimeField()
    closed_at = serializers.DateTimeField(allow_null=True)
    closing_reason = serializers.CharField(allow_blank=True)
    opened_by_check = serializers.IntegerField()
    last_check = serializers.IntegerField()
    alarms = serializers.IntegerField(help_text="Checks that raised the alarm.")
    features = serializers.ListField(child=serializers.CharField(), help_text="What drifted, strongest first.")
    hypotheses = HypothesisSerializer(many=True)
    acknowledged_at = serializers.DateTimeField(allow_null=True)
    acknowledged_by = serializers.CharField(allow_null=True)
    snoozed_until = serializers.DateTimeField(allow_null=True)


class IncidentListSerializer(serializers.Serializer[object]):
    model_name = serializers.CharField()
    incidents = IncidentSerializer(many=True)
    next_before = serializers.IntegerField(allow_null=True, help_text="Ask for the next page with before=.")


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
    is_confirmed = serializers.BooleanField(help_text="The verdict's alarm lists it.")
    verdict = HypothesisSerializer(allow_null=True)
    missing_verdict = HypothesisSerializer(allow_null=True)
    measures = serializers.DictField(child=MeasureSerializer(), help_text="By name.")
    quality = QualitySerializer(many=True)


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
    verdict = HypothesisSerializer(allow_null=True)


class CorrelationChangeSerializer(serializers.Serializer[object]):
    first = serializers.CharField()
    second = serializers.CharField()
    reference_correlation = serializers.FloatField(help_text="Spearman's rho.")
    current_correlation = serializers.FloatField()
    p_value = serializers.FloatField(help_text="Fisher's z, corrected for the number of pairs.")


class JointChangeSerializer(serializers.Serializer[object]):
    auc = serializers.FloatField(help_text="Of a classifier that tells the window from the reference; .5: it cannot.")
    p_value = serializers.FloatField()
    telling_features = serializers.ListField(child=serializers.CharField(), help_text="Strongest first.")


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
        help_text="stored: a check of the scheduler. backfilled: made later over archived rows. "
        "live: computed for this answer.",
    )
    check_id = serializers.IntegerField(allow_null=True)
    window = WindowSerializer(allow_null=True)
    is_drifted = serializers.BooleanField()
    verdict = VerdictSerializer(allow_null=True)
    drifted_features = serializers.ListField(child=serializers.CharField(), help_text="Strongest first.")
    feature_drift = serializers.DictField(child=FeatureDriftSerializer(), help_text="By feature name.")
    prediction_drift = PredictionDriftSerializer(allow_null=True)
    correlation_changes = CorrelationChangeSerializer(
        many=True, allow_null=True, help_text="Pairs of numeric features; null where the policy does not ask for them."
    )
    joint_change = JointChangeSerializer(allow_null=True)
    last_failure = FailureSerializer(
        allow_null=True, help_text="The newest check, where it failed; the figures are then of the one before."
    )


class DriftHistorySerializer(serializers.Serializer[object]):
    model_name = serializers.CharField()
    model_version = serializers.CharField(allow_null=True)
    checks = DriftReportSerializer(many=True)
    next_before = serializers.IntegerField(allow_null=True, help_text="Ask for the next page with before=.")
