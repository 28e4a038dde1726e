"""Policies, checks and their results by feature."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q

from models_registry.models import Model, ModelVersion, ReferenceDataset
from models_registry.schema import FeatureKind

UNIT_INTERVAL = [MinValueValidator(0.0), MaxValueValidator(1.0)]


class DriftPolicy(models.Model):
    """How a model is checked for drift; a model without a row gets these defaults."""

    model = models.OneToOneField(Model, on_delete=models.CASCADE, related_name="drift_policy")
    is_enabled = models.BooleanField(default=True)
    window_rows = models.PositiveIntegerField(
        default=1000, help_text="Rows of the current window: the newest predictions of a version."
    )
    minimum_rows = models.PositiveIntegerField(default=100, help_text="Fewer rows than this give no scores.")
    interval_rows = models.PositiveIntegerField(
        default=100, help_text="A check is due after this many new predictions."
    )
    feature_threshold = models.FloatField(
        default=0.15,
        validators=UNIT_INTERVAL,
        help_text="A feature has drifted when its score (KS statistic, or Cohen's w) is above this.",
    )
    prediction_threshold = models.FloatField(
        default=0.1,
        validators=UNIT_INTERVAL,
        help_text="Predictions have drifted when their Jensen-Shannon divergence (natural log) is above this.",
    )
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["model__name"]
        verbose_name_plural = "drift policies"
        constraints = [
            models.CheckConstraint(
                condition=Q(minimum_rows__gte=30) & Q(window_rows__gte=F("minimum_rows")),
                name="drift_window_holds_the_minimum_of_30_rows",
            ),
            models.CheckConstraint(condition=Q(interval_rows__gte=1), name="drift_interval_is_positive"),
            models.CheckConstraint(
                condition=Q(feature_threshold__range=(0, 1)) & Q(prediction_threshold__range=(0, 1)),
                name="drift_thresholds_are_in_the_unit_interval",
            ),
        ]

    def __str__(self) -> str:
        return f"drift policy of {self.model.name}"


class FeatureThreshold(models.Model):
    """A threshold of one feature in place of its policy's."""

    policy = models.ForeignKey(DriftPolicy, on_delete=models.CASCADE, related_name="feature_thresholds")
    feature_name = models.CharField(max_length=128)
    threshold = models.FloatField(validators=UNIT_INTERVAL)

    class Meta:
        ordering = ["feature_name"]
        constraints = [
            models.UniqueConstraint(fields=["policy", "feature_name"], name="one_threshold_for_each_feature"),
            models.CheckConstraint(
                condition=Q(threshold__range=(0, 1)), name="feature_threshold_is_in_the_unit_interval"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.feature_name}: {self.threshold:g}"


class CheckStatus(models.TextChoices):
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class DriftCheck(models.Model):
    """One comparison of a version's current window with its reference.

    ``window_end`` is the id of the window's last stream entry; a version never has two checks of one window end.
    """

    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="drift_checks")
    reference = models.ForeignKey(ReferenceDataset, on_delete=models.CASCADE, related_name="drift_checks")
    status = models.CharField(max_length=16, choices=CheckStatus)
    error_message = models.TextField(blank=True)
    window_end = models.CharField(max_length=64)
    rows_seen = models.PositiveBigIntegerField(help_text="Predictions of the version up to the window's end.")
    window_started_at = models.DateTimeField(null=True)
    window_ended_at = models.DateTimeField(null=True)
    n_reference = models.PositiveBigIntegerField(default=0)
    n_current = models.PositiveBigIntegerField(default=0)
    n_features = models.PositiveIntegerField(default=0)
    n_drifted_features = models.PositiveIntegerField(default=0)
    prediction_status = models.CharField(max_length=32, blank=True)
    prediction_js_divergence = models.FloatField(null=True)
    prediction_chi2_statistic = models.FloatField(null=True)
    prediction_p_value = models.FloatField(null=True)
    prediction_threshold = models.FloatField(null=True)
    prediction_is_drifted = models.BooleanField(default=False)
    prediction_reference_dist = models.JSONField(default=dict)
    prediction_current_dist = models.JSONField(default=dict)
    duration_seconds = models.FloatField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        get_latest_by = "id"
        indexes = [models.Index(fields=["version", "-id"], name="drift_check_history")]
        constraints = [
            models.UniqueConstraint(fields=["version", "window_end"], name="a_window_is_checked_once"),
            models.CheckConstraint(condition=Q(status__in=CheckStatus.values), name="drift_check_status_is_known"),
            models.CheckConstraint(
                condition=Q(status=CheckStatus.FAILED, error_message__gt="")
                | Q(status=CheckStatus.SUCCEEDED, error_message=""),
                name="only_a_failed_check_has_an_error",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.version} at {self.created_at:%Y-%m-%d %H:%M:%S}"


class FeatureStatus(models.TextChoices):
    OK = "ok"
    INSUFFICIENT_DATA = "insufficient_data"
    CONSTANT = "constant"
    MISSING = "missing"
    TYPE_CHANGED = "type_changed"
    IDENTIFIER = "identifier"
    ERROR = "error"


class FeatureDrift(models.Model):
    """The result of one check for one feature."""

    check_run = models.ForeignKey(DriftCheck, on_delete=models.CASCADE, related_name="features")
    feature_name = models.CharField(max_length=128)
    kind = models.CharField(max_length=16, choices=[(k.value, k.value) for k in FeatureKind])
    status = models.CharField(max_length=32, choices=FeatureStatus)
    status_detail = models.CharField(max_length=255, blank=True)
    method = models.CharField(max_length=64)
    score = models.FloatField(null=True)
    threshold = models.FloatField()
    is_drifted = models.BooleanField(default=False)
    statistic = models.FloatField(null=True)
    p_value = models.FloatField(null=True)
    reference_mean = models.FloatField(null=True)
    current_mean = models.FloatField(null=True)
    n_reference = models.PositiveBigIntegerField(default=0)
    n_current = models.PositiveBigIntegerField(default=0)
    n_missing_reference = models.PositiveBigIntegerField(default=0)
    n_missing_current = models.PositiveBigIntegerField(default=0)

    class Meta:
        ordering = ["check_run", "id"]
        constraints = [
            models.UniqueConstraint(fields=["check_run", "feature_name"], name="one_result_for_each_feature"),
            models.CheckConstraint(condition=Q(status__in=FeatureStatus.values), name="feature_status_is_known"),
            models.CheckConstraint(
                condition=Q(is_drifted=False) | Q(score__isnull=False), name="a_drifted_feature_has_a_score"
            ),
        ]

    def __str__(self) -> str:
        return self.feature_name
