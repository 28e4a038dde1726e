"""Ground truth, and how right the models are."""

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q

from models_registry.models import Model, ModelVersion


class GroundTruth(models.Model):
    """What turned out to be true of one prediction, with the answer that was given.

    The answer is copied when the two meet, so performance needs no archive, whose retention may be shorter. Until then
    the label waits: it may come before its prediction is archived, or be for a prediction that nobody has sent yet.
    """

    prediction_id = models.UUIDField(primary_key=True)
    actual = models.TextField(help_text="The class, or the number as text.")
    observed_at = models.DateTimeField(help_text="When it became known, as the client says, or when it came here.")
    received_at = models.DateTimeField()
    changed_at = models.DateTimeField(help_text="When it came, met its prediction or was corrected, the latest.")
    version = models.ForeignKey(
        ModelVersion,
        on_delete=models.CASCADE,
        null=True,
        related_name="ground_truths",
        help_text="Whose prediction it is; empty while that is not known.",
    )
    predicted_at = models.DateTimeField(null=True)
    prediction = models.TextField(null=True, help_text="As `actual`.")  # noqa: DJ001 -- none is not an empty one
    confidence = models.FloatField(null=True)
    scores = models.BinaryField(null=True, help_text="Probability of each class, float32, where they were recorded.")
    refusal = models.CharField(
        max_length=1000, blank=True, help_text="Why the label cannot be that of the prediction which it met."
    )
    next_lookup_at = models.DateTimeField(null=True, help_text="When its prediction is looked for again.")

    class Meta:
        ordering = ["-changed_at"]
        verbose_name_plural = "ground truth"
        indexes = [
            models.Index(fields=["version", "predicted_at"], name="ground_truth_by_prediction"),
            models.Index(fields=["version", "changed_at"], name="ground_truth_by_change"),
            models.Index(
                fields=["next_lookup_at"], condition=Q(next_lookup_at__isnull=False), name="ground_truth_that_waits"
            ),
            models.Index(fields=["received_at"], name="ground_truth_by_age"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(version=None, predicted_at=None, prediction=None, refusal="")
                | Q(version__isnull=False, predicted_at__isnull=False, prediction__isnull=False, next_lookup_at=None),
                name="ground_truth_waits_or_has_met_its_prediction",
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
    """A file of ground truth, and what became of its rows.

    Rows are taken in batches, each in one transaction with the count of rows that are done: so a worker that takes the
    file over from a dead one goes on where that was.
    """

    file = models.FileField(upload_to="ground_truth/", max_length=255)
    original_filename = models.CharField(max_length=255)
    status = models.CharField(max_length=16, choices=UploadStatus, default=UploadStatus.PENDING)
    progress_percent = models.PositiveSmallIntegerField(default=0)
    rows_done = models.PositiveBigIntegerField(default=0)
    counts = models.JSONField(default=dict, help_text="Rows by what became of them.")
    problems = models.JSONField(default=list, help_text="The first rows that were not kept: row, field, reason.")
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
    """What a ground truth was before it was corrected."""

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


LARGEST_DROP = 100.0  # of a regression; of a classifier 1


class PerformancePolicy(models.Model):
    """How a model's performance is measured; a model without a row gets these defaults."""

    model = models.OneToOneField(Model, on_delete=models.CASCADE, related_name="performance_policy")
    window_rows = models.PositiveIntegerField(
        default=1000,
        validators=[MinValueValidator(SMALLEST_PERFORMANCE_WINDOW), MaxValueValidator(LARGEST_PERFORMANCE_WINDOW)],
        help_text="The newest predictions with ground truth that the current figures speak of.",
    )
    minimum_rows = models.PositiveIntegerField(
        default=100,
        validators=[MaxValueValidator(LARGEST_PERFORMANCE_WINDOW)],
        help_text="With fewer labelled predictions there are no figures: they would say little.",
    )
    largest_drop = models.FloatField(
        default=0.05,
        validators=[
            MinValueValidator(0.0),
            MaxValueValidator(LARGEST_DROP, f"At most {LARGEST_DROP:g}: that many times the error of the reference."),
        ],
        help_text="How far accuracy (of a regression: the mean absolute error, as a share) may be worse than on the "
        "labelled reference before someone is told.",
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
            models.CheckConstraint(condition=Q(largest_drop__gte=0), name="performance_drop_is_not_negative"),
        ]

    def __str__(self) -> str:
        return f"performance policy of {self.model.name}"


class Period(models.TextChoices):
    LATEST = "latest", "the latest labelled predictions"
    DAY = "day", "a day (UTC)"


class PerformanceReport(models.Model):
    """How right a version was: by the ground truth that has come, and as estimated without it.

    Reports of the latest predictions follow each other; that of a day is made anew while labels come.
    """

    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="performance_reports")
    period = models.CharField(max_length=8, choices=Period)
    started_at = models.DateTimeField(help_text="When the first prediction of the period was made.")
    ended_at = models.DateTimeField(help_text="The end of the period.")
    computed_at = models.DateTimeField()
    labels_changed_at = models.DateTimeField(null=True, help_text="The newest change of ground truth that was seen.")
    rows_seen = models.PositiveBigIntegerField(default=0, help_text="Predictions of the version by then, ever.")
    predicted_rows = models.PositiveIntegerField(help_text="Predictions of the period.")
    labelled_rows = models.PositiveIntegerField(help_text="Those of them with ground truth.")
    label_delay_seconds = models.FloatField(null=True, help_text="Median, from the prediction to the ground truth.")
    realised = models.JSONField(null=True, help_text="Figures of the predictions with ground truth.")
    estimated = models.JSONField(null=True, help_text="Estimate for all predictions of the period.")
    estimated_of_labelled = models.JSONField(
        null=True, help_text="Estimate for those with ground truth, which the realised figures can be compared with."
    )
    estimate_note = models.TextField(blank=True, help_text="Why there is no estimate.")
    drop = models.FloatField(
        null=True,
        help_text="How much worse accuracy is than on the labelled reference; of a regression the mean absolute error, "
        "as a share. Only of 500 labelled predictions or more.",
    )

    class Meta:
        ordering = ["-computed_at"]
        indexes = [models.Index(fields=["version", "period", "-id"], name="newest_performance_report")]
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
        """What the report speaks of, in words."""
        if self.period == Period.DAY:
            return f"{self.started_at:%Y-%m-%d}"
        return f"newest predictions at {self.computed_at:%Y-%m-%d %H:%M}"

    @property
    def label_coverage(self) -> float | None:
        """Share of the period's predictions that have ground truth; None where there are none."""
        return self.labelled_rows / self.predicted_rows if self.predicted_rows else None
