"""``POST /api/v1/models/{name}/observations`` through Django, into a real Redis."""

import json
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import redis
from django.test import Client
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from pytest_django.fixtures import Settings

from accounts.models import TokenScope
from accounts.services.tokens import create_token
from drift.services.checks import run_drift_check
from inference import stream
from inference.models import CapturePolicy, ObservationChunk
from inference.observations import Appended, Attempt, append_new_observations
from inference.prediction_ids import sampled
from inference.services.archiving import archive_observations
from inference.services.capture_policies import save_capture_policy
from inference.services.observations import capture_observations
from inference.services.prediction import predict_payload
from inference.serving import serving
from models_registry.class_scores import scores_matrix
from models_registry.models import ModelVersion, Stage
from models_registry.services.versions import set_stage
from performance.models import GroundTruth
from tests.factories import diabetes_onnx, uploaded_version
from tests.inference.observed import observations
from tests.mlmon.observed import iris_rows, profiled_reference

pytestmark = pytest.mark.django_db

FLOWER = [5.1, 3.5, 1.4, 0.2]
NAMED = dict(zip(("sepal_length", "sepal_width", "petal_length", "petal_width"), FLOWER, strict=True))
OBSERVATIONS = "/api/v1/models/classifier/observations"
ID = "0199f0c2-7a40-7c1e-9d3b-5f0a4f2b0001"


def item(**fields: Any) -> dict[str, Any]:
    return {"features": FLOWER, "prediction": "setosa"} | fields


def post(client: Client, body: Any, path: str = OBSERVATIONS, **headers: str) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body)
    return client.post(path, data=data, content_type="application/json", headers=headers)


def problem_of(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = json.loads(response.content)
    return problem


def statuses(response: Any) -> list[str]:
    assert response.status_code == 200, response.content
    return [one["status"] for one in response.json()["results"]]


def window(client: redis.Redis, version: ModelVersion) -> pa.Table:
    return stream.read_window(client, version.pk, 1000).table


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, {"model_name": "classifier", **labels}) or 0.0


@pytest.fixture
def version(redis_client: redis.Redis, settings: Settings, tmp_path: Path) -> ModelVersion:
    settings.MEDIA_ROOT = tmp_path
    return uploaded_version("classifier")


def test_one_observation_is_in_the_live_window_when_the_response_arrives(
    client: Client, version: ModelVersion, redis_client: redis.Redis
) -> None:
    observed_at = "2026-03-01T13:00:00.000001+01:00"
    body = post(client, item(features=NAMED, confidence=0.9, latency_ms=3.5, observed_at=observed_at)).json()
    assert (body["status"], body["model_name"], body["model_version"]) == ("accepted", "classifier", "1.0.0")
    (row,) = window(redis_client, version).to_pylist()
    assert uuid.UUID(bytes=row["prediction_id"]) == uuid.UUID(body["prediction_id"])
    assert row["observed_at"] == datetime(2026, 3, 1, 12, microsecond=1, tzinfo=UTC)
    assert (row["prediction"], row["confidence"], row["latency_ms"], row["scores"]) == ("setosa", 0.9, 3.5, None)
    assert [row[f"feature.{name}"] for name in NAMED] == FLOWER


def test_missing_fields_are_null_and_the_default_time_is_now(
    client: Client, version: ModelVersion, redis_client: redis.Redis
) -> None:
    before = datetime.now(UTC)
    post(client, item())
    (row,) = window(redis_client, version).to_pylist()
    assert (row["confidence"], row["latency_ms"], row["scores"]) == (None, None, None)
    assert before <= row["observed_at"] <= datetime.now(UTC)


def test_the_time_of_a_clock_that_is_slightly_ahead_becomes_now(
    client: Client, version: ModelVersion, redis_client: redis.Redis
) -> None:
    ahead = datetime.now(UTC) + timedelta(minutes=4)
    assert post(client, item(observed_at=ahead.isoformat())).status_code == 200
    (row,) = window(redis_client, version).to_pylist()
    assert row["observed_at"] <= datetime.now(UTC)
    late = datetime.now(UTC) + timedelta(minutes=6)
    assert "is in the future" in problem_of(post(client, item(observed_at=late.isoformat())), 422)["detail"]


