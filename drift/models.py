"""Policies, checks and their results by feature."""

from datetime import datetime, timedelta

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q

from mlmon.schema import FeatureKind
from models_registry.models import Model, ModelVersion, ReferenceDataset

UNIT_INTERVAL = [MinValueValidator(0.0), MaxValueValidator(1.0)]


SMALLEST_VERDICT_WINDOW = 500  # rows
LARGEST_WINDOW = 1_000_000  # rows, which is what a stream holds where nobody has set another number
MOST_EXTRA_WINDOWS = 4
LARGEST_COUNT = 10**9
LONGEST_SPAN_SECONDS = 10 * 365 * 86_400

WINDOW_TOO_LARGE = f"A window has at most {LARGEST_WINDOW:,} rows."
IN_A_WINDOW = [MaxValueValidator(LARGEST_WINDOW, WINDOW_TOO_LARGE)]
IN_TEN_YEARS = [
    MaxValueValidator(LONGEST_SPAN_SECONDS, f"At most {LONGEST_SPAN_SECONDS:,} seconds, which is 10 years.")
]


def validate_extra_windows(value: object) -> None:
    """Refuse what is not a short list of different lengths of windows that a verdict can be given on."""
    if not isinstance(value, list) or not all(type(rows) is int for rows in value):
        raise ValidationError("Give a list of numbers of rows, such as [500, 2000].")
    if len(value) > MOST_EXTRA_WINDOWS or len(set(value)) != len(value):
        raise ValidationError(f"Give at most {MOST_EXTRA_WINDOWS} further windows, each once.")
    if any(rows < SMALLEST_VERDICT_WINDOW for rows in value):
        raise ValidationError(f"A verdict needs windows of {SMALLEST_VERDICT_WINDOW} rows or more.")
    if any(rows > LARGEST_WINDOW for rows in value):
        raise ValidationError(WINDOW_TOO_LARGE)


class PolicyMode(models.TextChoices):
    VERDICT = "verdict", "verdict and thresholds"
    THRESHOLDS = "thresholds", "thresholds only"


