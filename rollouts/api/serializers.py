"""Requests and responses of the calls of rollouts."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from rest.bodies import StrictSerializer
from rest.dataclass_serializers import serializer_of
from rollouts.models import LONGEST_REASON, Rollout, RolloutIncident, State
from rollouts.plan import DEFAULT_ALPHA, Kind, Measure, Step
from rollouts.selectors import Judgement

KINDS = [one.value for one in Kind]
MEASURES = [one.value for one in Measure]
StepSerializer = serializer_of(Step)
JudgementSerializer = serializer_of(Judgement, "RolloutGuardrail")


class StepRequestSerializer(serializers.Serializer[object]):
    """A step of a plan."""

    share = serializers.FloatField(help_text="The challenger's share of the traffic, from .001 to .9.")
    minimum_requests = serializers.IntegerField(
        required=False, min_value=1, help_text="Requests of the challenger in the step (default: 500)."
    )
    minimum_seconds = serializers.IntegerField(
        required=False, min_value=0, help_text="How long the step must last (default: 600)."
    )
    minimum_labels = serializers.IntegerField(
        required=False, min_value=0, help_text="Labelled predictions of the challenger in the step (default: 0)."
    )


class GuardrailRequestSerializer(serializers.Serializer[object]):
    """A measure by which the challenger must not be worse."""

    measure = serializers.ChoiceField(choices=MEASURES)
    limit = serializers.FloatField(
        required=False,
        allow_null=True,
        help_text="Seconds (latency), or units of the target (absolute_error), above which a request is an event.",
    )


class PlanSerializer(serializers.Serializer[object]):
    """A plan; `rollouts.plan.plan_of` reads it, so that an error names the step or the guardrail."""

    challenger = serializers.CharField(help_text="Version that is to replace the primary version.")
    kind = serializers.ChoiceField(choices=KINDS, required=False)
    steps = StepRequestSerializer(many=True, required=False)
    guardrails = GuardrailRequestSerializer(many=True, required=False)
    alpha = serializers.FloatField(
        required=False,
        help_text=f"Largest probability that a challenger that is no worse is rolled back (default: {DEFAULT_ALPHA}).",
    )
    promotes_automatically = serializers.BooleanField(required=False)


class ReasonSerializer(StrictSerializer):
    """Why a person or a program does something."""

    reason = serializers.CharField(required=False, default="", allow_blank=True, max_length=LONGEST_REASON)


class NothingSerializer(StrictSerializer):
    """An empty object."""


class RolloutIncidentSerializer(serializers.ModelSerializer[RolloutIncident]):
    measure = serializers.ChoiceField(choices=MEASURES)
    text = serializers.CharField(help_text="The evidence in a sentence.")

    class Meta:
        model = RolloutIncident
        fields = ["measure", "log10_evidence", "log10_limit", "opened_at", "closed_at", "text"]


class RolloutSerializer(serializers.ModelSerializer[Rollout]):
    url = serializers.SerializerMethodField()
    model_name = serializers.CharField(source="model.name")
    champion = serializers.CharField(source="champion.version")
    challenger = serializers.CharField(source="challenger.version")
    kind = serializers.ChoiceField(choices=KINDS)
    state = serializers.ChoiceField(choices=State.values)
    steps = StepSerializer(many=True)
    step = serializers.IntegerField(source="step_index", help_text="Place of the current step in `steps`, from 0.")
    guardrails = serializers.SerializerMethodField()
    disagreement_ratio = serializers.FloatField(
        allow_null=True, help_text="Share of the rows for which a shadow predicts another class."
    )
    incident = serializers.SerializerMethodField()

    class Meta:
        model = Rollout
        fields = [
            "id",
            "url",
            "model_name",
            "champion",
            "challenger",
            "kind",
            "state",
            "reason",
            "waiting_for",
            "steps",
            "step",
            "guardrails",
            "alpha",
            "promotes_automatically",
            "is_live",
            "created_at",
            "started_at",
            "step_started_at",
            "ended_at",
            "judged_at",
            "dropped_copies",
            "failed_copies",
            "disagreement_ratio",
            "incident",
        ]

    def get_url(self, rollout: Rollout) -> str:
        return f"/api/v1/models/{rollout.model.name}/rollouts/{rollout.pk}"

    @extend_schema_field(JudgementSerializer(many=True))
    def get_guardrails(self, rollout: Rollout) -> Any:
        return JudgementSerializer(self.context["judgements"][rollout.pk], many=True).data

    @extend_schema_field(RolloutIncidentSerializer(allow_null=True))
    def get_incident(self, rollout: Rollout) -> Any:
        incident = getattr(rollout, "incident", None)
        return None if incident is None else RolloutIncidentSerializer(incident).data
