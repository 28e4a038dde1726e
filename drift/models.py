"""Drift policies, checks, their results by feature, and incidents."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q

from drift.result_field import ResultField
from mlmon.measures import MEASURES
from mlmon.results import ComparisonResult, FeatureResult, HypothesisResult, ResultStatus, VerdictStatus
from mlmon.verdict import FEWEST_WINDOW_ROWS, RULE_EDITION
from models_registry.models import Model, ModelVersion, ReferenceDataset

UNIT_INTERVAL = [MinValueValidator(0.0), MaxValueValidator(1.0)]
LARGEST_WINDOW = 1_000_000  # rows, as many as a stream holds by default
MOST_EXTRA_WINDOWS = 4
LARGEST_COUNT = 10**9
LONGEST_SPAN_SECONDS = 10 * 365 * 86_400

WINDOW_TOO_LARGE = f"A window has at most {LARGEST_WINDOW:,} rows."
IN_A_WINDOW = [MaxValueValidator(LARGEST_WINDOW, WINDOW_TOO_LARGE)]
IN_TEN_YEARS = [
    MaxValueValidator(LONGEST_SPAN_SECONDS, f"At most {LONGEST_SPAN_SECONDS:,} seconds, which is 10 years.")
]


def validate_extra_windows(value: object) -> None:
    """Raise ValidationError unless the value is a short list of different window lengths that a verdict can use."""
    if not isinstance(value, list) or not all(type(rows) is int for rows in value):
        raise ValidationError("Enter a list of numbers of rows, such as [500, 2000].")
    if len(value) > MOST_EXTRA_WINDOWS or len(set(value)) != len(value):
        raise ValidationError(f"Enter at most {MOST_EXTRA_WINDOWS} further windows, each once.")
    if any(rows < FEWEST_WINDOW_ROWS for rows in value):
        raise ValidationError(f"A verdict needs windows of {FEWEST_WINDOW_ROWS} rows or more.")
    if any(rows > LARGEST_WINDOW for rows in value):
        raise ValidationError(WINDOW_TOO_LARGE)


def choices_of(values: type[StrEnum]) -> Mapping[str, str]:
    """Return an enumeration of the library as choices of a field."""
    return {one.value: one.value.replace("_", " ") for one in values}


class PolicyMode(models.TextChoices):
    VERDICT = "verdict", "verdict and thresholds"
    THRESHOLDS = "thresholds", "thresholds only"


class DriftPolicy(models.Model):
    """How a model is checked for drift. A model without a policy is checked with these defaults."""

    model = models.OneToOneField(Model, on_delete=models.CASCADE, related_name="drift_policy")
    is_enabled = models.BooleanField(default=True)
    mode = models.CharField(
        max_length=16,
        choices=PolicyMode,
        default=PolicyMode.VERDICT,
        help_text="The verdict opens incidents and may page someone. Thresholds alone only mark the scores above them.",
    )
    false_alarm_budget = models.PositiveIntegerField(
        default=10_000,
        validators=[MaxValueValidator(LARGEST_COUNT, f"At most one false alarm in {LARGEST_COUNT:,} checks.")],
        help_text="A: at most one false alarm in A checks, however many features there are. With the defaults, a busy "
        "model has about one in a million predictions.",
    )
    window_rows = models.PositiveIntegerField(
        default=1000,
        validators=IN_A_WINDOW,
        help_text="Rows of the current window: the latest predictions of a version. With a span of time, the maximum.",
    )
    window_seconds = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=IN_TEN_YEARS,
        help_text="Maximum age of the predictions in the window. Empty: any age.",
    )
    extra_window_rows = models.JSONField(
        default=list,
        blank=True,
        validators=[validate_extra_windows],
        help_text="Further windows that the verdict also tests, such as [500, 2000]: shorter ones detect large changes "
        "sooner, longer ones detect small changes. Each costs as much as the first.",
    )
    minimum_rows = models.PositiveIntegerField(
        default=100,
        validators=IN_A_WINDOW,
        help_text="A window with fewer rows has no scores. A verdict needs 500 rows.",
    )
    interval_rows = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MaxValueValidator(LARGEST_COUNT, f"At most {LARGEST_COUNT:,} predictions.")],
        help_text="New predictions after which a check is due. Empty: a tenth of the window, at least 100.",
    )
    longest_pause_seconds = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=IN_TEN_YEARS,
        help_text="Seconds after which a check is due even if only one prediction is new. Empty: never. Every check "
        "uses some of the false-alarm budget, even if it sees hardly anything new.",
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
    is_seasonal = models.BooleanField(
        "seasonal",
        default=False,
        help_text="The verdict compares each hour of the day, or weekday, with the same one of the reference. Needs a "
        "reference with times over at least ten days, or weeks.",
    )
    monitors_correlation = models.BooleanField(
        default=True,
        help_text="The verdict also compares the correlation of each pair of the first 100 numeric features.",
    )
    monitors_joint_distribution = models.BooleanField(
        default=False,
        help_text="Train a classifier to separate the window from the reference, which takes about a second a check. "
        "This is information only and opens no incident.",
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
        """The number of new predictions after which a check is due."""
        return max(100, self.window_rows // 10) if self.interval_rows is None else self.interval_rows

    @property
    def longest_window_rows(self) -> int:
        """The number of rows that a check reads."""
        return int(max(self.window_rows, *self.extra_window_rows, 0))

    def oldest_observed_at(self, window_end: datetime) -> datetime | None:
        """Return the time of the oldest prediction in a window with this end; None if predictions may have any age."""
        return None if self.window_seconds is None else window_end - timedelta(seconds=self.window_seconds)

    def is_check_due(self, *, rows_seen: int, reference_id: int, last: "DriftCheck | None", now: datetime) -> bool:
        """Return whether there is enough new data to compare.

        Parameters
        ----------
        rows_seen
            All observations of the version. The count restarts at 0 if Redis lost its data.
        reference_id
            The active reference. If it changed since the last check, one new row is enough.
        last
            The last check, succeeded or failed; None before the first.
        """
        if last is None or rows_seen < last.rows_seen:
            return rows_seen >= self.minimum_rows
        new_rows, pause = rows_seen - last.rows_seen, self.longest_pause_seconds
        has_paused = pause is not None and (now - last.created_at).total_seconds() >= pause
        if reference_id != last.reference_id or has_paused:
            return new_rows > 0
        return new_rows >= self.rows_between_checks


METHOD_LABELS = {
    "": "default: KS for numbers, Cohen's w for categories",
    **{
        method.value: f"{measure.name}{'' if measure.categorical else ' (numbers)'}"
        for method, measure in MEASURES.items()
    },
}


class FeaturePolicy(models.Model):
    """The settings of one feature."""

    policy = models.ForeignKey(DriftPolicy, on_delete=models.CASCADE, related_name="feature_policies")
    feature_name = models.CharField(max_length=128)
    is_monitored = models.BooleanField(
        default=True, help_text="Other features have no score and no part in the verdict."
    )
    method = models.CharField(
        max_length=64,
        choices=METHOD_LABELS,
        blank=True,
        default="",
        help_text="What the score is. It does not change the verdict.",
    )
    threshold = models.FloatField(
        null=True, blank=True, validators=[MinValueValidator(0.0)], help_text="Empty: the policy's threshold."
    )

    class Meta:
        ordering = ["feature_name"]
        verbose_name_plural = "feature policies"
        constraints = [
            models.UniqueConstraint(fields=["policy", "feature_name"], name="one_policy_for_each_feature"),
            models.CheckConstraint(
                condition=Q(threshold__isnull=True) | Q(threshold__gte=0), name="feature_threshold_is_not_negative"
            ),
            models.CheckConstraint(condition=Q(method__in=list(METHOD_LABELS)), name="feature_method_is_known"),
        ]

    def __str__(self) -> str:
        return self.feature_name


class CheckStatus(models.TextChoices):
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class DriftCheck(models.Model):
    """One comparison of a version's current window with its reference.

    ``window_end`` is the id of the window's last stream entry; a version has one check with one window end for each
    edition of the verdict's rule. The columns of the result are those that lists, gauges and charts query; ``result``
    holds all of it except the features, which are the rows of `FeatureDrift`. A backfilled check is made later over
    archived rows: it belongs to the history and says nothing about the present.
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
    n_compared = models.PositiveIntegerField(default=0)
    n_not_compared = models.PositiveIntegerField(
        default=0, help_text="Features that could not be compared, and the predictions if they could not."
    )
    n_drifted_features = models.PositiveIntegerField(default=0)
    n_confirmed_features = models.PositiveIntegerField(default=0)
    n_confirmed_correlations = models.PositiveIntegerField(
        default=0, help_text="Pairs of features whose correlation the verdict's alarm lists."
    )
    prediction_js_divergence = models.FloatField(null=True)
    prediction_threshold = models.FloatField(null=True)
    prediction_is_drifted = models.BooleanField(default=False)
    prediction_is_confirmed = models.BooleanField(
        default=False, help_text="Whether the verdict's alarm lists the predictions."
    )
    verdict_status = models.CharField(max_length=32, choices=choices_of(VerdictStatus), blank=True)
    result = ResultField(ComparisonResult, null=True, help_text="The result without the features.")
    is_backfilled = models.BooleanField(default=False)
    rule_edition = models.PositiveSmallIntegerField(
        default=RULE_EDITION, help_text="Edition of the verdict's rule. Each edition checks a window once."
    )
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
            models.UniqueConstraint(
                fields=["version", "window_end", "rule_edition"], name="an_edition_checks_a_window_once"
            ),
            models.CheckConstraint(condition=Q(status__in=CheckStatus.values), name="drift_check_status_is_known"),
            models.CheckConstraint(
                condition=Q(status=CheckStatus.FAILED, error_message__gt="")
                | Q(status=CheckStatus.SUCCEEDED, error_message=""),
                name="only_a_failed_check_has_an_error",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.version} at {self.created_at:%Y-%m-%d %H:%M:%S}"

    def succeed(self, result: ComparisonResult) -> "list[FeatureDrift]":
        """Set the columns of a result, and return the unsaved rows of its features."""
        self.status, self.result = CheckStatus.SUCCEEDED, replace(result, features=())
        self.n_reference, self.n_current, self.n_features = result.n_reference, result.n_current, len(result.features)
        coverage = result.coverage
        self.n_compared, self.n_not_compared = coverage.compared, len(coverage.not_compared)
        self.n_drifted_features = sum(feature.is_drifted for feature in result.features)
        self.n_confirmed_features = sum(feature.is_confirmed for feature in result.features)
        self.prediction_js_divergence = result.prediction.js_divergence
        self.prediction_threshold = result.prediction.threshold
        self.prediction_is_drifted = result.prediction.is_drifted
        self.prediction_is_confirmed = bool(result.prediction.verdict and result.prediction.verdict.is_listed)
        self.n_confirmed_correlations = sum(pair.is_listed for pair in result.correlations or ())
        self.verdict_status = result.verdict.status
        return [FeatureDrift.of(self, feature) for feature in result.features]

    @property
    def comparison(self) -> ComparisonResult:
        """The whole result of a succeeded check, with the rows of its features."""
        result: ComparisonResult = self.result
        return replace(result, features=tuple(row.result for row in self.features.all()))