@pytest.mark.parametrize("wrapped", [True, False])
def test_each_of_many_observations_has_a_result(
    client: Client, version: ModelVersion, redis_client: redis.Redis, wrapped: bool
) -> None:
    rows = [item(prediction_id=ID), item(prediction="rose"), item(), item(prediction_id=ID, prediction="virginica")]
    response = post(client, {"rows": rows, "version": "1.0.0"} if wrapped else rows)
    assert statuses(response) == ["accepted", "invalid", "accepted", "duplicate"]
    body = response.json()
    assert body["counts"] == {"accepted": 2, "duplicate": 1, "invalid": 1}
    assert body["results"][1] == {
        "prediction_id": None,
        "status": "invalid",
        "field": "prediction",
        "reason": '"rose" is not one of the model\'s classes: setosa, versicolor, virginica',
    }
    assert [one["prediction_id"] for one in body["results"]][::3] == [ID, ID]
    assert window(redis_client, version).column("prediction").to_pylist() == ["setosa", "setosa"]
    assert stream.rows_seen(redis_client, [version.pk]) == {version.pk: 2}


def test_probabilities_are_stored_and_determine_the_confidence(
    client: Client, version: ModelVersion, redis_client: redis.Redis
) -> None:
    given = [{"virginica": 0.25, "setosa": 0.75}, [0.2, 0.3, 0.5002]]
    rows = [item(probabilities=given[0]), item(prediction="virginica", probabilities=given[1], confidence=0.5), item()]
    assert statuses(post(client, rows)) == ["accepted"] * 3
    table = window(redis_client, version)
    column: Any = table.column("scores").combine_chunks()
    scores = scores_matrix(column)
    assert scores[:2] == pytest.approx(np.array([[0.75, 0, 0.25], [0.2, 0.3, 0.5]]), abs=2e-4)
    assert np.isnan(scores[2]).all()
    assert table.column("confidence").to_pylist() == [0.75, pytest.approx(0.5, abs=2e-4), None]


def test_predictions_of_this_and_another_server_are_one_window(
    client: Client, version: ModelVersion, redis_client: redis.Redis
) -> None:
    post(client, item())
    predict_payload(model_name="classifier", payload={"rows": [FLOWER, FLOWER]})
    serving().capture_queue.flush()
    post(client, [item(), item(confidence=0.5)])
    assert window(redis_client, version).num_rows == 5


def test_a_repeated_request_changes_nothing(client: Client, version: ModelVersion, redis_client: redis.Redis) -> None:
    ids = [str(uuid.uuid4()) for _ in range(3)]
    assert statuses(post(client, [item(prediction_id=one) for one in ids[:2]])) == ["accepted"] * 2
    again = post(client, [item(prediction_id=one) for one in ids])
    assert statuses(again) == ["duplicate", "duplicate", "accepted"]
    assert statuses(post(client, [item(prediction_id=one.upper()) for one in ids])) == ["duplicate"] * 3
    assert post(client, item(prediction_id=ids[0])).json()["status"] == "duplicate"
    stored = [str(uuid.UUID(bytes=one)) for one in window(redis_client, version).column("prediction_id").to_pylist()]
    assert stored == ids
    assert stream.rows_seen(redis_client, [version.pk]) == {version.pk: 3}


def test_only_the_latest_ids_are_known(
    client: Client, version: ModelVersion, redis_client: redis.Redis, settings: Settings
) -> None:
    settings.MLMON_LIVE_WINDOW_ROWS = 3
    ids = [str(uuid.uuid4()) for _ in range(5)]
    for one in ids:
        post(client, item(prediction_id=one))
    assert statuses(post(client, [item(prediction_id=one) for one in ids[2:]])) == ["duplicate"] * 3
    assert post(client, item(prediction_id=ids[0])).json()["status"] == "accepted"
    assert redis_client.zcard(stream.stream_key(version.pk, "given-ids")) == 3


