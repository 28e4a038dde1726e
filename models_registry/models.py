"""Models, their versions and features, and their reference data."""

from pathlib import Path

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q

from mlmon.csv_files import encoding_named
from mlmon.exceptions import ReferenceFileError, TimeZoneError
from mlmon.schema import Feature, FeatureKind, TaskType, TensorType
from mlmon.time_zones import check_time_zone
from models_registry.schema import MOST_ROWS_AT_ONCE, ModelSchema, ScoreKind

# A name becomes a Prometheus label, a part of URLs and a part of file names.
MODEL_NAME_PATTERN = r"^[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?$"
# The grammar of semver.org without "+build", because a version is a path segment.
SEMANTIC_VERSION_PATTERN = (
    r"^(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})"
    r"(-(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?$"
)
TASKS = [(task.value, task.value) for task in TaskType]
SCORE_KINDS = [(kind.value, kind.value) for kind in ScoreKind]
OUTDATED_FORMAT = 0  # of a profile that is to be rebuilt although its format has not changed
LARGEST_WEIGHT = 32_767  # of the database column
ENCODING_HELP = (
    "Of a CSV file, such as cp1252 for one of Excel. Empty for UTF-8, and for UTF-16 with a byte order mark."
)


class Stage(models.TextChoices):
    STAGING = "staging"
    PRODUCTION = "production"
    SHADOW = "shadow"
    ARCHIVED = "archived"


def validate_time_zone(name: str) -> None:
    """Raise ValidationError, which suggests similar names, if the IANA database has no time zone of this name."""
    try:
        check_time_zone(name)
    except TimeZoneError as error:
        raise ValidationError(str(error)) from error


