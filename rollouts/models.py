"""Rollouts, their counts by interval, the units that were counted, and the incidents of rollbacks."""

from datetime import datetime, timedelta

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from drift.result_field import ResultField
from inference.models import NO_ENTRY
from models_registry.models import Model, ModelVersion
from rollouts.plan import (
    LARGEST_ALPHA,
    MOST_STEPS,
    SMALLEST_ALPHA,
    TOTAL_WEIGHT,
    Guardrail,
    Kind,
    Measure,
    Step,
)

LONGEST_REASON = 1000
# By the age of a rollout: the length of the intervals in which its events are counted. 30 days have about 950 of them.
INTERVAL_LENGTHS = (
    (timedelta(hours=2), timedelta(minutes=1)),
    (timedelta(days=1), timedelta(minutes=10)),
    (timedelta.max, timedelta(hours=1)),
)


class State(models.TextChoices):
    DRAFT = "draft"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    ROLLED_BACK = "rolled_back", "rolled back"
    CANCELLED = "cancelled"


ACTIVE_STATES = (State.RUNNING, State.PAUSED)
ENDED_STATES = (State.SUCCEEDED, State.ROLLED_BACK, State.CANCELLED)
EXPLAINED_STATES = (State.PAUSED, *ENDED_STATES)


def choices_of(values: type[Kind] | type[Measure]) -> list[tuple[str, str]]:
    """Return an enumeration of the plan as choices of a field."""
    return [(one.value, one.value.replace("_", " ")) for one in values]