BAD_ITEMS: list[tuple[Any, str, str]] = [
    (None, "", "must be an object"),
    (7, "", "must be an object"),
    ([], "", "must be an object"),
    ({}, "features", "is required"),
    (item(features=None), "features", "is required"),
    (item(features=[1, 2]), "features", f"expected 4 values ({', '.join(NAMED)}), got 2"),
    (item(features=[]), "features", f"expected 4 values ({', '.join(NAMED)}), got 0"),
    (item(features="5.1"), "features", 'expected a list of values or an object by feature name, got "5.1"'),
    (item(features=[5.1, 3.5, 1.4, "0.2"]), "features", 'petal_width: expected a number, got "0.2"'),
    (item(features=[5.1, 3.5, 1.4, None]), "features", "petal_width: a value is required, but it is missing"),
    (item(features=[5.1, 3.5, 1.4, 1e300]), "features", "petal_width: 1e+300 is beyond the range of float32"),
    (item(features={"colour": 1}), "features", "colour: the model has no such feature"),
    ({"features": FLOWER}, "prediction", "is required"),
    (item(prediction=None), "prediction", "is required"),
    (item(prediction="rose"), "prediction", "is not one of the model's classes"),
    (item(prediction=""), "prediction", "must be a string of 1 to 255"),
    (item(prediction=7), "prediction", "is not one of the model's classes"),
    (item(prediction=True), "prediction", "is not one of the model's classes"),
    (item(prediction=[]), "prediction", "must be a string"),
    (item(prediction="\0"), "prediction", "must be a string"),
    (item(confidence=1.01), "confidence", "from 0 to 1"),
    (item(confidence=-0.01), "confidence", "from 0 to 1"),
    (item(confidence="0.5"), "confidence", "from 0 to 1"),
    (item(confidence=True), "confidence", "from 0 to 1"),
    (item(confidence=[0.5]), "confidence", "from 0 to 1"),
    (item(probabilities=0.5), "probabilities", "must be an object by class"),
    (item(probabilities=[0.5, 0.5]), "probabilities", "has 2 values; the model has 3 classes"),
    (item(probabilities=[0.5, 0.5, "0"]), "probabilities", "must be numbers from 0 to 1"),
    (item(probabilities=[0.5, 0.5, None]), "probabilities", "must be numbers from 0 to 1"),
    (item(probabilities=[1.5, -0.5, 0]), "probabilities", "must be numbers from 0 to 1"),
    (item(probabilities=[0.5, 0.5, 0.002]), "probabilities", "must sum to 1, not to 1.002"),
    (item(probabilities={}), "probabilities", "must sum to 1, not to 0"),
    (item(probabilities={"rose": 1}), "probabilities", "has 'rose', which is not one of the model's classes"),
    (item(probabilities=[1, 0, 0], confidence=0.9), "confidence", "must be the probability of the predicted class, 1"),
    (item(latency_ms=-1), "latency_ms", "must be a number from 0 to 86,400,000"),
    (item(latency_ms=86_400_001), "latency_ms", "must be a number from 0 to 86,400,000"),
    (item(latency_ms="1"), "latency_ms", "must be a number from 0 to 86,400,000"),
    (item(latency_ms=False), "latency_ms", "must be a number from 0 to 86,400,000"),
    (item(observed_at="yesterday"), "observed_at", "must be an ISO 8601 time"),
    (item(observed_at=1772366400), "observed_at", "must be an ISO 8601 time"),
    (item(observed_at="2026-03-01T12:00:00"), "observed_at", "must have a UTC offset"),
    (item(observed_at="2999-03-01T12:06:00Z"), "observed_at", "is in the future"),
    (item(observed_at="9999-12-31T23:59:59-23:59"), "observed_at", "is in the future"),
    (item(observed_at="0001-01-01T00:00:00+23:59"), "observed_at", "is before 1970"),
    (item(prediction_id="7"), "prediction_id", "must be a UUID"),
    (item(prediction_id=7), "prediction_id", "must be a UUID"),
    (item(prediction_id="{" + ID + "}"), "prediction_id", "must be a UUID"),
    (item(label="setosa"), "label", "is unknown"),
    (item(**{"x" * 5000: 1}), "x" * 100, "is unknown"),
]


@pytest.mark.parametrize(("bad", "field", "reason"), BAD_ITEMS)
def test_an_invalid_item_is_refused_and_the_others_are_stored(
    client: Client, version: ModelVersion, redis_client: redis.Redis, bad: Any, field: str, reason: str
) -> None:
    response = post(client, [item(), bad, item()])
    assert statuses(response) == ["accepted", "invalid", "accepted"]
    result = response.json()["results"][1]
    assert result["field"] == (field or None)
    assert reason in result["reason"]
    assert window(redis_client, version).num_rows == 2
    if isinstance(bad, dict):
        problem = problem_of(post(client, bad), 422)
        assert problem["errors"] == [{"field": field or None, "reason": result["reason"]}]
        assert window(redis_client, version).num_rows == 2


