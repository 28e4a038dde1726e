"""Requests and responses of the registry's calls."""

from typing import Any

from django.urls import reverse
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from mlmon.csv_files import encoding_named
from mlmon.exceptions import ReferenceFileError
from mlmon.schema import FeatureKind
from models_registry.artefacts.report import LONGEST_NAME
from models_registry.models import (
    ENCODING_HELP,
    LARGEST_WEIGHT,
    SCORE_KINDS,
    TASKS,
    Model,
    ModelFeature,
    ModelVersion,
    ReferenceDataset,
    ReferenceStatus,
    Stage,
)
from models_registry.schema_document import TYPES
from rest.bodies import NamesField, StrictSerializer, UploadField

FEATURE_KINDS = [kind.value for kind in FeatureKind]
MISSING_VALUES_HELP = "Further strings that are missing values in a CSV file, separated by commas or as a JSON list."
PREDICTION_COLUMN_HELP = (
    "Column with the predictions of a version that is served elsewhere; by default detected by its name. Probabilities "
    "are detected by theirs: confidence, probability, probability_CLASS."
)


def valid_encoding(name: str) -> str:
    """Return Python's name of an encoding; raise ValidationError if there is none."""
    try:
        return encoding_named(name) if name else ""
    except ReferenceFileError as error:
        raise serializers.ValidationError(str(error)) from error


# --- requests -------------------------------------------------------------------------------------------------------


class ModelRegistrationSerializer(StrictSerializer):
    """A model to register."""

    name = serializers.CharField(
        max_length=63, help_text="Used in URLs and metric labels: lower-case letters, digits, `.`, `_` and `-`."
    )
    description = serializers.CharField(required=False, allow_blank=True, help_text="For people.")
    time_zone = serializers.CharField(
        required=False,
        max_length=64,
        help_text="IANA name of the hours and weekdays that the model's traffic follows; by default UTC.",
    )


class VersionUploadSerializer(StrictSerializer):
    """A version to upload."""

    # The fields are arguments of `ensure_version` and `upload_version`.
    version = serializers.CharField(max_length=64, help_text="A semantic version such as 1.4.0.")
    artefact = serializers.ListField(
        child=UploadField(),
        allow_empty=False,
        help_text="The ONNX file, or a zip archive, also of the folder of an MLflow model. Send the field again for "
        "each data file of the model.",
    )
    features = NamesField(
        required=False,
        allow_blank=True,
        help_text="Feature names in the order of the inputs, separated by commas or as a JSON list; by default those "
        "of the MLflow signature or the graph.",
    )
    optional = NamesField(required=False, allow_blank=True, help_text="Features that may be missing from a row.")
    categorical = NamesField(required=False, allow_blank=True, help_text="Numeric features that are categories.")
    task = serializers.ChoiceField(
        required=False, choices=TASKS, help_text="What the model predicts, if the file does not prove it."
    )
    scores = serializers.ChoiceField(
        required=False, choices=SCORE_KINDS, help_text="What the scores of a classifier are."
    )
    classes = NamesField(
        required=False, allow_blank=True, help_text="Classes in the order of the scores, if the file only numbers them."
    )
    check = UploadField(
        required=False,
        help_text="CSV or Parquet file with the framework's own predictions: the features, prediction, and if you like "
        "probability, probability_CLASS or score. A file that predicts something else is refused.",
    )
    notes = serializers.CharField(required=False, allow_blank=True, help_text="For people, shown in the admin.")


class FeatureDocumentSerializer(serializers.Serializer[object]):
    """A feature of a version that is served elsewhere."""

    name = serializers.CharField(max_length=LONGEST_NAME, help_text="The key of rows and the column of files.")
    type = serializers.ChoiceField(
        choices=list(TYPES), help_text="Which values it accepts; `category` accepts strings and whole numbers."
    )
    kind = serializers.ChoiceField(
        required=False,
        choices=FEATURE_KINDS,
        help_text="How drift is measured; by default `categorical` for boolean and category, otherwise `numeric`.",
    )
    required = serializers.BooleanField(  # type: ignore[assignment]  # a field; the metaclass removes it from the class
        required=False, help_text="Whether a row without it is refused; by default true."
    )