class Model(models.Model):
    """A name that programs call; its versions serve the predictions."""

    name = models.CharField(
        max_length=63,
        unique=True,
        validators=[RegexValidator(MODEL_NAME_PATTERN, "Use at most 63 lower-case letters, digits, '.', '_' and '-'.")],
        help_text="Used in URLs and metric labels; cannot be changed later.",
    )
    description = models.TextField(blank=True)
    time_zone = models.CharField(
        max_length=64,
        default="UTC",
        validators=[validate_time_zone],
        help_text="IANA name, such as Europe/Berlin, of the hours and weekdays that the model's traffic follows.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class ModelVersion(models.Model):
    """One ONNX artefact of a model, or a version that another server serves, with its schema and its stage."""

    model = models.ForeignKey(Model, on_delete=models.CASCADE, related_name="versions")
    version = models.CharField(
        max_length=64,
        validators=[RegexValidator(SEMANTIC_VERSION_PATTERN, "Use a semantic version such as 1.4.0 or 2.0.0-rc.1.")],
    )
    stage = models.CharField(max_length=16, choices=Stage, default=Stage.STAGING)
    traffic_weight = models.PositiveSmallIntegerField(
        default=0, help_text="Share of the model's traffic, relative to its other production versions."
    )
    promoted_at = models.DateTimeField(
        null=True, editable=False, help_text="When it first went to production; empty: never."
    )
    artefact = models.FileField(
        upload_to="artefacts/",
        max_length=255,
        blank=True,
        help_text="The file as it was uploaded. Empty: the version is served elsewhere.",
    )
    normalised = models.FileField(
        upload_to="artefacts/", max_length=255, blank=True, help_text="What is served, if the file had to be changed."
    )
    artefact_sha256 = models.CharField(max_length=64, blank=True)
    artefact_bytes = models.PositiveBigIntegerField(null=True, blank=True)
    framework = models.CharField(max_length=128, blank=True, help_text="The producer named in the ONNX file.")
    task_type = models.CharField(max_length=16, choices=TASKS)
    classes = models.JSONField(default=list, blank=True)
    label_output = models.CharField(max_length=255, blank=True)
    score_output = models.CharField(max_length=255, blank=True)
    score_kind = models.CharField(
        "scores",
        max_length=16,
        blank=True,
        choices=SCORE_KINDS,
        help_text="What the numbers of the score output are.",
    )
    rows_at_once = models.PositiveIntegerField(
        default=MOST_ROWS_AT_ONCE, help_text="The most rows of one run of the model; larger requests are split."
    )
    remarks = models.JSONField(
        default=list, blank=True, help_text="What was changed to serve the file, and what was assumed."
    )
    notes = models.TextField(blank=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["model__name", "-created_at"]
        permissions = [("promote_modelversion", "Can move a version between stages and change its traffic")]
        constraints = [
            models.UniqueConstraint(fields=["model", "version"], name="model_version_is_unique"),
            models.CheckConstraint(condition=Q(stage__in=Stage.values), name="model_version_stage_is_known"),
            models.CheckConstraint(
                condition=(Q(stage=Stage.PRODUCTION) & Q(traffic_weight__gt=0))
                | (~Q(stage=Stage.PRODUCTION) & Q(traffic_weight=0)),
                name="only_production_versions_have_traffic",
            ),
            models.CheckConstraint(
                condition=Q(task_type__in=[t.value for t in TaskType]), name="model_version_task_type_is_known"
            ),
            models.CheckConstraint(
                condition=Q(artefact__gt="", artefact_sha256__gt="", artefact_bytes__isnull=False, artefact_bytes__gt=0)
                | Q(artefact="", normalised="", artefact_sha256="", artefact_bytes=None),
                name="model_version_artefact_is_whole_or_absent",
            ),
            models.CheckConstraint(
                condition=Q(artefact__gt="") | Q(label_output="", score_output=""),
                name="only_an_artefact_has_outputs",
            ),
            models.CheckConstraint(
                condition=Q(score_output="", score_kind="")
                | Q(score_output="", artefact="", score_kind=ScoreKind.PROBABILITIES.value)
                | (~Q(score_output="") & Q(score_kind__in=[k.value for k in ScoreKind])),
                name="model_version_scores_have_a_kind",
            ),
            models.CheckConstraint(condition=Q(rows_at_once__gt=0), name="model_version_runs_have_rows"),
        ]

    def __str__(self) -> str:
        return f"{self.model.name} {self.version}"

    @property
    def is_served_here(self) -> bool:
        """Whether mlmon has its artefact and predicts. Otherwise another server predicts and sends observations."""
        return bool(self.artefact)

    def schema(self) -> ModelSchema:
        """Return the schema; this reads the version's features (prefetch ``features`` of many versions)."""
        return ModelSchema(
            task_type=TaskType(self.task_type),
            features=tuple(feature.described() for feature in self.features.all()),
            classes=tuple(self.classes),
            label_output=self.label_output,
            score_output=self.score_output,
            score_kind=ScoreKind(self.score_kind) if self.score_kind else None,
            rows_at_once=self.rows_at_once,
        )

    def served_path(self) -> Path:
        """Return the path of the ONNX file of a version that is served here."""
        return Path((self.normalised or self.artefact).path)


class ModelFeature(models.Model):
    """One input of a model version: its name, its kind and its position in the ONNX tensors, if there are any."""

    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="features")
    position = models.PositiveIntegerField(help_text="Position in rows without names, starting at 0.")
    name = models.CharField(max_length=128)
    kind = models.CharField(max_length=16, choices=[(k.value, k.value) for k in FeatureKind])
    is_required = models.BooleanField(default=True)
    input_name = models.CharField(max_length=255, blank=True)
    column = models.PositiveIntegerField(default=0)
    tensor_type = models.CharField(max_length=16, choices=[(t.value, t.value) for t in TensorType])

    class Meta:
        ordering = ["version", "position"]
        constraints = [
            models.UniqueConstraint(fields=["version", "name"], name="feature_name_is_unique_in_version"),
            models.UniqueConstraint(fields=["version", "position"], name="feature_position_is_unique_in_version"),
            models.UniqueConstraint(
                fields=["version", "input_name", "column"], name="feature_tensor_column_is_unique_in_version"
            ),
            models.CheckConstraint(condition=~Q(name=""), name="feature_name_is_not_empty"),
            models.CheckConstraint(condition=Q(kind__in=[k.value for k in FeatureKind]), name="feature_kind_is_known"),
            models.CheckConstraint(
                condition=~Q(tensor_type=TensorType.STRING.value) | Q(kind=FeatureKind.CATEGORICAL.value),
                name="string_features_are_categorical",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def described(self) -> Feature:
        """Return this feature as a description without Django."""
        return Feature(
            name=self.name,
            kind=FeatureKind(self.kind),
            is_required=self.is_required,
            input_name=self.input_name,
            column=self.column,
            tensor_type=TensorType(self.tensor_type),
        )


class ReferenceStatus(models.TextChoices):
    PENDING = "pending"
    PROFILING = "profiling"
    READY = "ready"
    FAILED = "failed"


def validate_encoding(name: str) -> None:
    """Raise ValidationError if Python knows no encoding of text with this name."""
    try:
        encoding_named(name)
    except ReferenceFileError as error:
        raise ValidationError(str(error)) from error


class ReferenceDataset(models.Model):
    """Rows on which a version was trained or tested, and their profile, with which drift checks compare windows."""

    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="references")
    file = models.FileField(upload_to="references/", max_length=255)
    original_filename = models.CharField(max_length=255)
    upload_sha256 = models.CharField(
        max_length=64,
        blank=True,
        help_text="Digest of the file and of how it is read, to recognise a repeated upload. Empty for earlier ones.",
    )
    encoding = models.CharField(max_length=32, blank=True, validators=[validate_encoding], help_text=ENCODING_HELP)
    missing_values = models.JSONField(
        default=list, blank=True, help_text="Further strings that are missing values in a CSV file."
    )
    status = models.CharField(max_length=16, choices=ReferenceStatus, default=ReferenceStatus.PENDING)
    is_active = models.BooleanField("active", default=False, help_text="The reference that drift checks use.")
    progress_percent = models.PositiveSmallIntegerField(default=0)
    progress_step = models.CharField(max_length=64, blank=True)
    error_message = models.TextField(blank=True)
    rows = models.PositiveBigIntegerField(null=True)
    ignored_columns = models.JSONField(default=list)
    notes = models.JSONField(default=list, help_text="What the uploader may want to know about how values were read.")
    profile_file = models.FileField(upload_to="profiles/", max_length=255, blank=True)
    profile_format = models.PositiveSmallIntegerField(
        null=True, help_text="Format of the profile. Empty without one, or if an older one could not be rebuilt."
    )
    label_column = models.CharField(
        max_length=255,
        blank=True,
        help_text="Column with the ground truth. If empty, it is detected by its name or its values.",
    )
    labelled_rows = models.PositiveBigIntegerField(null=True, help_text="Rows with ground truth.")
    labels_note = models.TextField(blank=True, help_text="Why no column is used as ground truth.")
    prediction_column = models.CharField(
        max_length=255,
        blank=True,
        help_text="Column with the predictions of a version that is served elsewhere. If empty, it is detected by its "
        "name.",
    )
    predictions_note = models.TextField(
        blank=True, help_text="Why no column is used as predictions, or none as their probabilities."
    )
    time_column = models.CharField(
        max_length=255,
        blank=True,
        help_text="Column with the time of each row. If empty, it is detected by its name or its type.",
    )
    timed_rows = models.PositiveBigIntegerField(null=True, help_text="Rows with a time.")
    first_time = models.DateTimeField(null=True)
    last_time = models.DateTimeField(null=True)
    times_note = models.TextField(blank=True, help_text="Why no column is used as times.")
    predictions_file = models.FileField(
        upload_to="predictions/",
        max_length=255,
        blank=True,
        help_text="Ground truth and predictions of the labelled rows, from which performance is estimated.",
    )
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    claimed_at = models.DateTimeField(null=True, help_text="When a worker last showed progress with the profiling.")
    profiled_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["version"], condition=Q(is_active=True), name="one_active_reference_for_each_version"
            ),
            models.CheckConstraint(
                condition=Q(is_active=False) | Q(status=ReferenceStatus.READY), name="active_reference_is_ready"
            ),
            models.CheckConstraint(
                condition=~Q(status=ReferenceStatus.READY)
                | (Q(rows__gt=0) & ~Q(profile_file="") & Q(profiled_at__isnull=False)),
                name="ready_reference_has_a_profile",
            ),
            models.CheckConstraint(
                condition=Q(status=ReferenceStatus.FAILED, error_message__gt="")
                | (~Q(status=ReferenceStatus.FAILED) & Q(error_message="")),
                name="only_a_failed_reference_has_an_error",
            ),
            models.CheckConstraint(condition=Q(status__in=ReferenceStatus.values), name="reference_status_is_known"),
            models.CheckConstraint(condition=Q(progress_percent__lte=100), name="reference_progress_is_a_percentage"),
        ]

    def __str__(self) -> str:
        return f"{self.version}: {self.original_filename}"
