"""The form that plans a rollout: what it stores, and beside which field it shows an error."""

from typing import Any

import pytest
import redis
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from accounts.models import ChangeRecord
from mlmon.schema import FeatureKind
from models_registry.models import ModelVersion
from models_registry.services.versions import FeatureEdit, edit_features, promote
from rollouts.models import Rollout, State
from rollouts.plan import DEFAULT_GUARDRAILS, DEFAULT_STEPS, Guardrail, Kind, Measure, Step
from tests.factories import IRIS_FEATURES, uploaded_version
from tests.rollouts.rollout_cases import two_versions

pytestmark = pytest.mark.django_db

URL = reverse("admin:rollouts_rollout_add")
LABELS = {"guards_wrong_predictions": "on", "minimum_labels": "100"}


@pytest.fixture
def versions(redis_client: redis.Redis) -> tuple[ModelVersion, ModelVersion]:
    return two_versions()


def filled(client: Client, challenger: ModelVersion, /, **changed: str) -> dict[str, str]:
    """Return what a browser sends when a person chooses a challenger and changes some fields; "" leaves one out."""
    form = client.get(URL).context["adminform"].form
    sent = {}
    for name, field in form.fields.items():
        value = form[name].value()
        if value is True:
            sent[name] = "on"
        elif value not in (None, False):
            sent[name] = str(field.prepare_value(value))
    sent |= {"challenger": str(challenger.pk)} | changed
    return {name: value for name, value in sent.items() if value}


def errors(response: Any) -> dict[str, list[str]]:
    assert response.status_code == 200
    form = response.context["adminform"].form
    shown = {name: list(map(str, found)) for name, found in form.errors.items()}
    page = response.content.decode()
    assert all(name in form.fields and f'id="id_{name}"' in page for name in shown)
    return shown


def test_the_form_as_it_is_plans_the_defaults(
    admin_client: Client, versions: tuple[ModelVersion, ModelVersion]
) -> None:
    response = admin_client.post(URL, filled(admin_client, versions[1]))
    rollout = Rollout.objects.get()
    assert response.status_code == 302
    page = reverse("admin:rollouts_rollout_change", args=[rollout.pk])
    assert response["Location"] == page
    assert (rollout.champion, rollout.challenger) == versions
    assert (rollout.kind, rollout.state, rollout.alpha) == (Kind.CANARY, State.DRAFT, 0.01)
    assert (tuple(rollout.steps), tuple(rollout.guardrails)) == (DEFAULT_STEPS, DEFAULT_GUARDRAILS)
    assert not rollout.promotes_automatically
    assert rollout.created_by is not None
    records = ChangeRecord.objects.filter(row_type="rollouts.rollout")
    assert [(one.actor, one.message) for one in records] == [("admin", "Planned: iris 1.1.0 against iris 1.0.0.")]
    assert "Nothing changes until you start it." in admin_client.get(page).content.decode()


def test_each_step_can_have_its_own_numbers(admin_client: Client, versions: tuple[ModelVersion, ModelVersion]) -> None:
    changed = {
        "shares": "1, 12.5%, 50",
        "minimum_requests": "100,200, 300",
        "minimum_seconds": "0",
        "minimum_labels": "0, 0, 40",
        "guards_errors": "",
        "guards_wrong_predictions": "on",
        "latency_limit": "0.25",
        "alpha": "0.05",
        "promotes_automatically": "on",
    }
    assert admin_client.post(URL, filled(admin_client, versions[1], **changed)).status_code == 302
    rollout = Rollout.objects.get()
    assert list(rollout.steps) == [Step(0.01, 100, 0, 0), Step(0.125, 200, 0, 0), Step(0.5, 300, 0, 40)]
    assert list(rollout.guardrails) == [Guardrail(Measure.LATENCY, 0.25), Guardrail(Measure.WRONG_PREDICTIONS)]
    assert (rollout.alpha, rollout.promotes_automatically) == (0.05, True)


def test_a_shadow_has_one_step(admin_client: Client, versions: tuple[ModelVersion, ModelVersion]) -> None:
    changed = {"kind": "shadow", "guards_errors": "", **LABELS}
    assert admin_client.post(URL, filled(admin_client, versions[1], **changed)).status_code == 302
    assert list(Rollout.objects.get().steps) == [Step(1.0, minimum_labels=100)]


