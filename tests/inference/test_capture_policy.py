"""Capture policies, from the request to the drift check."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from prometheus_client import REGISTRY
from pytest_django.fixtures import Settings
from scipy.stats import binom

from accounts.models import ChangeRecord
from drift.services.checks import run_drift_check
from drift.services.latest import latest_drift
from inference import stream
from inference.models import CapturePolicy
from inference.prediction_ids import new_prediction_ids, sampled
from inference.services import prediction
from inference.services.capture_policies import remove_capture_policy, save_capture_policy
from inference.serving import serving
from models_registry.models import Model, ModelVersion, Stage
from models_registry.services.versions import set_stage
from tests.factories import uploaded_version
from tests.mlmon.observed import iris_rows, profiled_reference
from tests.services.processes import await_condition

pytestmark = pytest.mark.django_db

FEATURES = {"sepal_length", "sepal_width", "petal_length", "petal_width"}
POLICIES = "admin:inference_capturepolicy"


@pytest.fixture
def version(redis_client: redis.Redis, settings: Settings, tmp_path: Path) -> ModelVersion:
    settings.MEDIA_ROOT = tmp_path
    return uploaded_version("classifier")


def save_policy(model: Model, **values: Any) -> CapturePolicy:
    policy = CapturePolicy.objects.filter(model=model).first() or CapturePolicy(model=model)
    for name, value in values.items():
        setattr(policy, name, value)
    save_capture_policy(policy=policy)
    return policy


def predict(rows: list[list[float]]) -> list[str]:
    outcome = prediction.predict_payload(model_name="classifier", payload={"rows": rows})
    serving().capture_queue.flush()
    return outcome.prediction_ids


def window_of(client: redis.Redis, version: ModelVersion) -> stream.Window:
    return stream.read_window(client, version.pk, 100_000)


def flushed_rows(client: redis.Redis, version: ModelVersion) -> int:
    serving().capture_queue.flush()
    return stream.rows_seen(client, [version.pk])[version.pk]


def sampled_out() -> float:
    return REGISTRY.get_sample_value("ml_capture_sampled_out_total", {"model_name": "classifier"}) or 0.0


def test_the_share_of_sampled_ids_is_the_rate() -> None:
    """By the binomial distribution (scipy): outside these bounds once in a million runs."""
    rows, rate = 20_000, 0.1
    taken = int(sampled(new_prediction_ids(rows, 7), rate).sum())
    low, high = binom.interval(1 - 1e-6, rows, rate)
    assert low <= taken <= high


def test_an_id_that_is_sampled_at_one_rate_is_sampled_at_every_higher_rate() -> None:
    ids = new_prediction_ids(1000, 7)
    few, more = sampled(ids, 0.2), sampled(ids, 0.6)
    assert few.any()
    assert not (few & ~more).any()
    assert (sampled(ids[::-1], 0.2) == few[::-1]).all()
    assert sampled(ids, 1.0).all()


def test_only_sampled_rows_are_captured_and_the_others_are_counted(
    version: ModelVersion, redis_client: redis.Redis
) -> None:
    save_policy(version.model, sampling_rate=0.25)
    before = sampled_out()
    ids = predict(iris_rows(400).tolist())
    is_sampled = sampled([bytes.fromhex(one.replace("-", "")) for one in ids], 0.25)
    expected = [bytes.fromhex(one.replace("-", "")) for one, taken in zip(ids, is_sampled, strict=True) if taken]
    assert 50 < len(expected) < 150
    table = window_of(redis_client, version).table
    assert table.column("prediction_id").to_pylist() == expected
    assert np.array(table.column("feature.petal_length")) == pytest.approx(iris_rows(400)[is_sampled, 2])
    assert sampled_out() - before == 400 - len(expected)


def test_a_request_without_sampled_rows_is_predicted(version: ModelVersion, redis_client: redis.Redis) -> None:
    save_policy(version.model, sampling_rate=0.0001)
    assert len(predict(iris_rows(3).tolist())) == 3
    assert window_of(redis_client, version).table.num_rows == 0


def test_a_feature_that_is_never_stored_does_not_reach_redis(version: ModelVersion, redis_client: redis.Redis) -> None:
    save_policy(version.model, never_stored_features=["petal_length"])
    predict(iris_rows(5).tolist())
    table = window_of(redis_client, version).table
    assert "feature.petal_length" not in table.column_names
    assert set(stream.Window(table, "", 0).features.column_names) == FEATURES - {"petal_length"}
    assert table.column("prediction").null_count == 0


def test_shadow_versions_follow_the_policy(version: ModelVersion, redis_client: redis.Redis) -> None:
    shadow = uploaded_version("classifier", "2.0.0", production=False)
    set_stage(version=shadow, stage=Stage.SHADOW)
    save_policy(version.model, never_stored_features=["sepal_width"])
    predict(iris_rows(5).tolist())
    await_condition(
        lambda: flushed_rows(redis_client, shadow) == 5, "the predictions of the shadow version were not captured"
    )
    assert set(window_of(redis_client, shadow).features.column_names) == FEATURES - {"sepal_width"}


def test_the_predictions_of_a_model_without_stored_features_are_checked(version: ModelVersion) -> None:
    save_policy(version.model, never_stored_features=sorted(FEATURES))
    profiled_reference(version, iris_rows(1000, seed=1))
    predict(iris_rows(600).tolist())
    check = run_drift_check(version_id=version.pk)
    assert check is not None
    assert (check.status, check.error_message, check.n_current) == ("succeeded", "", 600)
    assert check.features.count() == 0
    assert check.result.prediction.status == "ok"


def test_a_window_continues_when_a_feature_is_no_longer_stored(
    version: ModelVersion, redis_client: redis.Redis
) -> None:
    profiled_reference(version, iris_rows(1000, seed=1))
    predict(iris_rows(300).tolist())
    save_policy(version.model, never_stored_features=["petal_length"])
    predict(iris_rows(300, seed=2).tolist())
    window = window_of(redis_client, version)
    assert window.table.num_rows == 600
    assert set(window.features.column_names) == FEATURES - {"petal_length"}
    check = run_drift_check(version_id=version.pk)
    assert check is not None
    assert check.status == "succeeded", check.error_message
    assert set(check.features.values_list("feature_name", flat=True)) == FEATURES - {"petal_length"}
    assert set(check.features.values_list("status", flat=True)) == {"ok"}


def test_the_live_drift_follows_a_change_of_the_policy(version: ModelVersion) -> None:
    profiled_reference(version, iris_rows(1000, seed=1))
    predict(iris_rows(300).tolist())
    before = latest_drift(version=version)
    save_policy(version.model, never_stored_features=["petal_length"])
    version = ModelVersion.objects.get()
    after = latest_drift(version=version)
    assert before.result is not None
    assert after.result is not None
    assert {feature.name for feature in before.result.features} == FEATURES
    assert {feature.name for feature in after.result.features} == FEATURES - {"petal_length"}


def test_storing_a_feature_again_begins_a_new_window(version: ModelVersion, redis_client: redis.Redis) -> None:
    policy = save_policy(version.model, never_stored_features=["petal_length"])
    predict(iris_rows(5).tolist())
    remove_capture_policy(policy=policy)
    predict(iris_rows(3).tolist())
    window = window_of(redis_client, version)
    assert window.table.num_rows == 3
    assert set(window.features.column_names) == FEATURES


def _form(model: Model, **values: Any) -> dict[str, Any]:
    defaults = {"sampling_rate": 1.0, "never_stored_features": "", "retention_days": "", "archive_megabytes": ""}
    return {"model": model.pk, **defaults, **values}


def test_a_policy_is_added_and_changed_in_the_admin(
    version: ModelVersion, redis_client: redis.Redis, admin_client: Client, admin_user: User
) -> None:
    predict(iris_rows(1).tolist())
    page = reverse(f"{POLICIES}_of_model", args=[version.model.pk])
    assert admin_client.get(page, follow=True).redirect_chain[-1][0].endswith(f"?model={version.model.pk}")
    form = _form(version.model, never_stored_features="petal_length\n\n petal_width \npetal_length")
    assert admin_client.post(reverse(f"{POLICIES}_add"), form).status_code == 302
    policy = CapturePolicy.objects.get()
    assert policy.never_stored_features == ["petal_length", "petal_width"]
    assert admin_client.get(page)["Location"] == reverse(f"{POLICIES}_change", args=[policy.pk])
    changed = _form(version.model, never_stored_features="petal_width", sampling_rate=1, retention_days=30)
    assert admin_client.post(reverse(f"{POLICIES}_change", args=[policy.pk]), changed).status_code == 302
    trail = ChangeRecord.objects.filter(user=admin_user).order_by("pk")
    assert [record.text for record in trail] == [
        "Never stored features: none → petal_length, petal_width.",
        "Never stored features: petal_length, petal_width → petal_width. Retention days: none → 30.",
    ]
    predict(iris_rows(1).tolist())
    assert set(window_of(redis_client, version).features.column_names) == FEATURES - {"petal_width"}


def test_the_pages_of_policies_and_of_the_model_show_policies(version: ModelVersion, admin_client: Client) -> None:
    policy = save_policy(version.model, sampling_rate=0.1, never_stored_features=["petal_length"])
    listed = admin_client.get(reverse(f"{POLICIES}_changelist")).content.decode()
    assert "0.1 of all" in listed
    assert "petal_length" in listed
    assert (
        "petal_length</textarea>" in admin_client.get(reverse(f"{POLICIES}_change", args=[policy.pk])).content.decode()
    )
    model_page = admin_client.get(reverse("admin:models_registry_model_change", args=[version.model.pk]))
    assert reverse(f"{POLICIES}_of_model", args=[version.model.pk]) in model_page.content.decode()


def test_deleting_a_policy_in_the_admin_restores_the_defaults(
    version: ModelVersion, redis_client: redis.Redis, admin_client: Client
) -> None:
    policy = save_policy(version.model, never_stored_features=["petal_length"])
    predict(iris_rows(1).tolist())
    admin_client.post(reverse(f"{POLICIES}_delete", args=[policy.pk]), {"post": "yes"})
    assert not CapturePolicy.objects.exists()
    predict(iris_rows(1).tolist())
    assert set(window_of(redis_client, version).features.column_names) == FEATURES


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (
            {"never_stored_features": "petal_length\npetal_lenght"},
            "No version of classifier has the feature &#x27;petal_lenght&#x27;. "
            "Choose from: petal_length, petal_width, sepal_length, sepal_width.",
        ),
        ({"sampling_rate": 0}, "Ensure this value is greater than or equal to 0.0001."),
        ({"sampling_rate": 1.5}, "Ensure this value is less than or equal to 1.0."),
        ({"sampling_rate": "nan"}, "Enter a number."),
        ({"retention_days": 0}, "Ensure this value is greater than or equal to 1."),
        ({"retention_days": 36_501}, "At most 36,500 days, which is 100 years."),
        ({"retention_days": 800_000}, "At most 36,500 days"),
        ({"retention_days": 2147483647}, "At most 36,500 days"),
        ({"archive_megabytes": 0}, "Ensure this value is greater than or equal to 1."),
    ],
)
def test_the_admin_refuses_an_invalid_policy(
    version: ModelVersion, admin_client: Client, values: dict[str, Any], reason: str
) -> None:
    response = admin_client.post(reverse(f"{POLICIES}_add"), _form(version.model, **values))
    assert response.status_code == 200
    assert reason in response.content.decode()
    assert not CapturePolicy.objects.exists()