@pytest.mark.parametrize(
    "number", [b"1" + b"0" * 400, b"1e400", b"-1e400", b"NaN", b"Infinity", b"18446744073709551616"]
)
@pytest.mark.parametrize("field", ["prediction", "confidence", "latency_ms"])
def test_a_number_that_float64_cannot_hold_is_refused(
    client: Client, version: ModelVersion, redis_client: redis.Redis, field: str, number: bytes
) -> None:
    body = json.dumps(item(**{field: "here"})).encode().replace(b'"here"', number)
    assert post(client, body).status_code in (400, 422)


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"", 422, "features is required"),
        (b"{", 400, "not valid JSON"),
        (7, 422, "must be an observation"),
        (None, 422, "must be an observation"),
        ("rows", 422, "must be an observation"),
        ([], 422, "at least one"),
        ({"rows": []}, 422, "at least one"),
        ({"rows": item()}, 422, "at least one"),
        ({"rows": [item()], "prediction": "setosa"}, 422, '"rows" can only be combined with "version"'),
        ({"rows": [item()], "version": 1}, 422, '"version" must be a string'),
        (item(version=["1.0.0"]), 422, '"version" must be a string'),
        (item(version="9.9.9"), 404, "9.9.9"),
        (item(version=""), 404, ""),
        (item(version="\0"), 404, ""),
        ([item()] * 11, 422, "has 11 observations; send at most 10"),
    ],
)
def test_an_invalid_body_is_refused_as_a_whole(
    client: Client, version: ModelVersion, settings: Settings, body: Any, status: int, reason: str
) -> None:
    settings.MLMON_MAX_ROWS_PER_REQUEST = 10
    assert reason in problem_of(post(client, body), status)["detail"]


@hypothesis_settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["features", "prediction", "probabilities", "rows", "version", "setosa", "confidence"]),
                inner,
            )
        ),
        max_leaves=6,
    )
)
def test_no_json_causes_a_server_error(client: Client, version: ModelVersion, value: Any) -> None:
    for body in (value, [value], item(probabilities=value), item(prediction=value), item(features=value)):
        assert post(client, body).status_code in (200, 400, 404, 422)


def test_unknown_and_archived_models_and_versions_are_refused(client: Client, version: ModelVersion) -> None:
    assert problem_of(post(client, item(), "/api/v1/models/nobody/observations"), 404)
    staged = uploaded_version("classifier", "2.0.0", production=False)
    assert post(client, item(version="2.0.0")).json()["model_version"] == "2.0.0"
    set_stage(version=staged, stage=Stage.ARCHIVED)
    assert problem_of(post(client, item(version="2.0.0")), 409)
    set_stage(version=version, stage=Stage.STAGING)
    assert "no version in production" in problem_of(post(client, item()), 503)["detail"]
    assert problem_of(client.get(OBSERVATIONS), 405)


def test_without_a_version_they_are_the_primary_one_s(
    client: Client, version: ModelVersion, redis_client: redis.Redis
) -> None:
    second = uploaded_version("classifier", "2.0.0", production=False)
    set_stage(version=version, stage=Stage.PRODUCTION, traffic_weight=60)
    set_stage(version=second, stage=Stage.PRODUCTION, traffic_weight=40)
    for _ in range(10):
        assert post(client, item()).json()["model_version"] == "1.0.0"
    assert stream.rows_seen(redis_client, [version.pk, second.pk]) == {version.pk: 10, second.pk: 0}


def test_they_need_the_scope_predict(client: Client, version: ModelVersion, settings: Settings) -> None:
    settings.MLMON_API_ACCESS = "token"
    _, reader = create_token(name="reader", scope=TokenScope.READ)
    _, application = create_token(name="application", scope=TokenScope.PREDICT)
    serving().refresh()
    assert problem_of(post(client, item()), 401)
    assert problem_of(post(client, item(), authorization=f"Bearer {reader}"), 403)
    assert post(client, item(), authorization=f"Bearer {application}").status_code == 200


