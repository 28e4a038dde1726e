"""The form with which a person plans a rollout."""

import math
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from accounts.admin.base import ServiceForm
from accounts.admin.page_parts import ListField
from models_registry.models import ModelVersion, Stage
from rollouts.exceptions import PlanError
from rollouts.models import Rollout
from rollouts.plan import DEFAULT_ALPHA, DEFAULT_STEPS, LARGEST_NUMBER, Kind, Measure, plan_of
from rollouts.services.lifecycle import plan_rollout

LONGEST_LIST = 300  # characters
FOR_EACH = "One number for all steps, or one for each."
MINIMUMS = ("minimum_requests", "minimum_seconds", "minimum_labels")
FIELD_OF_MEASURE = {
    Measure.ERRORS: "guards_errors",
    Measure.LATENCY: "latency_limit",
    Measure.WRONG_PREDICTIONS: "guards_wrong_predictions",
    Measure.ABSOLUTE_ERROR: "absolute_error_limit",
}


class NumbersField(ListField):
    """Numbers, separated by commas."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=LONGEST_LIST, widget=UnfoldAdminTextInputWidget(), **options)

    def clean(self, value: Any) -> list[float]:
        return [self.number_of(part.strip()) for part in super().clean(value).split(",") if part.strip()]

    def number_of(self, text: str) -> float:
        """Return the number that a part of the text is; raise ValidationError if it is none."""
        try:
            number = float(text.removesuffix("%"))
        except ValueError:
            number = math.nan
        if not abs(number) <= LARGEST_NUMBER:
            raise ValidationError(f'Expected numbers, separated by commas, got "{text}".')
        return number


class CountsField(NumbersField):
    """Whole numbers, separated by commas."""

    def number_of(self, text: str) -> int:
        number = super().number_of(text)
        if not number.is_integer():
            raise ValidationError(f'Expected whole numbers, separated by commas, got "{text}".')
        return int(number)


def _switch(label: str, help_text: str, *, initial: bool = False) -> forms.BooleanField:
    widget = UnfoldBooleanSwitchWidget()
    return forms.BooleanField(label=label, required=False, initial=initial, widget=widget, help_text=help_text)


def _number(label: str, help_text: str, *, initial: float | None = None) -> forms.FloatField:
    """Return the field of a number; it may stay empty if it has no initial value."""
    widget = UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal"})
    return forms.FloatField(
        label=label, required=initial is not None, initial=initial, widget=widget, help_text=help_text
    )


class RolloutPlanForm(ServiceForm):
    """Plan a rollout; the service checks it as part of the validation, so that its error appears beside the field."""

    challenger = forms.ModelChoiceField(
        queryset=ModelVersion.objects.none(),
        widget=UnfoldAdminSelectWidget(),
        help_text="It is compared with the version of its model that is in production.",
    )
    kind = forms.ChoiceField(
        choices=[(Kind.CANARY.value, "Canary"), (Kind.SHADOW.value, "Shadow")],
        initial=Kind.CANARY.value,
        widget=UnfoldAdminSelectWidget(),
        help_text="A canary predicts a share of the requests; a shadow gets copies, whose predictions nobody receives.",
    )
    shares = NumbersField(
        label="Shares, in percent",
        required=False,
        initial=[f"{100 * step.share:g}" for step in DEFAULT_STEPS],
        help_text="Of the requests, for each step. A shadow has one step, whatever is here.",
    )
    minimum_requests = CountsField(
        initial=[DEFAULT_STEPS[0].minimum_requests],
        help_text=f"Requests that the challenger must have before the next step. {FOR_EACH}",
    )
    minimum_seconds = CountsField(
        label="Minimum time, in seconds",
        initial=[DEFAULT_STEPS[0].minimum_seconds],
        help_text=f"How long a step lasts at least. {FOR_EACH}",
    )
    minimum_labels = CountsField(
        initial=[DEFAULT_STEPS[0].minimum_labels],
        help_text="Predictions of the challenger that must have ground truth before the next step, if a guardrail "
        f"needs labels. {FOR_EACH}",
    )
    guards_errors = _switch("Errors", "Requests without a prediction. Not for a shadow.", initial=True)
    latency_limit = _number("Latency over", "Seconds. If empty, latency is no guardrail. Not for a shadow.")
    guards_wrong_predictions = _switch("Wrong predictions", "Of another class than the ground truth. Needs labels.")
    absolute_error_limit = _number(
        "Absolute error over", "In units of the target of a regression. If empty, it is no guardrail. Needs labels."
    )
    alpha = _number("Probability of a false rollback", "At most, over the whole rollout.", initial=DEFAULT_ALPHA)
    promotes_automatically = _switch(
        "Promote automatically",
        "After the last step. Otherwise, the challenger keeps its share until a person promotes it.",
    )

    class Meta:
        model = Rollout
        fields: list[str] = []

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        versions = ModelVersion.objects.exclude(stage=Stage.ARCHIVED).select_related("model")
        self.fields["challenger"].queryset = versions.order_by("model__name", "-pk")  # type: ignore[attr-defined]

    def _post_clean(self) -> None:
        """Plan in place of the validation of a row, which the service creates."""
        if self.errors:
            return
        data = self.cleaned_data
        challenger: ModelVersion = data["challenger"]
        # A limit of 0 is not False: it is refused.
        measures = [one for one, name in FIELD_OF_MEASURE.items() if data[name] is not None and data[name] is not False]
        try:
            document = {
                "challenger": challenger.version,
                "kind": data["kind"],
                "steps": self._steps(),
                "guardrails": [
                    {"measure": one.value} | ({"limit": data[FIELD_OF_MEASURE[one]]} if one.has_limit else {})
                    for one in measures
                ],
                "alpha": data["alpha"],
                "promotes_automatically": data["promotes_automatically"],
            }
            self.created = plan_rollout(model=challenger.model, plan=plan_of(document), user=self.user)
        except PlanError as error:
            name, place, member = _parts(error.field)
            if name == "steps":
                reason = error.reason if place is None else f"Step {place + 1}: {error.reason}"
                self.add_error(member if member in MINIMUMS else "shares", reason)
            elif name == "guardrails":
                self.add_error(
                    FIELD_OF_MEASURE[measures[place]] if place is not None else "guards_errors", error.reason
                )
            else:
                self.add_error(name, error.reason)

    def _steps(self) -> list[dict[str, float]]:
        """Return the steps of the document; raise PlanError if the lists have different lengths."""
        data = self.cleaned_data
        shares = [1.0] if data["kind"] == Kind.SHADOW else [round(one / 100, 9) for one in data["shares"]]
        steps: list[dict[str, float]] = [{"share": share} for share in shares]
        for name in MINIMUMS:
            values = data[name]
            if len(values) not in (1, len(steps)):
                expected = "one number" if len(steps) == 1 else f"one number, or {len(steps)}: one for each step"
                raise PlanError(f"steps.{name}", f"Expected {expected}, got {len(values)}.")
            for place, step in enumerate(steps):
                step[name] = values[place % len(values)]
        return steps


def _parts(field: str) -> tuple[str, int | None, str]:
    """Return the list, the place and the member that the field of a plan's error names: `steps[0].share`."""
    path, _, member = field.partition(".")
    name, _, place = path.partition("[")
    return name, int(place[:-1]) if place else None, member