@pytest.mark.parametrize(
    ("changed", "field", "reason"),
    [
        ({"challenger": ""}, "challenger", "This field is required."),
        ({"challenger": "0"}, "challenger", "not one of the available choices"),
        ({"kind": "ab"}, "kind", "not one of the available choices"),
        ({"shares": ""}, "shares", "Expected 1 to 20 steps, got 0."),
        ({"shares": "5, ten"}, "shares", 'Expected numbers, separated by commas, got "ten".'),
        ({"shares": "nan"}, "shares", 'Expected numbers, separated by commas, got "nan".'),
        ({"shares": "5, 5"}, "shares", "Step 2: Each step must have a larger share than the one before."),
        ({"shares": "5, 95"}, "shares", "Step 2: Expected a share from 0.001 to 0.9, got 0.95."),
        ({"shares": ", ".join(map(str, range(1, 22)))}, "shares", "Expected a list of at most 20 objects."),
        ({"minimum_requests": "1.5"}, "minimum_requests", 'Expected whole numbers, separated by commas, got "1.5".'),
        ({"minimum_requests": "1, 2"}, "minimum_requests", "Expected one number, or 4: one for each step, got 2."),
        ({"minimum_requests": "9, 9, 0, 9"}, "minimum_requests", "Step 3: Expected 1 to 1,000,000,000, got 0."),
        ({"minimum_seconds": "-1"}, "minimum_seconds", "Step 1: Expected 0 to 31,536,000, got -1."),
        ({"minimum_labels": "5"}, "minimum_labels", "Step 1: Labels are counted only for a guardrail that needs them."),
        ({"guards_wrong_predictions": "on"}, "minimum_labels", "Step 4: The last step must wait for labels"),
        ({"guards_errors": ""}, "guards_errors", "At least one guardrail is required"),
        ({"latency_limit": "0"}, "latency_limit", "latency needs a limit above 0."),
        ({"latency_limit": "9999"}, "latency_limit", "At most 3600 seconds."),
        ({"latency_limit": "fast"}, "latency_limit", "Enter a number."),
        ({"absolute_error_limit": "1"}, "absolute_error_limit", "Only a regression has absolute errors."),
        ({"kind": "shadow"}, "guards_errors", "Only requests that the champion predicted are copied to a shadow"),
        ({"kind": "shadow", "minimum_labels": "1, 2"}, "minimum_labels", "Expected one number, got 2."),
        ({"alpha": "0.5"}, "alpha", "Expected a number from 1e-06 to 0.2, got 0.5."),
    ],
)
def test_each_error_is_beside_its_field(
    admin_client: Client,
    versions: tuple[ModelVersion, ModelVersion],
    changed: dict[str, str],
    field: str,
    reason: str,
) -> None:
    shown = errors(admin_client.post(URL, filled(admin_client, versions[1], **changed)))
    assert list(shown) == [field]
    assert reason in shown[field][0]
    assert not Rollout.objects.exists()


def test_impossible_challengers_are_refused(admin_client: Client, versions: tuple[ModelVersion, ModelVersion]) -> None:
    shown = errors(admin_client.post(URL, filled(admin_client, versions[0])))
    assert shown == {"challenger": ["iris 1.0.0 is the champion. Choose another version."]}
    alone = uploaded_version("alone", production=False)
    assert "has no version in production. Promote one first." in str(
        errors(admin_client.post(URL, filled(admin_client, alone)))
    )
    promote(version=alone)  # the advice
    other = uploaded_version("alone", "1.1.0", production=False)
    assert admin_client.post(URL, filled(admin_client, other)).status_code == 302


def test_a_challenger_that_requires_more_is_refused_until_its_features_are_optional(
    admin_client: Client, redis_client: redis.Redis
) -> None:
    uploaded_version("iris", optional=IRIS_FEATURES[:2])
    challenger = uploaded_version("iris", "1.1.0", production=False)
    shown = errors(admin_client.post(URL, filled(admin_client, challenger)))
    assert shown == {
        "challenger": [
            f"iris 1.1.0 requires {', '.join(IRIS_FEATURES[:2])}, which iris 1.0.0 does not. Make them optional on the "
            "page of iris 1.1.0."
        ]
    }
    edits = {place: FeatureEdit(IRIS_FEATURES[place], FeatureKind.NUMERIC, is_required=False) for place in (0, 1)}
    edit_features(version=challenger, edits=edits)
    assert admin_client.post(URL, filled(admin_client, challenger)).status_code == 302


def test_others_may_not_plan(client: Client, versions: tuple[ModelVersion, ModelVersion]) -> None:
    client.force_login(User.objects.create_user("viewer", is_staff=True))
    assert client.get(URL).status_code == 403
    assert client.post(URL, {"challenger": str(versions[1].pk)}).status_code == 403
    assert not Rollout.objects.exists()