def test_they_are_traffic_of_the_model_but_no_requests_to_it(client: Client, version: ModelVersion) -> None:
    serving().refresh()

    def counted() -> list[float]:
        return [
            sample("ml_prediction_distribution_total", predicted_class="setosa"),
            sample("ml_model_confidence_count", predicted_class="setosa"),
            sample("ml_model_confidence_sum", predicted_class="setosa"),
            sample("ml_prediction_latency_seconds_count", model_version="1.0.0"),
            sample("ml_prediction_latency_seconds_sum", model_version="1.0.0"),
            sample("ml_prediction_requests_total", model_version="1.0.0", status="success"),
            sample("ml_batch_size_count"),
        ]

    before = counted()
    rows = [item(prediction_id=ID, confidence=0.75, latency_ms=250), item(), item(prediction="rose")]
    post(client, rows)
    assert np.subtract(counted(), before) == pytest.approx([2, 1, 0.75, 1, 0.25, 0, 0])
    post(client, item(prediction_id=ID, confidence=0.75, latency_ms=250))
    assert np.subtract(counted(), before) == pytest.approx([2, 1, 0.75, 1, 0.25, 0, 0])


def test_the_capture_policy_holds_for_them(client: Client, version: ModelVersion, redis_client: redis.Redis) -> None:
    policy = CapturePolicy(model=version.model, sampling_rate=0.5, never_stored_features=["petal_length"])
    save_capture_policy(policy=policy)
    ids = [str(uuid.uuid4()) for _ in range(100)]
    before = sample("ml_capture_sampled_out_total")
    assert statuses(post(client, [item(prediction_id=one) for one in ids])) == ["accepted"] * 100
    assert statuses(post(client, [item(prediction_id=one) for one in ids])) == ["duplicate"] * 100
    raw = [uuid.UUID(one).bytes for one in ids]
    expected = [one for one, is_sampled in zip(raw, sampled(raw, 0.5), strict=True) if is_sampled]
    table = window(redis_client, version)
    assert table.column("prediction_id").to_pylist() == expected
    assert "feature.petal_length" not in table.column_names
    assert sample("ml_capture_sampled_out_total") - before == 100 - len(expected)
    assert stream.rows_seen(redis_client, [version.pk]) == {version.pk: len(expected)}


def test_the_ids_of_a_request_without_sampled_rows_are_known(
    client: Client, version: ModelVersion, redis_client: redis.Redis
) -> None:
    save_capture_policy(policy=CapturePolicy(model=version.model, sampling_rate=0.0001))
    assert not sampled([uuid.UUID(ID).bytes], 0.0001).any()
    assert post(client, item(prediction_id=ID)).json()["status"] == "accepted"
    assert post(client, item(prediction_id=ID)).json()["status"] == "duplicate"
    assert redis_client.exists(stream.stream_key(version.pk)) == 0


def test_nothing_is_accepted_while_redis_is_unavailable(
    client: Client, version: ModelVersion, redis_client: redis.Redis, settings: Settings
) -> None:
    serving().refresh()
    address = settings.REDIS_URL
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    try:
        response = post(client, [item(prediction_id=ID)])
    finally:
        settings.REDIS_URL = address
    detail = "Redis, which holds the live window, is unavailable. Try again later."
    assert problem_of(response, 503)["detail"] == detail
    assert int(response["Retry-After"]) > 0
    assert post(client, item(prediction_id=ID)).json()["status"] == "accepted"


def test_a_repeated_append_with_ids_changes_nothing(version: ModelVersion, redis_client: redis.Redis) -> None:
    attempt = Attempt("request", 1)
    table, ids = observations([1.0, 2.0]), [uuid.UUID(ID).bytes]
    limits = {"max_entries": 100, "most_ids": 100}
    first = append_new_observations(redis_client, version.pk, table, ids, attempt=attempt, **limits)
    again = append_new_observations(redis_client, version.pk, table, ids, attempt=attempt, **limits)
    assert (first, again) == (Appended(2, frozenset()), Appended(0, frozenset()))
    other = append_new_observations(redis_client, version.pk, table, ids, attempt=Attempt("request", 2), **limits)
    assert other == Appended(0, frozenset(ids))
    assert stream.read_window(redis_client, version.pk, 10).table.num_rows == 2


