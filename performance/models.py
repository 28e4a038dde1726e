"""Ground truth and the performance of models."""

from cattrs import structure
from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q

from mlmon.detection.performance import PerformanceDrop
from models_registry.models import ENCODING_HELP, Model, ModelVersion, validate_encoding


class GroundTruth(models.Model):
    """The true class or number of one prediction, joined with that prediction.

    The prediction is copied when the two are joined, so that performance does not depend on the archive, whose
    retention may be shorter. Until then the label waits: it may arrive before its prediction is archived.
    """

    prediction_id = models.UUIDField(primary_key=True)
    actual = models.TextField(help_text="The true class, or the number as a string.")
    observed_at = models.DateTimeField(help_text="When it became known; by default, when it was received.")
    received_at = models.DateTimeField()
    changed_at = models.DateTimeField(help_text="When it was last received, joined or corrected.")
    version = models.ForeignKey(
        ModelVersion,
        on_delete=models.CASCADE,
        null=True,
        related_name="ground_truths",
        help_text="The version that made the prediction; empty until the prediction is found.",
    )
    predicted_at = models.DateTimeField(null=True)
    prediction = models.TextField(null=True, help_text="The predicted class, or the number as a string.")  # noqa: DJ001 -- None is not an empty class
    confidence = models.FloatField(null=True)
    scores = models.BinaryField(null=True, help_text="Probability of each class, float32, if captured.")
    routing = models.BinaryField(
        null=True, help_text="How the traffic policy chose the version, if a rollout was active."
    )
    refusal = models.CharField(max_length=1000, blank=True, help_text="Why the label does not fit its prediction.")
    next_lookup_at = models.DateTimeField(null=True, help_text="When its prediction is next looked up.")

    class Meta:
        ordering = ["-changed_at"]
        verbose_name_plural = "ground truth"
        indexes = [
            models.Index(fields=["version", "predicted_at"], name="ground_truth_by_prediction"),
            models.Index(fields=["version", "changed_at"], name="ground_truth_by_change"),
            models.Index(
                fields=["next_lookup_at"], condition=Q(next_lookup_at__isnull=False), name="waiting_ground_truth"
            ),
            models.Index(fields=["received_at"], name="ground_truth_by_age"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(version=None, predicted_at=None, prediction=None, refusal="")
                | Q(version__isnull=False, predicted_at__isnull=False, prediction__isnull=False, next_lookup_at=None),
                name="ground_truth_waits_or_is_joined",
            ),
            models.CheckConstraint(condition=~Q(actual=""), name="ground_truth_is_not_empty"),
        ]

    def __str__(self) -> str:
        return f"{self.prediction_id}: {self.actual}"


class UploadStatus(models.TextChoices):
    PENDING = "pending"
    READING = "reading"
    DONE = "done"
    FAILED = "failed"


class GroundTruthUpload(models.Model):
    """A file of ground truth, and the outcomes of its rows.

    Rows are stored in batches, each in one transaction with the number of rows done, so that a worker can continue a
    file where a dead one stopped.
    """

    file = models.FileField(upload_to="ground_truth/", max_length=255)
    original_filename = models.CharField(max_length=255)
    encoding = models.CharField(max_length=32, blank=True, validators=[validate_encoding], help_text=ENCODING_HELP)
    status = models.CharField(max_length=16, choices=UploadStatus, default=UploadStatus.PENDING)
    progress_percent = models.PositiveSmallIntegerField(default=0)
    rows_done = models.PositiveBigIntegerField(default=0)
    counts = models.JSONField(default=dict, help_text="Number of rows by outcome.")
    problems = models.JSONField(default=list, help_text="The first invalid rows: row, field, reason.")
    error_message = models.TextField(blank=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    claimed_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(status=UploadStatus.FAILED, error_message__gt="")
                | (~Q(status=UploadStatus.FAILED) & Q(error_message="")),
                name="only_a_failed_ground_truth_upload_has_an_error",
            ),
            models.CheckConstraint(
                condition=Q(status__in=UploadStatus.values), name="ground_truth_upload_status_is_known"
            ),
        ]

    def __str__(self) -> str:
        return self.original_filename


class GroundTruthCorrection(models.Model):
    """The earlier label of a ground truth that was corrected."""

    ground_truth = models.ForeignKey(GroundTruth, on_delete=models.CASCADE, related_name="corrections")
    actual_before = models.TextField()
    observed_at_before = models.DateTimeField()
    corrected_at = models.DateTimeField()

    class Meta:
        ordering = ["ground_truth", "corrected_at"]

    def __str__(self) -> str:
        return f"{self.ground_truth_id}: {self.actual_before} until {self.corrected_at:%Y-%m-%d %H:%M:%S}"


SMALLEST_PERFORMANCE_WINDOW = 30  # rows
LARGEST_PERFORMANCE_WINDOW = 100_000
LARGEST_BUDGET = 10**9