class FeatureDrift(models.Model):
    """The result of one check for one feature; the columns are those that lists, gauges and charts query."""

    check_run = models.ForeignKey(DriftCheck, on_delete=models.CASCADE, related_name="features")
    feature_name = models.CharField(max_length=128)
    status = models.CharField(max_length=32, choices=choices_of(ResultStatus))
    score = models.FloatField(null=True)
    threshold = models.FloatField()
    is_drifted = models.BooleanField(default=False)
    is_confirmed = models.BooleanField(default=False, help_text="Whether the verdict's alarm lists the feature.")
    missing_share = models.FloatField(null=True, help_text="Share of the window's rows without a value.")
    result = ResultField(FeatureResult)

    class Meta:
        ordering = ["check_run", "id"]
        constraints = [
            models.UniqueConstraint(fields=["check_run", "feature_name"], name="one_result_for_each_feature"),
            models.CheckConstraint(
                condition=Q(status__in=list(choices_of(ResultStatus))), name="feature_status_is_known"
            ),
            models.CheckConstraint(
                condition=Q(is_drifted=False) | Q(score__isnull=False), name="a_drifted_feature_has_a_score"
            ),
        ]

    def __str__(self) -> str:
        return self.feature_name

    @classmethod
    def of(cls, check: DriftCheck, result: FeatureResult) -> Self:
        """Return the unsaved row of a result."""
        rows = result.n_current + result.n_missing_current  # 0 if it was not compared
        return cls(
            check_run=check,
            feature_name=result.name,
            status=result.status,
            score=result.score,
            threshold=result.threshold,
            is_drifted=result.is_drifted,
            is_confirmed=result.is_confirmed,
            missing_share=result.n_missing_current / rows if rows else None,
            result=result,
        )