class Rollout(models.Model):
    """One challenger on its way through the steps of a plan.

    A running rollout is judged and advances. A paused one keeps its share and is still judged, but does not advance.
    """

    model = models.ForeignKey(Model, on_delete=models.CASCADE, related_name="rollouts")
    champion = models.ForeignKey(ModelVersion, on_delete=models.RESTRICT, related_name="+")
    challenger = models.ForeignKey(ModelVersion, on_delete=models.RESTRICT, related_name="+")
    kind = models.CharField(max_length=8, choices=choices_of(Kind), default=Kind.CANARY.value)
    steps = ResultField(tuple[Step, ...])
    guardrails = ResultField(tuple[Guardrail, ...])
    alpha = models.FloatField(
        default=0.01,
        validators=[MinValueValidator(SMALLEST_ALPHA), MaxValueValidator(LARGEST_ALPHA)],
        help_text="Largest probability that a challenger that is no worse is rolled back.",
    )
    promotes_automatically = models.BooleanField(
        default=False, help_text="Promote the challenger after the last step, without a person."
    )
    state = models.CharField(max_length=16, choices=State, default=State.DRAFT)
    step_index = models.PositiveSmallIntegerField(default=0)
    challenger_weight = models.PositiveSmallIntegerField(
        default=0, help_text="Traffic weight that the rollout gave the challenger, of 1,000; 0: none yet."
    )
    is_live = models.BooleanField(default=False, help_text="Whether the challenger gets requests, or copies of them.")
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, editable=False)
    started_at = models.DateTimeField(null=True)
    step_started_at = models.DateTimeField(null=True, help_text="When the current step began.")
    ended_at = models.DateTimeField(null=True)
    reason = models.CharField(max_length=LONGEST_REASON, blank=True, help_text="Why it is paused or has ended.")
    waiting_for = models.CharField(max_length=LONGEST_REASON, blank=True, help_text="What the current step waits for.")
    stream_position = models.CharField(
        max_length=64, default=NO_ENTRY, help_text="Id of the last entry of its stream that was counted."
    )
    labels_counted_until = models.DateTimeField(null=True, help_text="Latest change of ground truth that was counted.")
    evidence = ResultField(
        tuple[tuple[Measure, float], ...], default=tuple, help_text="Latest log10 evidence of each guardrail."
    )
    judged_at = models.DateTimeField(null=True)
    dropped_copies = models.PositiveBigIntegerField(
        default=0, help_text="Copies that the shadow did not predict, because it fell behind."
    )
    failed_copies = models.PositiveBigIntegerField(default=0, help_text="Copies for which the shadow failed.")
    compared_rows = models.PositiveBigIntegerField(
        default=0, help_text="Rows of which the predictions of both versions were compared."
    )
    different_rows = models.PositiveBigIntegerField(default=0, help_text="Rows in which the predictions differ.")

    class Meta:
        ordering = ["-id"]
        get_latest_by = "id"
        constraints = [
            models.UniqueConstraint(
                fields=["model"], condition=Q(state__in=ACTIVE_STATES), name="one_active_rollout_for_each_model"
            ),
            models.CheckConstraint(condition=~Q(champion=F("challenger")), name="rollout_has_two_versions"),
            models.CheckConstraint(condition=Q(state__in=State.values), name="rollout_state_is_known"),
            models.CheckConstraint(condition=Q(kind__in=[one.value for one in Kind]), name="rollout_kind_is_known"),
            models.CheckConstraint(
                condition=Q(alpha__range=(SMALLEST_ALPHA, LARGEST_ALPHA)), name="rollout_alpha_is_a_small_probability"
            ),
            models.CheckConstraint(
                condition=Q(state=State.DRAFT, started_at=None, step_started_at=None)
                | Q(state=State.CANCELLED)
                | (~Q(state=State.DRAFT) & Q(started_at__isnull=False, step_started_at__isnull=False)),
                name="only_a_draft_has_not_started",
            ),
            models.CheckConstraint(
                condition=Q(state__in=ENDED_STATES, ended_at__isnull=False)
                | (~Q(state__in=ENDED_STATES) & Q(ended_at=None)),
                name="only_an_ended_rollout_has_an_end",
            ),
            models.CheckConstraint(
                condition=(Q(state__in=EXPLAINED_STATES) & ~Q(reason="")) | ~Q(state__in=EXPLAINED_STATES),
                name="a_paused_or_ended_rollout_has_a_reason",
            ),
            models.CheckConstraint(
                condition=Q(challenger_weight__lt=TOTAL_WEIGHT) & Q(step_index__lt=MOST_STEPS),
                name="rollout_share_and_step_are_in_range",
            ),
            models.CheckConstraint(
                condition=Q(is_live=False) | Q(state__in=ACTIVE_STATES) | Q(state=State.SUCCEEDED),
                name="a_rolled_back_challenger_gets_no_requests",
            ),
            models.CheckConstraint(
                condition=Q(different_rows__lte=F("compared_rows")), name="no_more_rows_differ_than_were_compared"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.challenger}"

    @property
    def is_active(self) -> bool:
        """Whether it is running or paused."""
        return self.state in ACTIVE_STATES

    @property
    def is_shadow(self) -> bool:
        """Whether the challenger gets copies of requests."""
        return self.kind == Kind.SHADOW

    @property
    def step(self) -> Step:
        """The current step."""
        steps: tuple[Step, ...] = self.steps
        return steps[self.step_index]

    @property
    def latency_limit_seconds(self) -> float | None:
        """Limit of the latency guardrail; None without one."""
        guardrails: tuple[Guardrail, ...] = self.guardrails
        return next((one.limit for one in guardrails if one.measure is Measure.LATENCY), None)

    @property
    def overdue_seconds(self) -> float | None:
        """How long a running rollout has stayed in its step after the minimum time; None if it is not running."""
        if self.state != State.RUNNING or self.step_started_at is None:
            return None
        lasted = timezone.now() - self.step_started_at
        return max(0.0, lasted.total_seconds() - self.step.minimum_seconds)

    @property
    def has_open_incident(self) -> bool:
        """Whether it was rolled back automatically, and nobody has acknowledged that."""
        incident: RolloutIncident | None = getattr(self, "incident", None)
        return incident is not None and incident.closed_at is None

    @property
    def disagreement_ratio(self) -> float | None:
        """Share of the compared rows in which a shadow predicts another class; None without any."""
        return self.different_rows / self.compared_rows if self.compared_rows else None

    def interval_of(self, time: datetime) -> tuple[datetime, datetime]:
        """Return the start and the end of the interval that contains a time, which may be shortly before the start."""
        origin = self.started_at or self.created_at
        age = time - origin
        length = next(length for limit, length in INTERVAL_LENGTHS if age < limit)
        start = origin + (age // length) * length
        return start, start + length


class RolloutInterval(models.Model):
    """Events of one measure in an interval in which the shares did not change.

    The shares are those by which the requests were routed, not those that the plan intended.
    """

    rollout = models.ForeignKey(Rollout, on_delete=models.CASCADE, related_name="intervals")
    measure = models.CharField(max_length=20, choices=choices_of(Measure))
    champion_weight = models.PositiveIntegerField()
    challenger_weight = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    champion_units = models.PositiveBigIntegerField(
        default=0, help_text="Requests, or labelled predictions, of the champion."
    )
    challenger_units = models.PositiveBigIntegerField(default=0)
    champion_events = models.PositiveBigIntegerField(default=0, help_text="One for each request or routing key.")
    challenger_events = models.PositiveBigIntegerField(default=0)

    class Meta:
        ordering = ["rollout", "started_at", "challenger_weight"]
        constraints = [
            models.UniqueConstraint(
                fields=["rollout", "measure", "champion_weight", "challenger_weight", "started_at"],
                name="rollout_interval_is_unique",
            ),
            models.CheckConstraint(
                condition=Q(measure__in=[one.value for one in Measure]), name="rollout_measure_is_known"
            ),
            models.CheckConstraint(
                condition=Q(champion_weight__gt=0, challenger_weight__gt=0), name="rollout_weights_are_positive"
            ),
            models.CheckConstraint(
                condition=Q(champion_events__lte=F("champion_units")) & Q(challenger_events__lte=F("challenger_units")),
                name="rollout_events_are_at_most_the_units",
            ),
            models.CheckConstraint(condition=Q(started_at__lt=F("ended_at")), name="rollout_interval_has_an_order"),
        ]

    def __str__(self) -> str:
        return f"{self.measure} from {self.started_at:%Y-%m-%d %H:%M}"


class CountedUnit(models.Model):
    """A unit that counts once in a rollout: a routing key or request with an event, or a label.

    The digest has 64 bits, so two of a million units share one with a probability of 3e-8. Rows are deleted when the
    rollout has ended.
    """

    rollout = models.ForeignKey(Rollout, on_delete=models.CASCADE, related_name="counted_units")
    what = models.CharField(max_length=20, help_text="A measure, or label.")
    digest = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["rollout", "what", "digest"], name="a_unit_counts_once"),
        ]

    def __str__(self) -> str:
        return f"{self.what} {self.digest}"