class SchemaDocumentSerializer(serializers.Serializer[object]):
    """The schema of a version that is served elsewhere."""

    # Only for the description: `models_registry.schema_document` reads the document, and names each invalid place.
    task = serializers.ChoiceField(choices=TASKS, help_text="What the model predicts.")
    classes = serializers.ListField(
        required=False, child=serializers.CharField(), help_text="Of a classification: at least two."
    )
    features = FeatureDocumentSerializer(many=True, help_text="In the order of rows without names.")


@extend_schema_field(SchemaDocumentSerializer)
class DocumentField(serializers.Field[Any, Any, Any, Any]):
    """A schema, which its own reader checks."""

    def to_internal_value(self, data: Any) -> Any:
        return data

    def to_representation(self, value: Any) -> Any:
        return value


class ExternalVersionSerializer(StrictSerializer):
    """A version to register that another server serves."""

    version = serializers.CharField(max_length=64, help_text="A semantic version such as 1.4.0.")
    schema = DocumentField(help_text="What the model predicts from which features.")
    notes = serializers.CharField(required=False, allow_blank=True, help_text="For people, shown in the admin.")


class SchemaUploadSerializer(StrictSerializer):
    """A reference file from which a schema is inferred."""

    # Besides file and missing_values, the fields are those of `SchemaChoices`.
    file = UploadField(help_text="CSV (also with gzip) or Parquet: rows as the model receives them.")
    task = serializers.ChoiceField(required=False, choices=TASKS, help_text="By default inferred from the values.")
    prediction_column = serializers.CharField(
        required=False, allow_blank=True, max_length=255, help_text=PREDICTION_COLUMN_HELP
    )
    label_column = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=255,
        help_text="Column with the ground truth; by default detected by its name.",
    )
    time_column = serializers.CharField(
        required=False, allow_blank=True, max_length=255, help_text="Column with Unix times; others are detected."
    )
    encoding = serializers.CharField(required=False, allow_blank=True, max_length=32, help_text=ENCODING_HELP)
    missing_values = NamesField(required=False, allow_blank=True, help_text=MISSING_VALUES_HELP)

    validate_encoding = staticmethod(valid_encoding)


class ReferenceUploadSerializer(StrictSerializer):
    """Reference data to upload."""

    # Besides file, the fields are arguments of `upload_reference`.
    file = UploadField(
        help_text="CSV (also with gzip) or Parquet, with a column for each feature. Other columns are ignored."
    )
    label_column = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=255,
        help_text="Column with the ground truth; by default detected by its name or its values.",
    )
    prediction_column = serializers.CharField(
        required=False, allow_blank=True, max_length=255, help_text=PREDICTION_COLUMN_HELP
    )
    time_column = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=255,
        help_text="Column with the time of each row; by default detected by its name or its type.",
    )
    encoding = serializers.CharField(required=False, allow_blank=True, max_length=32, help_text=ENCODING_HELP)
    missing_values = NamesField(required=False, allow_blank=True, help_text=MISSING_VALUES_HELP)

    validate_encoding = staticmethod(valid_encoding)


class StageRequestSerializer(StrictSerializer):
    """A stage, and the share of traffic in production."""

    stage = serializers.ChoiceField(choices=Stage.choices)
    traffic_weight = serializers.IntegerField(
        required=False,
        min_value=0,
        max_value=LARGEST_WEIGHT,
        help_text="Share of the traffic in production, relative to the other versions there, which keep theirs. "
        "Without it, a version in production gets all of the model's traffic.",
    )


# --- responses ------------------------------------------------------------------------------------------------------


class FeatureSerializer(serializers.ModelSerializer[ModelFeature]):
    class Meta:
        model = ModelFeature
        fields = ["name", "kind", "is_required", "tensor_type"]