class ClosingReason(models.TextChoices):
    QUIET = "quiet", "three quiet windows in a row"
    BY_HAND = "by_hand", "closed by hand"
    NEW_REFERENCE = "new_reference", "another reference became active"
    ARCHIVED = "archived", "its version was archived"


class DriftIncident(models.Model):
    """An alarm, from the check that raised it until it closes. Later checks that raise it again belong to it.

    ``hypotheses`` are strongest first, each as it was when it was strongest.
    """

    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="drift_incidents")
    opened_by = models.ForeignKey(DriftCheck, on_delete=models.CASCADE, related_name="opened_incidents")
    last_check = models.ForeignKey(DriftCheck, on_delete=models.CASCADE, related_name="+")
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)
    closing_reason = models.CharField(max_length=16, choices=ClosingReason, blank=True)
    hypotheses = ResultField(tuple[HypothesisResult, ...], default=tuple)
    alarms = models.PositiveIntegerField(default=1, help_text="Checks that raised the alarm.")
    quiet_windows = models.PositiveIntegerField(default=0)
    counted_rows = models.PositiveBigIntegerField(help_text="Rows seen at the end of the last window that counted.")
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

    @property
    def subjects(self) -> list[str]:
        """What drifted, strongest first, each name once."""
        return list(dict.fromkeys(found.subject for found in self.hypotheses))

    @property
    def is_open(self) -> bool:
        """Whether the incident is not closed yet."""
        return self.closed_at is None