class RolloutIncident(models.Model):
    """An automatic rollback, with its evidence, until a person acknowledges it or the next rollout starts."""

    rollout = models.OneToOneField(Rollout, on_delete=models.CASCADE, related_name="incident")
    measure = models.CharField(max_length=20, choices=choices_of(Measure))
    log10_evidence = models.FloatField()
    log10_limit = models.FloatField()
    champion_units = models.PositiveBigIntegerField()
    challenger_units = models.PositiveBigIntegerField()
    champion_events = models.PositiveBigIntegerField()
    challenger_events = models.PositiveBigIntegerField()
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)
    acknowledged_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(log10_evidence__gte=F("log10_limit")), name="rollout_incident_has_enough_evidence"
            ),
            models.CheckConstraint(
                condition=Q(measure__in=[one.value for one in Measure]), name="rollout_incident_measure_is_known"
            ),
        ]

    def __str__(self) -> str:
        return f"rollback of {self.rollout.challenger} at {self.opened_at:%Y-%m-%d %H:%M}"

    @property
    def text(self) -> str:
        """The evidence in a sentence."""
        return (
            f"{self.measure.replace('_', ' ').capitalize()}: {self.challenger_events:,} events in "
            f"{self.challenger_units:,} of the challenger, {self.champion_events:,} in {self.champion_units:,} of the "
            f"champion. The evidence against equality is 10^{self.log10_evidence:.2f}, the limit "
            f"10^{self.log10_limit:.2f}."
        )
