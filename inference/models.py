"""Who may call the API, what is remembered of the answers, the archive of observations, and the ground truth."""

import hashlib
import secrets

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q

from inference.stream import Entry, id_order
from models_registry.models import Model, ModelVersion

TOKEN_PREFIX = "mlmon_"  # noqa: S105 -- lets secret scanners know a leaked token


class TokenScope(models.TextChoices):
    PREDICT = "predict", "predict: predictions, observations and feedback"
    READ = "read", "read: drift, performance, registry and metrics"
    ALL = "all", "all of the API"


class ApiToken(models.Model):
    """A bearer token of the API.

    Only its SHA-256 is kept; the token has 256 random bits, so no slow hash is needed.
    """

    name = models.CharField(max_length=100, unique=True, help_text="Who or what uses it.")
    scope = models.CharField(max_length=16, choices=TokenScope, default=TokenScope.PREDICT)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    hint = models.CharField(max_length=16, editable=False, help_text="The first characters of the token.")
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        verbose_name = "API token"
        constraints = [
            models.CheckConstraint(condition=Q(scope__in=TokenScope.values), name="token_scope_is_known"),
            models.CheckConstraint(condition=~Q(digest=""), name="token_has_a_digest"),
        ]

    def __str__(self) -> str:
        return self.name


def new_token() -> str:
    """Return a new random token."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def token_digest(token: str) -> str:
    """Return the SHA-256 of `token` in hexadecimal."""
    return hashlib.sha256(token.encode()).hexdigest()


SMALLEST_SAMPLING_RATE = 0.0001
MOST_RETENTION_DAYS = 36_500
NO_ENTRY = "0-0"  # before every entry of a stream


class CapturePolicy(models.Model):
    """What is remembered of a model's answers, and for how long; a model without a row gets these defaults."""

    model = models.OneToOneField(Model, on_delete=models.CASCADE, related_name="capture_policy")
    sampling_rate = models.FloatField(
        default=1.0,
        validators=[MinValueValidator(SMALLEST_SAMPLING_RATE), MaxValueValidator(1.0)],
        help_text="Share of the predictions that are remembered, drawn by their ids: 1 is all, 0.1 a tenth. Windows of "
        "the drift policy count remembered rows.",
    )
    never_stored_features = models.JSONField(
        default=list,
        blank=True,
        help_text="Values of these features leave the web process only as the model's input. Their drift is not "
        "checked. What was stored before stays until its retention ends.",
    )
    retention_days = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[
            MinValueValidator(1),
            MaxValueValidator(MOST_RETENTION_DAYS, f"At most {MOST_RETENTION_DAYS:,} days, which is 100 years."),
        ],
        help_text="Archived observations are deleted after so many days; empty: as the server's settings say.",
    )
    archive_megabytes = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="The oldest observations are deleted where the archive is larger; empty: as the settings say.",
    )
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["model__name"]
        verbose_name_plural = "capture policies"
        constraints = [
            models.CheckConstraint(
                condition=Q(sampling_rate__range=(SMALLEST_SAMPLING_RATE, 1)),
                name="capture_sampling_rate_is_a_share_above_0",
            ),
            models.CheckConstraint(
                condition=Q(retention_days=None) | Q(retention_days__gte=1), name="capture_retention_is_a_day_or_more"
            ),
            models.CheckConstraint(
                condition=Q(archive_megabytes=None) | Q(archive_megabytes__gte=1),
                name="capture_archive_size_is_a_megabyte_or_more",
            ),
        ]

    def __str__(self) -> str:
        return f"capture policy of {self.model.name}"


class ArchivePosition(models.Model):
    """How far a stream of a version is archived.

    It moves in the transaction that writes the chunks, and only from where the worker found it: so an entry that is
    delivered twice, or to two workers, is archived once. Where Redis lost its data, or went back to older data, a new
    stream begins, with a position of its own.
    """

    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="archive_positions")
    stream_number = models.PositiveIntegerField(default=1, help_text="Counts the streams that the version has had.")
    last_entry_id = models.CharField(max_length=64, default=NO_ENTRY)
    rows_seen = models.PositiveBigIntegerField(default=0, help_text="Rows of the stream up to that entry, ever.")
    rows_archived = models.PositiveBigIntegerField(default=0)
    rows_lost = models.PositiveBigIntegerField(
        default=0, help_text="Rows that Redis dropped at the stream's bound before they were archived."
    )
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["version", "stream_number"]
        get_latest_by = "stream_number"
        constraints = [
            models.UniqueConstraint(fields=["version", "stream_number"], name="one_archive_position_for_each_stream"),
            models.CheckConstraint(
                condition=Q(rows_seen__gte=F("rows_archived") + F("rows_lost")),
                name="no_more_rows_are_archived_than_were_seen",
            ),
        ]

    def __str__(self) -> str:
        return f"archive of {self.version}, stream {self.stream_number}, up to {self.last_entry_id}"

    def continues_with(self, entry: Entry) -> bool:
        """Return whether `entry` comes after what is archived, by its id and by the rows before it."""
        is_later = id_order(entry.id) > id_order(self.last_entry_id)
        return is_later and entry.rows_before >= self.rows_seen


