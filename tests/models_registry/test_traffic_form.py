"""The page on which a person shares out a model's traffic."""

import pytest
import redis
from django.test import Client
from django.urls import reverse

from accounts.models import ChangeRecord
from models_registry.models import Model, ModelVersion, Stage
from models_registry.services.external_versions import register_external_version
from models_registry.services.versions import register_model, set_stage
from rollouts.models import State
from rollouts.services.controller import control_rollout
from tests.factories import uploaded_version
from tests.rollouts.rollout_cases import running

pytestmark = pytest.mark.django_db


@pytest.fixture
def versions(redis_client: redis.Redis) -> tuple[ModelVersion, ModelVersion]:
    return uploaded_version("iris"), uploaded_version("iris", "1.1.0", production=False)


def page_of(model: Model) -> str:
    return reverse("admin:models_registry_model_share_out_traffic", args=[model.pk])


def sent(versions: tuple[ModelVersion, ...], *weights: object) -> dict[str, object]:
    return {f"version_{one.pk}": weight for one, weight in zip(versions, weights, strict=True)}


def stored(versions: tuple[ModelVersion, ...]) -> list[tuple[str, int]]:
    for one in versions:
        one.refresh_from_db()
    return [(one.stage, one.traffic_weight) for one in versions]


def test_weights_share_out_the_traffic_and_0_ends_it(
    admin_client: Client, versions: tuple[ModelVersion, ModelVersion]
) -> None:
    page = page_of(versions[0].model)
    assert "Now in production, 100.0% of the requests." in admin_client.get(page).content.decode()
    followed = admin_client.post(page, sent(versions, 2, 1), follow=True)
    assert "Of the requests for iris, 1.0.0 gets 66.7%, 1.1.0 gets 33.3%." in followed.content.decode()
    assert stored(versions) == [(Stage.PRODUCTION, 2), (Stage.PRODUCTION, 1)]
    assert admin_client.post(page, sent(versions, 0, 1)).status_code == 302
    assert stored(versions) == [(Stage.STAGING, 0), (Stage.PRODUCTION, 1)]
    records = ChangeRecord.objects.filter(actor="admin", row_type="models_registry.modelversion").order_by("id")
    assert [one.message for one in records] == [
        "Stage changed from production, weight 100 to production, weight 2.",
        "Stage changed from staging, weight 0 to production, weight 1.",
        "Stage changed from production, weight 2 to staging, weight 0.",
    ]


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        ((0, 0), "No version of iris would get requests. Give one a weight"),
        ((-1, 1), "greater than or equal to 0"),
        ((1, 32_768), "less than or equal to 32767"),
        (("much", 1), "Enter a whole number."),
        (("", 1), "This field is required."),
    ],
)
def test_impossible_weights_change_nothing(
    admin_client: Client, versions: tuple[ModelVersion, ModelVersion], weights: tuple[object, object], reason: str
) -> None:
    response = admin_client.post(page_of(versions[0].model), sent(versions, *weights))
    assert response.status_code == 200
    assert reason in response.content.decode()
    assert stored(versions) == [(Stage.PRODUCTION, 100), (Stage.STAGING, 0)]


def test_only_versions_that_can_have_requests_are_offered(
    admin_client: Client, versions: tuple[ModelVersion, ModelVersion]
) -> None:
    shadow, archived = (uploaded_version("iris", number, production=False) for number in ("2.0.0", "3.0.0"))
    set_stage(version=shadow, stage=Stage.SHADOW)
    set_stage(version=archived, stage=Stage.ARCHIVED)
    fields = admin_client.get(page_of(versions[0].model)).context["adminform"].form.fields
    assert [one.label for one in fields.values()] == ["Weight of 1.0.0", "Weight of 1.1.0"]
    elsewhere = register_model(name="elsewhere")
    document = {"task": "regression", "features": [{"name": "x", "type": "number"}]}
    register_external_version(model=elsewhere, version="1.0.0", document=document)
    assert "No version of this model can get requests" in admin_client.get(page_of(elsewhere)).content.decode()


def test_a_running_rollout_pauses(admin_client: Client, versions: tuple[ModelVersion, ModelVersion]) -> None:
    rollout = running(*versions)
    assert admin_client.post(page_of(rollout.model), sent(versions, 1, 1)).status_code == 302
    control_rollout(rollout_id=rollout.pk)
    rollout.refresh_from_db()
    assert rollout.state == State.PAUSED
    assert stored(versions) == [(Stage.PRODUCTION, 1), (Stage.PRODUCTION, 1)]
