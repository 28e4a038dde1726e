"""Shapes of the registry's read-only calls."""

from rest_framework import serializers

from models_registry.models import Model, ModelFeature, ModelVersion


class FeatureSerializer(serializers.ModelSerializer[ModelFeature]):
    class Meta:
        model = ModelFeature
        fields = ["name", "kind", "is_required", "tensor_type"]


class VersionSerializer(serializers.ModelSerializer[ModelVersion]):
    features = FeatureSerializer(many=True)
    classes = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = ModelVersion
        fields = [
            "version",
            "stage",
            "traffic_weight",
            "framework",
            "task_type",
            "classes",
            "features",
            "artefact_sha256",
            "artefact_bytes",
            "created_at",
        ]


class ModelSerializer(serializers.ModelSerializer[Model]):
    versions = VersionSerializer(many=True)

    class Meta:
        model = Model
        fields = ["name", "description", "created_at", "versions"]
