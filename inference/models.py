"""Capture policies, the archive of observations, and the traffic of versions by minute and hour, and rejections."""

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q

from inference.rejections import LONGEST_EXAMPLE
from inference.stream import Entry, id_order
from models_registry.models import Model, ModelVersion

SMALLEST_SAMPLING_RATE = 0.0001
MOST_RETENTION_DAYS = 36_500
# Names of namespaces (RFC 1123 labels) and of InferenceServices in Kubernetes.
LABEL = RegexValidator(r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?\Z", "Use lower-case letters, digits and '-'.")
SUBDOMAIN = RegexValidator(r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?\Z", "Use lower-case letters, digits, '-' and '.'.")
NO_ENTRY = "0-0"  # before every entry of a stream


class CapturePolicy(models.Model):
    """Which predictions of a model are captured and for how long; a model without a row has these defaults."""

    model = models.OneToOneField(Model, on_delete=models.CASCADE, related_name="capture_policy")
    sampling_rate = models.FloatField(
        default=1.0,
        validators=[MinValueValidator(SMALLEST_SAMPLING_RATE), MaxValueValidator(1.0)],
        help_text="Share of the predictions that are captured, sampled by their ids: 1 is all, 0.1 a tenth. The "
        "windows of drift checks count captured rows.",
    )
    never_stored_features = models.JSONField(
        default=list,
        blank=True,
        help_text="The model receives these features, but their values are not stored and their drift is not checked. "
        "Values that are already stored stay until their retention ends.",
    )
    retention_days = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[
            MinValueValidator(1),
            MaxValueValidator(MOST_RETENTION_DAYS, f"At most {MOST_RETENTION_DAYS:,} days, which is 100 years."),
        ],
        help_text="Number of days after which archived observations are deleted; empty: the server's setting.",
    )
    archive_megabytes = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Largest size of the model's archive; the oldest observations are deleted first. Empty: the server's "
        "setting.",
    )
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["model__name"]
        verbose_name_plural = "capture policies"
        constraints = [
            models.CheckConstraint(
                condition=Q(sampling_rate__range=(SMALLEST_SAMPLING_RATE, 1)),
                name="capture_sampling_rate_is_above_0_and_at_most_1",
            ),
            models.CheckConstraint(
                condition=Q(retention_days=None) | Q(retention_days__range=(1, MOST_RETENTION_DAYS)),
                name="capture_retention_is_1_day_to_100_years",
            ),
            models.CheckConstraint(
                condition=Q(archive_megabytes=None) | Q(archive_megabytes__gte=1),
                name="capture_archive_size_is_at_least_1_megabyte",
            ),
        ]

    def __str__(self) -> str:
        return f"capture policy of {self.model.name}"


