"""Shapes of requests and responses for the OpenAPI description; `inference.rows` validates the requests."""

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers


@extend_schema_field({"oneOf": [{"type": "array", "items": {}}, {"type": "object", "additionalProperties": True}]})
class RowField(serializers.Field[object, object, object, object]):
    """The values of a row: a list in the order of the features, or an object by feature name."""


class PredictRequestSerializer(serializers.Serializer[object]):
    features = RowField(required=False, help_text="One row: a list of values, or an object by feature name.")
    rows = serializers.ListField(child=RowField(), required=False, help_text="Many rows.")
    routing_key = serializers.CharField(
        required=False, max_length=256, help_text="Keeps a caller on one version as long as the traffic weights stay."
    )


@extend_schema_field({"oneOf": [{"type": "string"}, {"type": "number"}]})
class ClassOrNumberField(serializers.Field[object, object, object, object]):
    """A predicted class or number."""


class PredictionSerializer(serializers.Serializer[object]):
    prediction = ClassOrNumberField(help_text="The class, or the number of a regression.")
    confidence = serializers.FloatField(
        allow_null=True, help_text="Probability of the predicted class; null if the model gives none."
    )
    score = serializers.FloatField(
        required=False,
        help_text="Without probabilities: the margin of the predicted class, of two classes that of the second one; or "
        "the score of an anomaly model.",
    )
    prediction_id = serializers.UUIDField(help_text="Send the ground truth with this id.")


class PredictResponseSerializer(PredictionSerializer):
    latency_ms = serializers.FloatField()
    model_name = serializers.CharField()
    model_version = serializers.CharField()


class PredictRowsResponseSerializer(serializers.Serializer[object]):
    predictions = PredictionSerializer(many=True, help_text="In the order of the rows.")
    latency_ms = serializers.FloatField()
    model_name = serializers.CharField()
    model_version = serializers.CharField()


class ObservationItemSerializer(serializers.Serializer[object]):
    features = RowField(help_text="A list of values, or an object by feature name.")
    prediction = ClassOrNumberField(help_text="The predicted class, or the number of a regression.")
    confidence = serializers.FloatField(
        required=False, min_value=0, max_value=1, help_text="Probability of the predicted class."
    )
    probabilities = serializers.JSONField(
        required=False, help_text="Probabilities of all classes, an object by class or a list in their order; sum 1."
    )
    latency_ms = serializers.FloatField(required=False, min_value=0, max_value=86_400_000)
    observed_at = serializers.DateTimeField(required=False, help_text="With its UTC offset; the default is now.")
    prediction_id = serializers.UUIDField(required=False, help_text="The default is a new id, sent in the response.")
    version = serializers.CharField(
        required=False,
        help_text="Model version; the default is the production version with the most traffic. Required if several are "
        "in production and one is served elsewhere.",
    )


class ObservationRowsSerializer(serializers.Serializer[object]):
    version = serializers.CharField(required=False, help_text="Model version of all rows.")
    rows = ObservationItemSerializer(many=True)


class ObservationResponseSerializer(serializers.Serializer[object]):
    prediction_id = serializers.CharField(allow_null=True, help_text="Send the ground truth with this id.")
    status = serializers.ChoiceField(choices=["accepted", "duplicate"])
    model_name = serializers.CharField()
    model_version = serializers.CharField()


class ObservationResultSerializer(serializers.Serializer[object]):
    prediction_id = serializers.CharField(allow_null=True, help_text="Send the ground truth with this id.")
    status = serializers.ChoiceField(choices=["accepted", "duplicate", "invalid"])
    field = serializers.CharField(required=False, allow_null=True, help_text="The field of an invalid item.")
    reason = serializers.CharField(required=False, help_text="Why the item is invalid.")


class ObservationsResponseSerializer(serializers.Serializer[object]):
    counts = serializers.DictField(child=serializers.IntegerField(), help_text="Number of items by status.")
    results = ObservationResultSerializer(many=True, help_text="In the order of the items.")
    model_name = serializers.CharField()
    model_version = serializers.CharField()