class ObservationChunk(models.Model):
    """Archived observations of a version: rows that follow each other in its stream and have the same columns.

    Never changed. Small ones that follow each other are replaced by one that holds the same rows.
    """

    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="observation_chunks")
    stream_number = models.PositiveIntegerField()
    first_row = models.PositiveBigIntegerField(help_text="Place of the first row in the stream, counted from 1.")
    last_row = models.PositiveBigIntegerField()
    rows = models.PositiveIntegerField()
    first_entry_id = models.CharField(max_length=64)
    last_entry_id = models.CharField(max_length=64)
    first_prediction_id = models.UUIDField(help_text="The smallest of its rows.")
    last_prediction_id = models.UUIDField(help_text="The largest of its rows.")
    first_observed_at = models.DateTimeField(help_text="The earliest of its rows.")
    last_observed_at = models.DateTimeField(help_text="The latest of its rows.")
    schema_fingerprint = models.CharField(max_length=64, help_text="SHA-256 of the columns' names and types.")
    has_given_ids = models.BooleanField(
        help_text="Some prediction ids were given by a client: they do not tell the version, nor the time."
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
            models.UniqueConstraint(
                fields=["version", "stream_number", "first_row"], name="a_row_begins_one_chunk_at_most"
            ),
            models.UniqueConstraint(
                fields=["version", "stream_number", "last_row"], name="a_row_ends_one_chunk_at_most"
            ),
            models.CheckConstraint(
                condition=Q(rows__gt=0) & Q(first_row__gt=0) & Q(rows=F("last_row") - F("first_row") + 1),
                name="chunk_rows_are_counted",
            ),
            models.CheckConstraint(
                condition=Q(first_prediction_id__lte=F("last_prediction_id"))
                & Q(first_observed_at__lte=F("last_observed_at")),
                name="chunk_ranges_have_an_order",
            ),
            models.CheckConstraint(condition=Q(payload_bytes__gt=0) & Q(memory_bytes__gt=0), name="chunk_is_not_empty"),
        ]

    def __str__(self) -> str:
        return f"{self.rows} observations of {self.version} from {self.first_observed_at:%Y-%m-%d %H:%M:%S}"


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


class RollupSpan(models.IntegerChoices):
    MINUTE = 60
    HOUR = 3600


class TrafficRollup(models.Model):
    """What a version answered in one minute or hour, over all web processes (`inference.traffic.TrafficCounts`).

    Requests that no version got to see are not in it. A process that is killed with -9 takes with it what it counted
    since its last write, two seconds ago at most; `/metrics` keeps that.
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
    predictions = models.PositiveBigIntegerField(default=0, help_text="Rows that were answered.")
    confidence_counts = models.JSONField(help_text="Predictions by the edges of ml_model_confidence; not cumulative.")
    class_counts = models.JSONField(help_text="Predictions by class, in the order of the version's classes.")
    output_sum = models.FloatField(default=0.0, help_text="Sum of a regression's predictions.")

    class Meta:
        ordering = ["version", "span_seconds", "begins_at"]
        indexes = [models.Index(fields=["span_seconds", "begins_at"], name="traffic_by_time")]
        constraints = [
            models.UniqueConstraint(
                fields=["version", "span_seconds", "begins_at"], name="one_traffic_rollup_for_each_span"
            ),
            models.CheckConstraint(
                condition=Q(span_seconds__in=RollupSpan.values), name="traffic_span_is_a_minute_or_an_hour"
            ),
        ]

    def __str__(self) -> str:
        return f"traffic of {self.version} from {self.begins_at:%Y-%m-%d %H:%M}, {self.get_span_seconds_display()}"