def test_entries_count_the_rows_before_them(client: Client, version: ModelVersion, redis_client: redis.Redis) -> None:
    post(client, [item()] * 3)
    predict_payload(model_name="classifier", payload={"rows": [FLOWER] * 2})
    serving().capture_queue.flush()
    post(client, [item(prediction_id=ID), item()])
    entries = list(stream.latest_first(redis_client, version.pk))[::-1]
    assert [(entry.rows_before, entry.rows, entry.rows_seen) for entry in entries] == [(0, 3, 3), (3, 2, 5), (5, 2, 7)]


@pytest.mark.django_db(transaction=True)
def test_each_id_is_stored_once_when_it_is_sent_many_times_at_once(
    version: ModelVersion, redis_client: redis.Redis
) -> None:
    """Requests of several threads, each with its own order and share of the same ids, against the real Redis."""
    ids = [str(uuid.uuid4()) for _ in range(40)]
    serving().start()  # as in a web process: the threads run no SQL
    start = threading.Barrier(8)

    def send(seed: int) -> list[str]:
        chosen = np.random.default_rng(seed).permutation(40)[:30]
        payload = [item(prediction_id=ids[index]) for index in chosen]
        start.wait()
        captured = capture_observations(model_name="classifier", payload=payload)
        return [str(one.prediction_id) for one in captured.outcomes if one.status == "accepted"]

    with ThreadPoolExecutor(8) as pool:
        accepted = [one for each in pool.map(send, range(8)) for one in each]
    stored = [str(uuid.UUID(bytes=one)) for one in window(redis_client, version).column("prediction_id").to_pylist()]
    assert sorted(stored) == sorted(set(stored))
    assert sorted(accepted) == sorted(stored)


def test_ground_truth_is_joined_with_an_observation_whose_id_the_client_gave(
    client: Client, version: ModelVersion, redis_client: redis.Redis
) -> None:
    post(client, item(prediction_id=ID, probabilities=[0.75, 0.25, 0]))
    feedback = post(client, {"prediction_id": ID, "actual": "versicolor"}, "/api/v1/feedback")
    assert feedback.json()["status"] == "unknown"
    archive_observations(seconds=10)
    assert ObservationChunk.objects.get().has_given_ids
    row = GroundTruth.objects.get()
    assert (row.version, row.prediction, row.actual, row.confidence) == (version, "setosa", "versicolor", 0.75)
    assert np.frombuffer(row.scores or b"", "<f4") == pytest.approx([0.75, 0.25, 0])


def test_the_drift_of_a_model_on_another_server_is_checked(client: Client, version: ModelVersion) -> None:
    profiled_reference(version, iris_rows(1000, seed=1))
    rows = [item(features=row) for row in iris_rows(600, seed=2).tolist()]
    assert set(statuses(post(client, rows))) == {"accepted"}
    check = run_drift_check(version_id=version.pk)
    assert check is not None
    assert (check.status, check.n_current) == ("succeeded", 600)
    assert set(check.features.values_list("status", flat=True)) == {"ok"}


def test_a_regression_accepts_only_numbers(client: Client, redis_client: redis.Redis) -> None:
    version = uploaded_version("progression", onnx=diabetes_onnx(), features=[f"x{index}" for index in range(10)])
    path = "/api/v1/models/progression/observations"
    good = {"features": [0.01] * 10, "prediction": 151.5}
    body = [good, good | {"prediction": "151.5"}, good | {"confidence": 0.5}, good | {"probabilities": [1.0]}]
    assert statuses(post(client, [*body, good | {"prediction": True}], path)) == ["accepted", *["invalid"] * 4]
    predict_payload(model_name="progression", payload={"features": [0.01] * 10})
    serving().capture_queue.flush()
    predictions = window(redis_client, version).column("prediction").to_pylist()
    assert (len(predictions), predictions[0]) == (2, 151.5)


def test_the_stream_is_bounded_even_without_a_worker(
    client: Client, version: ModelVersion, redis_client: redis.Redis, settings: Settings
) -> None:
    settings.MLMON_STREAM_ROWS = 100
    for _ in range(30):
        post(client, [item()] * 10)
    assert 100 <= window(redis_client, version).num_rows <= 120