class DriftPolicy(models.Model):
    """How a model is checked for drift; a model without a row gets these defaults."""

    model = models.OneToOneField(Model, on_delete=models.CASCADE, related_name="drift_policy")
    is_enabled = models.BooleanField(default=True)
    mode = models.CharField(
        max_length=16,
        choices=PolicyMode,
        default=PolicyMode.VERDICT,
        help_text="The verdict opens incidents and may page someone; thresholds alone only mark what is above them.",
    )
    false_alarm_budget = models.PositiveIntegerField(
        default=10_000,
        validators=[MaxValueValidator(LARGEST_COUNT, f"At most one false alarm in {LARGEST_COUNT:,} checks.")],
        help_text="A: at most one false alarm in so many checks, whatever the number of features. "
        "With the defaults a busy model has about one in a million predictions.",
    )
    window_rows = models.PositiveIntegerField(
        default=1000,
        validators=IN_A_WINDOW,
        help_text="Rows of the current window: the newest predictions of a version. With a span of time, the most.",
    )
    window_seconds = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=IN_TEN_YEARS,
        help_text="Only predictions of the last so many seconds; empty: whatever their age.",
    )
    extra_window_rows = models.JSONField(
        default=list,
        blank=True,
        validators=[validate_extra_windows],
        help_text="Further windows that the verdict looks at beside it, such as [500, 2000]: shorter ones see large "
        "changes sooner, longer ones small ones. Each costs as much as the first.",
    )
    minimum_rows = models.PositiveIntegerField(
        default=100,
        validators=IN_A_WINDOW,
        help_text="Fewer rows than this give no scores. A verdict needs 500.",
    )
    interval_rows = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MaxValueValidator(LARGEST_COUNT, f"At most {LARGEST_COUNT:,} predictions.")],
        help_text="A check is due after this many new predictions; empty: a tenth of the window, at least 100.",
    )
    longest_pause_seconds = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=IN_TEN_YEARS,
        help_text="A check is due after so long too, if there is a new prediction at all; empty: by rows alone. "
        "Every check uses up some of the false-alarm budget, also one that sees hardly anything new.",
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
    monitors_correlation = models.BooleanField(
        default=False,
        help_text="Compare the rank correlation of each pair of numeric features too: hundredths of a second a check. "
        "For information; it opens no incident.",
    )
    monitors_joint_distribution = models.BooleanField(
        default=False,
        help_text="Train a classifier to tell the window from the reference: about a second a check. For information; "
        "it opens no incident.",
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
            models.CheckConstraint(
                condition=Q(interval_rows__isnull=True) | Q(interval_rows__gte=1), name="drift_interval_is_positive"
            ),
            models.CheckConstraint(condition=Q(false_alarm_budget__gte=1), name="drift_budget_is_positive"),
            models.CheckConstraint(condition=Q(mode__in=PolicyMode.values), name="drift_policy_mode_is_known"),
            models.CheckConstraint(
                condition=Q(feature_threshold__range=(0, 1)) & Q(prediction_threshold__range=(0, 1)),
                name="drift_thresholds_are_in_the_unit_interval",
            ),
        ]

    def __str__(self) -> str:
        return f"drift policy of {self.model.name}"

    @property
    def rows_between_checks(self) -> int:
        """New predictions after which a check is due."""
        return max(100, self.window_rows // 10) if self.interval_rows is None else self.interval_rows

    @property
    def longest_window_rows(self) -> int:
        """How many rows a check reads."""
        return int(max(self.window_rows, *self.extra_window_rows, 0))

    def oldest_observed_at(self, window_end: datetime) -> datetime | None:
        """Return since when the rows of a window that ends then were observed; None: whatever their age."""
        return None if self.window_seconds is None else window_end - timedelta(seconds=self.window_seconds)


class FeatureMethod(models.TextChoices):
    DEFAULT = "", "default: KS of numbers, Cohen's w of levels"
    KOLMOGOROV_SMIRNOV = "kolmogorov_smirnov", "Kolmogorov-Smirnov distance (numbers)"
    CHI_SQUARED = "chi_squared", "Cohen's w"
    WASSERSTEIN = "wasserstein", "normalised Wasserstein distance (numbers)"
    POPULATION_STABILITY_INDEX = "population_stability_index", "population stability index"
    JENSEN_SHANNON_DISTANCE = "jensen_shannon_distance", "Jensen-Shannon distance"
    JENSEN_SHANNON_DIVERGENCE = "jensen_shannon_divergence", "Jensen-Shannon divergence"
    HELLINGER = "hellinger", "Hellinger distance"
    L_INFINITY = "l_infinity", "L-infinity distance"


class FeaturePolicy(models.Model):
    """What is different for one feature."""

    policy = models.ForeignKey(DriftPolicy, on_delete=models.CASCADE, related_name="feature_policies")
    feature_name = models.CharField(max_length=128)
    is_monitored = models.BooleanField(default=True, help_text="Others are left out of scores and verdict.")
    method = models.CharField(
        max_length=64,
        choices=FeatureMethod,
        blank=True,
        default=FeatureMethod.DEFAULT,
        help_text="What the score is. The verdict is the same with each.",
    )
    threshold = models.FloatField(
        null=True, blank=True, validators=[MinValueValidator(0.0)], help_text="Empty: that of the policy."
    )

    class Meta:
        ordering = ["feature_name"]
        verbose_name_plural = "feature policies"
        constraints = [
            models.UniqueConstraint(fields=["policy", "feature_name"], name="one_policy_for_each_feature"),
            models.CheckConstraint(
                condition=Q(threshold__isnull=True) | Q(threshold__gte=0), name="feature_threshold_is_not_negative"
            ),
            models.CheckConstraint(condition=Q(method__in=FeatureMethod.values), name="feature_method_is_known"),
        ]

    def __str__(self) -> str:
        return self.feature_name


class CheckStatus(models.TextChoices):
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class DriftCheck(models.Model):
    """One comparison of a version's current window with its reference.

    ``window_end`` is the id of the window's last stream entry; a version never has two checks of one window end.
    ``verdict``, ``prediction_verdict`` and ``relations`` hold values of `mlmon.results`, as `drift.stored_results`
    writes them. A check that was made later, over archived rows, is backfilled: it belongs to the history, not to now.
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
    prediction_verdict = models.JSONField(null=True)
    verdict_status = models.CharField(max_length=32, blank=True)
    verdict = models.JSONField(null=True)
    relations = models.JSONField(null=True, help_text="Changes between features: of correlation, and all together.")
    n_confirmed_features = models.PositiveIntegerField(default=0)
    is_backfilled = models.BooleanField(default=False)
    duration_seconds = models.FloatField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        get_latest_by = "id"
        indexes = [
            models.Index(fields=["version", "-id"], name="drift_check_history"),
            models.Index(fields=["version", "is_backfilled", "-id"], name="drift_check_newest"),
            models.Index(fields=["version", "window_ended_at"], name="drift_check_by_time"),
            models.Index(
                fields=["version", "window_ended_at"], condition=Q(verdict_status="alarm"), name="drift_check_alarms"
            ),
        ]
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
    is_confirmed = models.BooleanField(default=False, help_text="The verdict's alarm lists it.")
    findings = models.JSONField(
        default=dict, help_text="Measures, distribution, verdict and quality, as `drift.stored_results` writes them."
    )

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


class ClosingReason(models.TextChoices):
    QUIET = "quiet", "three windows in a row without a sign of it"
    BY_HAND = "by_hand", "closed by hand"
    NEW_REFERENCE = "new_reference", "another reference came into force"
    ARCHIVED = "archived", "its version was archived"


class DriftIncident(models.Model):
    """One alarm, from the check that raised it until it is over; it latches, however the checks between turn out.

    ``hypotheses`` are `mlmon.results.HypothesisResult` values, strongest first, each as it was when it was strongest.
    """

    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="drift_incidents")
    opened_by = models.ForeignKey(DriftCheck, on_delete=models.CASCADE, related_name="opened_incidents")
    last_check = models.ForeignKey(DriftCheck, on_delete=models.CASCADE, related_name="+")
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)
    closing_reason = models.CharField(max_length=16, choices=ClosingReason, blank=True)
    hypotheses = models.JSONField(default=list)
    alarms = models.PositiveIntegerField(default=1, help_text="Checks that raised the alarm.")
    quiet_windows = models.PositiveIntegerField(default=0)
    counted_rows = models.PositiveBigIntegerField(help_text="Rows seen at the end of the window that counted last.")
    acknowledged_at = models.DateTimeField(null=True)
    acknowledged_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    snoozed_until = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        get_latest_by = "id"
        constraints = [
            models.UniqueConstraint(
                fields=["version"], condition=Q(closed_at__isnull=True), name="one_open_incident_for_each_version"
            ),
            models.CheckConstraint(
                condition=Q(closed_at__isnull=True, closing_reason="")
                | Q(closed_at__isnull=False, closing_reason__in=ClosingReason.values),
                name="only_a_closed_incident_has_a_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.version} since {self.opened_at:%Y-%m-%d %H:%M}"
