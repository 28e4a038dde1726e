"""What the platform knows about its own jobs, and how right the models are."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q

from models_registry.models import Model, ModelVersion


class JobRun(models.Model):
    """The latest run of a periodic job, by its task name."""

    job_name = models.CharField(max_length=255, unique=True)
    last_started_at = models.DateTimeField()
    last_success_at = models.DateTimeField(null=True)
    last_duration_seconds = models.FloatField(null=True)
    last_error = models.TextField(blank=True)
    runs = models.PositiveBigIntegerField(default=0)
    failures = models.PositiveBigIntegerField(default=0)

    class Meta:
        ordering = ["job_name"]

    def __str__(self) -> str:
        return self.job_name


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