class VersionSerializer(serializers.ModelSerializer[ModelVersion]):
    features = FeatureSerializer(many=True)
    classes = serializers.ListField(child=serializers.CharField())
    remarks = serializers.ListField(
        child=serializers.CharField(), help_text="What was changed to serve the file, and what was assumed."
    )
    is_served_here = serializers.BooleanField(
        help_text="Whether mlmon predicts with it. Otherwise another server does, and sends observations."
    )
    artefact_sha256 = serializers.SerializerMethodField(help_text="Null if it is served elsewhere.")
    artefact_bytes = serializers.IntegerField(allow_null=True, help_text="Null if it is served elsewhere.")

    class Meta:
        model = ModelVersion
        fields = [
            "version",
            "stage",
            "traffic_weight",
            "is_served_here",
            "framework",
            "task_type",
            "classes",
            "score_kind",
            "remarks",
            "features",
            "artefact_sha256",
            "artefact_bytes",
            "created_at",
        ]

    def get_artefact_sha256(self, version: ModelVersion) -> str | None:
        return version.artefact_sha256 or None


class ColumnLeftOutSerializer(serializers.Serializer[object]):
    column = serializers.CharField()
    reason = serializers.CharField()


class InferredSchemaSerializer(serializers.Serializer[object]):
    """A schema that a reference file suggests."""

    schema = SchemaDocumentSerializer(source="document", help_text="Check and correct it, then register it.")
    left_out = ColumnLeftOutSerializer(many=True, help_text="The columns that are no features, and why.")
    notes = serializers.ListField(child=serializers.CharField(), help_text="What to check.")


class ModelSerializer(serializers.ModelSerializer[Model]):
    versions = VersionSerializer(many=True)

    class Meta:
        model = Model
        fields = ["name", "description", "time_zone", "created_at", "versions"]


class StageChangeSerializer(serializers.Serializer[object]):
    version = serializers.CharField()
    stage_before = serializers.ChoiceField(choices=Stage.choices)
    traffic_weight_before = serializers.IntegerField()
    stage = serializers.ChoiceField(choices=Stage.choices)
    traffic_weight = serializers.IntegerField()


class StageResultSerializer(serializers.Serializer[object]):
    model_name = serializers.CharField()
    model_version = serializers.CharField()
    stage = serializers.ChoiceField(choices=Stage.choices)
    traffic_weight = serializers.IntegerField()
    changes = StageChangeSerializer(
        many=True, help_text="The versions that the request has changed; empty if it was made before."
    )


class JobSerializer(serializers.ModelSerializer[ReferenceDataset]):
    model_name = serializers.CharField(source="version.model.name")
    model_version = serializers.CharField(source="version.version")
    state = serializers.ChoiceField(choices=ReferenceStatus.choices, source="status")
    url = serializers.SerializerMethodField(help_text="The path of this job.")
    error_message = serializers.CharField(allow_blank=True, help_text="Why it failed.")
    progress_percent = serializers.IntegerField()
    progress_step = serializers.CharField(allow_blank=True)
    rows = serializers.IntegerField(allow_null=True, help_text="Rows of the reference, once it is ready.")
    ignored_columns = serializers.ListField(
        child=serializers.CharField(), help_text="Columns that are neither a feature, nor the ground truth or the time."
    )
    notes = serializers.ListField(
        child=serializers.CharField(), help_text="What you may want to know about how values were read."
    )

    class Meta:
        model = ReferenceDataset
        fields = [
            "id",
            "url",
            "model_name",
            "model_version",
            "original_filename",
            "state",
            "progress_percent",
            "progress_step",
            "error_message",
            "is_active",
            "rows",
            "label_column",
            "labelled_rows",
            "labels_note",
            "prediction_column",
            "predictions_note",
            "time_column",
            "timed_rows",
            "times_note",
            "ignored_columns",
            "notes",
            "created_at",
            "profiled_at",
        ]

    def get_url(self, reference: ReferenceDataset) -> str:
        return reverse("job", args=[reference.version.model.name, reference.pk])