class PerformancePolicy(models.Model):
    """Settings for measuring the performance of a model; a model without a policy has the defaults."""

    model = models.OneToOneField(Model, on_delete=models.CASCADE, related_name="performance_policy")
    window_rows = models.PositiveIntegerField(
        default=1000,
        validators=[MinValueValidator(SMALLEST_PERFORMANCE_WINDOW), MaxValueValidator(LARGEST_PERFORMANCE_WINDOW)],
        help_text="Number of latest predictions with ground truth that the figures include, and in the window in which "
        "a drop is sought.",
    )
    minimum_rows = models.PositiveIntegerField(
        default=100,
        validators=[MaxValueValidator(LARGEST_PERFORMANCE_WINDOW)],
        help_text="With fewer labelled predictions, no figures are computed.",
    )
    false_alarm_budget = models.PositiveIntegerField(
        default=10_000,
        validators=[
            MinValueValidator(1),
            MaxValueValidator(LARGEST_BUDGET, f"At most one false alarm in {LARGEST_BUDGET:,} judgements."),
        ],
        help_text="A: the alert of a performance drop has at most one false alarm in A judgements. With the defaults, "
        "a judgement follows after 100 new labels.",
    )
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["model__name"]
        verbose_name_plural = "performance policies"
        constraints = [
            models.CheckConstraint(
                condition=Q(minimum_rows__gte=SMALLEST_PERFORMANCE_WINDOW)
                & Q(window_rows__gte=F("minimum_rows"))
                & Q(window_rows__lte=LARGEST_PERFORMANCE_WINDOW),
                name="performance_window_holds_the_minimum_of_30_rows",
            ),
            models.CheckConstraint(condition=Q(false_alarm_budget__gte=1), name="performance_budget_is_positive"),
        ]

    def __str__(self) -> str:
        return f"performance policy of {self.model.name}"


class PerformanceBaseline(models.Model):
    """The errors of a version's first labelled predictions in production, with which later ones are compared.

    They are copied, so that the baseline stays when the ground truth is deleted at the end of its retention. A labelled
    reference is used instead of it.
    """

    version = models.OneToOneField(ModelVersion, on_delete=models.CASCADE, related_name="performance_baseline")
    started_at = models.DateTimeField(help_text="Time of the first prediction.")
    ended_at = models.DateTimeField(help_text="Time of the last prediction.")
    rows = models.PositiveIntegerField(help_text="Predictions with ground truth.")
    errors = models.BinaryField(help_text="Errors in the order of the predictions, float64, little-endian.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["version"]
        constraints = [
            models.CheckConstraint(condition=Q(rows__gte=1), name="performance_baseline_is_not_empty"),
            models.CheckConstraint(
                condition=Q(started_at__lte=F("ended_at")), name="performance_baseline_has_an_order"
            ),
        ]

    def __str__(self) -> str:
        return f"the first labelled predictions in production, {self.started_at:%Y-%m-%d %H:%M} to " + (
            f"{self.ended_at:%Y-%m-%d %H:%M} UTC"
        )


class Period(models.TextChoices):
    LATEST = "latest", "the latest labelled predictions"
    DAY = "day", "a day (UTC)"


class PerformanceReport(models.Model):
    """The performance of a version: realised, from ground truth, and estimated without it.

    Each report of the latest predictions is a new row; the report of a day is updated while labels arrive.
    """

    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="performance_reports")
    period = models.CharField(max_length=8, choices=Period)
    started_at = models.DateTimeField(help_text="Time of the first prediction of the period.")
    ended_at = models.DateTimeField(help_text="End of the period.")
    computed_at = models.DateTimeField()
    labels_changed_at = models.DateTimeField(null=True, help_text="The latest change of ground truth included.")
    rows_seen = models.PositiveBigIntegerField(default=0, help_text="Predictions of the version in total.")
    predicted_rows = models.PositiveIntegerField(help_text="Predictions of the period.")
    labelled_rows = models.PositiveIntegerField(help_text="Predictions of the period with ground truth.")
    label_delay_seconds = models.FloatField(null=True, help_text="Median time from a prediction to its ground truth.")
    realised = models.JSONField(null=True, help_text="Figures of the predictions with ground truth.")
    estimated = models.JSONField(null=True, help_text="Estimate for all predictions of the period.")
    estimated_of_labelled = models.JSONField(
        null=True, help_text="Estimate for the predictions with ground truth, to compare with the realised figures."
    )
    estimate_note = models.TextField(blank=True, help_text="Why there is no estimate.")
    drop = models.JSONField(
        null=True, help_text="Whether errors have become more frequent or larger; only of the latest predictions."
    )
    drop_includes_until = models.DateTimeField(
        null=True, help_text="The latest change of ground truth when the drop was judged."
    )

    class Meta:
        ordering = ["-computed_at"]
        indexes = [models.Index(fields=["version", "period", "-id"], name="latest_performance_report")]
        constraints = [
            models.UniqueConstraint(
                fields=["version", "started_at"],
                condition=Q(period=Period.DAY),
                name="one_performance_report_for_a_day",
            ),
            models.CheckConstraint(condition=Q(period__in=Period.values), name="performance_period_is_known"),
            models.CheckConstraint(condition=Q(started_at__lte=F("ended_at")), name="performance_period_has_an_order"),
            models.CheckConstraint(
                condition=Q(labelled_rows__lte=F("predicted_rows")), name="no_more_rows_are_labelled_than_predicted"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.version}, {self.subject}"

    @property
    def subject(self) -> str:
        """The predictions that the report is about."""
        if self.period == Period.DAY:
            return f"{self.started_at:%Y-%m-%d}"
        return f"latest predictions at {self.computed_at:%Y-%m-%d %H:%M}"

    @property
    def judged_drop(self) -> PerformanceDrop | None:
        """The judgement of the latest errors, made with this report or an earlier one."""
        return None if self.drop is None else structure(self.drop, PerformanceDrop)

    @property
    def label_coverage(self) -> float | None:
        """Share of the period's predictions that have ground truth; None without predictions."""
        return self.labelled_rows / self.predicted_rows if self.predicted_rows else None