class KServeService(models.Model):
    """An InferenceService of KServe whose logged events are predictions of a model.

    A service without a row belongs to the model of its name (`inference.selectors.KServeServices`).
    """

    namespace = models.CharField(max_length=63, validators=[LABEL], help_text="Kubernetes namespace of the service.")
    service = models.CharField(
        max_length=253, validators=[SUBDOMAIN], help_text="Name of the InferenceService (metadata.name)."
    )
    model = models.ForeignKey(Model, on_delete=models.CASCADE, related_name="kserve_services")
    version = models.ForeignKey(
        ModelVersion,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="kserve_services",
        help_text="Version that the service runs. Empty: the one in production with the most traffic. The annotation "
        "mlmon/version of the service overrides both.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["namespace", "service"]
        verbose_name = "KServe service"
        constraints = [
            models.UniqueConstraint(fields=["namespace", "service"], name="kserve_service_has_one_model"),
            models.CheckConstraint(condition=~Q(namespace="") & ~Q(service=""), name="kserve_service_has_a_name"),
        ]

    def __str__(self) -> str:
        return f"{self.namespace}/{self.service}"

    def clean(self) -> None:
        if self.version_id and self.version and self.version.model_id != self.model_id:
            reason = f"{self.version} is a version of another model. Choose a version of the model, or none."
            raise ValidationError({"version": reason})


class ArchivePosition(models.Model):
    """How far a stream of a version is archived.

    It moves in the transaction that writes the chunks, and only from the value that the worker read, so an entry that
    is delivered twice, or to two workers, is archived once. If Redis loses its data or returns to older data, a new
    stream begins, with its own position.
    """

    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="archive_positions")
    stream_number = models.PositiveIntegerField(default=1, help_text="Number of the version's stream, from 1.")
    last_entry_id = models.CharField(max_length=64, default=NO_ENTRY)
    rows_seen = models.PositiveBigIntegerField(
        default=0, help_text="Rows ever captured in the stream up to that entry."
    )
    rows_archived = models.PositiveBigIntegerField(default=0)
    rows_lost = models.PositiveBigIntegerField(
        default=0, help_text="Rows that Redis trimmed before they were archived."
    )
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["version", "stream_number"]
        get_latest_by = "stream_number"
        constraints = [
            models.UniqueConstraint(
                fields=["version", "stream_number"], name="archive_position_is_unique_for_each_stream"
            ),
            models.CheckConstraint(
                condition=Q(rows_seen__gte=F("rows_archived") + F("rows_lost")),
                name="archived_and_lost_rows_are_at_most_the_rows_seen",
            ),
        ]

    def __str__(self) -> str:
        return f"archive of {self.version}, stream {self.stream_number}, up to {self.last_entry_id}"

    def continues_with(self, entry: Entry) -> bool:
        """Return whether `entry` follows the archived rows, by its id and by the number of rows before it."""
        is_later = id_order(entry.id) > id_order(self.last_entry_id)
        return is_later and entry.rows_before >= self.rows_seen


