"""The query parameters of the drift calls, and the shapes of their responses."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from drift.models import DriftIncident
from drift.report import DriftReport, WindowSummary
from mlmon.report.json_body import hypothesis_body
from mlmon.results import (
    ComparisonResult,
    Coverage,
    FeatureResult,
    HypothesisResult,
    JointChange,
    Measure,
    PredictionResult,
    QualityFinding,
    ResultStatus,
    Verdict,
)
from rest.dataclass_serializers import serializer_of

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
        help_text="Return this many stored checks, the latest first, instead of the latest drift.",
    )
    before = serializers.IntegerField(
        required=False,
        min_value=1,
        max_value=LARGEST_ID,
        help_text="With history: only checks older than this one (`next_before`).",
    )
    since = serializers.DateTimeField(
        required=False, help_text="With history: only checks whose window ended at this time or later."
    )
    until = serializers.DateTimeField(
        required=False, help_text="With history: only checks whose window ended before this time."
    )
    drifted = serializers.BooleanField(
        required=False, help_text="With history: only checks with a score above its threshold."
    )
    alarm = serializers.BooleanField(required=False, help_text="With history: only checks whose verdict is an alarm.")
    feature = serializers.CharField(
        required=False,
        max_length=128,
        help_text="Only the results of this feature. With drifted or alarm: only checks in which it drifted.",
    )

    def validate(self, attrs: dict[str, object]) -> dict[str, object]:
        for name in ("before", "since", "until", "drifted", "alarm"):
            if name in attrs and "history" not in attrs:
                raise serializers.ValidationError({name: ["Requires history=N."]})
        return attrs


class IncidentQuerySerializer(serializers.Serializer[object]):
    version = serializers.CharField(required=False, max_length=64, help_text="Only incidents of this version.")
    open = serializers.BooleanField(required=False, help_text="Only open incidents (true), or only closed ones.")
    limit = serializers.IntegerField(
        required=False,
        default=20,
        min_value=1,
        max_value=LONGEST_HISTORY,
        help_text="The maximum number of incidents, the latest first.",
    )
    before = serializers.IntegerField(
        required=False,
        min_value=1,
        max_value=LARGEST_ID,
        help_text="Only incidents older than this one (`next_before`).",
    )


HypothesisSerializer = serializer_of(
    HypothesisResult, "Hypothesis", sentence=serializers.CharField(help_text="What changed, in words.")
)
MeasureSerializer = serializer_of(Measure, definition=serializers.CharField(help_text="The definition of the measure."))
QualitySerializer = serializer_of(QualityFinding, "Quality")
FeatureDriftSerializer = serializer_of(
    FeatureResult,
    "FeatureDrift",
    without=("name", "distribution"),
    is_confirmed=serializers.BooleanField(help_text="Whether the verdict's alarm lists the feature."),
)
PredictionDriftSerializer = serializer_of(PredictionResult, "PredictionDrift")
VerdictSerializer = serializer_of(
    Verdict,
    sentence=serializers.CharField(help_text="The verdict in words."),
    listed=HypothesisSerializer(many=True, help_text="What drifted, strongest first."),
)
JointChangeSerializer = serializer_of(JointChange)
CoverageSerializer = serializer_of(Coverage)
ComparisonSerializer = serializer_of(
    ComparisonResult,
    without=("n_reference", "n_current", "features", "prediction", "left_out"),
    is_drifted=serializers.BooleanField(help_text="Whether a feature or the predictions have drifted."),
    drifted_features=serializers.ListField(
        child=serializers.CharField(), help_text="Features above their threshold, strongest first."
    ),
    feature_drift=serializers.DictField(child=FeatureDriftSerializer(), help_text="The features, by name."),
    verdict=VerdictSerializer(allow_null=True, help_text="The verdict on all features and the predictions."),
    coverage=CoverageSerializer(allow_null=True, help_text="How much of the reference was compared."),
    prediction_drift=PredictionDriftSerializer(allow_null=True, help_text="The predictions."),
    correlations=HypothesisSerializer(many=True, allow_null=True, help_text="The pairs of features that changed."),
)
WindowSerializer = serializer_of(WindowSummary, "Window")
DriftReportSerializer = serializer_of(DriftReport, without=("result",), **dict[str, Any](ComparisonSerializer().fields))


class DriftHistorySerializer(serializers.Serializer[object]):
    model_name = serializers.CharField()
    model_version = serializers.CharField(allow_null=True)
    checks = DriftReportSerializer(many=True)
    next_before = serializers.IntegerField(allow_null=True, help_text="For the next page, set before to this.")


class IncidentSerializer(serializers.ModelSerializer[DriftIncident]):
    model_version = serializers.CharField(source="version.version")
    is_open = serializers.BooleanField(help_text="Whether the incident is not closed yet.")
    opened_by_check = serializers.IntegerField(source="opened_by_id", help_text="The check that raised the alarm.")
    last_check = serializers.IntegerField(source="last_check_id", help_text="The latest check during the incident.")
    features = serializers.ListField(
        child=serializers.CharField(), source="subjects", help_text="What drifted, strongest first."
    )
    hypotheses = serializers.SerializerMethodField(help_text="What drifted, each as it was when it was strongest.")
    acknowledged_by = serializers.CharField(source="acknowledged_by.username", allow_null=True, default=None)

    class Meta:
        model = DriftIncident
        fields = [
            "id",
            "model_version",
            "is_open",
            "opened_at",
            "closed_at",
            "closing_reason",
            "opened_by_check",
            "last_check",
            "alarms",
            "features",
            "hypotheses",
            "acknowledged_at",
            "acknowledged_by",
            "snoozed_until",
        ]

    @extend_schema_field(HypothesisSerializer(many=True))
    def get_hypotheses(self, incident: DriftIncident) -> list[dict[str, Any] | None]:
        return [hypothesis_body(found) for found in incident.hypotheses]


class IncidentListSerializer(serializers.Serializer[object]):
    model_name = serializers.CharField()
    incidents = IncidentSerializer(many=True)
    next_before = serializers.IntegerField(allow_null=True, help_text="For the next page, set before to this.")