class ObservationChunk(models.Model):
    """Archived observations of a version: consecutive rows of its stream with the same columns.

    A chunk never changes. Small consecutive chunks are replaced by one chunk with the same rows.
    """

    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="observation_chunks")
    stream_number = models.PositiveIntegerField()
    first_row = models.PositiveBigIntegerField(help_text="Position of the first row in the stream, counted from 1.")
    last_row = models.PositiveBigIntegerField()
    rows = models.PositiveIntegerField()
    first_entry_id = models.CharField(max_length=64)
    last_entry_id = models.CharField(max_length=64)
    first_prediction_id = models.UUIDField(help_text="The smallest prediction id of the rows.")
    last_prediction_id = models.UUIDField(help_text="The largest prediction id of the rows.")
    first_observed_at = models.DateTimeField(help_text="The earliest time of the rows.")
    last_observed_at = models.DateTimeField(help_text="The latest time of the rows.")
    schema_fingerprint = models.CharField(max_length=64, help_text="SHA-256 of the names and types of the columns.")
    has_given_ids = models.BooleanField(
        help_text="Some prediction ids were given by a client, so they contain neither version nor time."
    )
    payload = models.BinaryField(help_text="The rows as an Arrow IPC stream, compressed with Zstandard.")
    payload_bytes = models.PositiveBigIntegerField()
    memory_bytes = models.PositiveBigIntegerField(help_text="Size of the rows in memory.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["version", "stream_number", "first_row"]
        indexes = [
            models.Index(fields=["first_prediction_id", "last_prediction_id"], name="chunk_by_prediction_id"),
            models.Index(fields=["version", "last_observed_at"], name="chunk_by_time"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["version", "stream_number", "first_row"], name="chunk_first_row_is_unique"),
            models.UniqueConstraint(fields=["version", "stream_number", "last_row"], name="chunk_last_row_is_unique"),
            models.CheckConstraint(
                condition=Q(rows__gt=0) & Q(first_row__gt=0) & Q(rows=F("last_row") - F("first_row") + 1),
                name="chunk_row_count_matches_its_range",
            ),
            models.CheckConstraint(
                condition=Q(first_prediction_id__lte=F("last_prediction_id"))
                & Q(first_observed_at__lte=F("last_observed_at")),
                name="chunk_ranges_are_ordered",
            ),
            models.CheckConstraint(condition=Q(payload_bytes__gt=0) & Q(memory_bytes__gt=0), name="chunk_is_not_empty"),
        ]

    def __str__(self) -> str:
        return f"{self.rows} observations of {self.version} from {self.first_observed_at:%Y-%m-%d %H:%M:%S}"


class RollupSpan(models.IntegerChoices):
    MINUTE = 60
    HOUR = 3600


class TrafficRollup(models.Model):
    """Traffic of a version in one minute or hour, over all web processes (`inference.traffic.TrafficCounts`).

    It does not contain requests that reached no version. A process that is killed with -9 loses its counts since its
    last write, at most two seconds ago; `/metrics` keeps them.
    """

    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="traffic_rollups")
    span_seconds = models.PositiveSmallIntegerField(choices=RollupSpan)
    begins_at = models.DateTimeField()
    success = models.PositiveBigIntegerField(default=0)
    error = models.PositiveBigIntegerField(default=0)
    rejected = models.PositiveBigIntegerField(default=0)
    latency_seconds = models.FloatField(default=0.0, help_text="Sum over the measured requests.")
    latency_counts = models.JSONField(
        help_text="Measured requests by the edges of ml_prediction_latency_seconds; not cumulative."
    )
    predictions = models.PositiveBigIntegerField(default=0, help_text="Predicted rows.")
    confidence_counts = models.JSONField(help_text="Predictions by the edges of ml_model_confidence; not cumulative.")
    class_counts = models.JSONField(help_text="Predictions by class, in the order of the version's classes.")
    output_sum = models.FloatField(default=0.0, help_text="Sum of a regression's predictions.")

    class Meta:
        ordering = ["version", "span_seconds", "begins_at"]
        indexes = [models.Index(fields=["span_seconds", "begins_at"], name="traffic_by_time")]
        constraints = [
            models.UniqueConstraint(
                fields=["version", "span_seconds", "begins_at"], name="traffic_rollup_is_unique_for_each_span"
            ),
            models.CheckConstraint(
                condition=Q(span_seconds__in=RollupSpan.values), name="traffic_span_is_a_minute_or_an_hour"
            ),
        ]

    def __str__(self) -> str:
        return f"traffic of {self.version} from {self.begins_at:%Y-%m-%d %H:%M}, {self.get_span_seconds_display()}"


class RejectionCount(models.Model):
    """Rejected requests and observations of a model in one minute, for one feature and reason, over all web processes.

    `inference.rejections` has the names. Values are not stored.
    """

    model = models.ForeignKey(Model, on_delete=models.CASCADE, related_name="rejection_counts")
    begins_at = models.DateTimeField()
    feature_name = models.CharField(
        max_length=128, help_text="A feature of the schema, or unknown, row or request: what was refused."
    )
    reason = models.CharField(max_length=32)
    count = models.PositiveBigIntegerField()
    last_at = models.DateTimeField()
    example = models.CharField(max_length=LONGEST_EXAMPLE, help_text="The latest reason in words, without values.")

    class Meta:
        ordering = ["model", "begins_at", "feature_name", "reason"]
        indexes = [models.Index(fields=["begins_at"], name="rejections_by_time")]
        constraints = [
            models.UniqueConstraint(
                fields=["model", "begins_at", "feature_name", "reason"],
                name="rejection_count_is_unique_for_each_minute",
            ),
            models.CheckConstraint(condition=Q(count__gte=1), name="rejection_count_is_at_least_1"),
        ]

    def __str__(self) -> str:
        return f"{self.count} rejections of {self.feature_name} ({self.reason}) from {self.begins_at:%Y-%m-%d %H:%M}"
