"""Why requests were rejected: in `/metrics`, and on the way from the web processes to the database."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from django.test import Client
from django.utils import timezone
from onnx import TensorProto
from prometheus_client import REGISTRY
from pytest_django.fixtures import Settings

from inference.models import RejectionCount
from inference.rejections import MOST_PAIRS, Rejection
from inference.selectors import recent_rejections
from inference.services.retention import enforce_retention
from inference.services.traffic import roll_up_traffic
from inference.serving import serving
from inference.traffic import TrafficTally
from mlmon.schema import TaskType
from models_registry.models import Model, ModelVersion
from models_registry.services.versions import promote, register_model
from tests.factories import uploaded_version
from tests.models_registry.onnx_models import graph_model, node, value

pytestmark = pytest.mark.django_db

MINUTE = 1_800_000_000
PREDICT = "/api/v1/models/typed/predict"
OBSERVATIONS = "/api/v1/models/typed/observations"
ROW = {"amount": 1.5, "rooms": 3, "city": "Kyoto"}
SECRET = "patient 4711"
SECRET_NUMBER = "4711"

Pair = tuple[str, str]


@pytest.fixture
def version(redis_client: redis.Redis, settings: Settings, tmp_path: Path) -> ModelVersion:
    """A regression that returns its amount; the city may be missing."""
    settings.MEDIA_ROOT = tmp_path
    inputs = [value("amount"), value("rooms", TensorProto.INT64), value("city", TensorProto.STRING)]
    model = graph_model([node("Identity", ["amount"], ["Y"])], inputs=inputs)
    row = uploaded_version(
        "typed", onnx=model.SerializeToString(), features=None, task=TaskType.REGRESSION, production=False
    )
    row.features.filter(name="city").update(is_required=False)
    promote(version=row)
    return row


class Clock:
    def __init__(self) -> None:
        self.seconds = float(MINUTE)

    def __call__(self) -> float:
        return self.seconds


def post(client: Client, path: str, body: Any) -> Any:
    text = body if isinstance(body, str) else json.dumps(body)
    return client.post(path, data=text, content_type="application/json")


def counted() -> dict[Pair, float]:
    """Return the counter of the model by feature and reason."""
    return {
        (sample.labels["feature_name"], sample.labels["reason"]): sample.value
        for family in REGISTRY.collect()
        for sample in family.samples
        if sample.name == "ml_rejected_values_total" and sample.labels["model_name"] == "typed"
    }


def rejected_requests() -> float:
    return sum(
        sample.value
        for family in REGISTRY.collect()
        for sample in family.samples
        if sample.name == "ml_prediction_requests_total"
        and (sample.labels["model_name"], sample.labels["status"]) == ("typed", "rejected")
    )


def growth(before: dict[Pair, float]) -> dict[Pair, float]:
    return {pair: count - before.get(pair, 0) for pair, count in counted().items() if count != before.get(pair, 0)}


def stored(redis_client: redis.Redis) -> dict[Pair, tuple[int, str]]:
    """Return the counts and examples of the database, after the tally of this process was rolled up."""
    serving().tally.flush(redis_client)
    roll_up_traffic()
    rows = RejectionCount.objects.values_list("feature_name", "reason", "count", "example")
    return {(feature_name, reason): (count, example) for feature_name, reason, count, example in rows}


BODIES: list[tuple[Any, Pair, str]] = [
    ({"features": {**ROW, "amount": SECRET}}, ("amount", "wrong_type"), "expected a number, got a string"),
    (
        {"features": {**ROW, "rooms": 3.5}},
        ("rooms", "wrong_type"),
        "expected a whole number, got a number with a point",
    ),
    (
        {"features": {**ROW, "city": [SECRET]}},
        ("city", "wrong_type"),
        "expected a string or a whole number, got a list",
    ),
    ({"features": {"rooms": 3}}, ("amount", "missing"), "a value is required, but it is missing"),
    (
        {"features": {**ROW, "amount": 4711e300}},
        ("amount", "out_of_range"),
        "a number is beyond the range of float32",
    ),
    (
        {"features": {**ROW, "rooms": 4711 * 10**20}},
        ("rooms", "out_of_range"),
        "a number is beyond 2^53, the largest exact whole number",
    ),
    ({"features": {**ROW, "city": SECRET * 100}}, ("city", "too_long"), "the string is longer than 1,000 characters"),
    ({"features": {**ROW, "city": f"{SECRET}\0"}}, ("city", "invalid_string"), "the string contains a NUL character"),
    (
        {"features": {"amount": 1.5, "room_count": 3, "city": SECRET}},
        ("unknown", "unknown_feature"),
        'the model has no feature "room_count", and "rooms" is missing',
    ),
    ({"features": [1.5, 3]}, ("row", "wrong_length"), "expected 3 values (amount, rooms, city), got 2"),
    (
        {"features": SECRET},
        ("row", "wrong_form"),
        "expected a list of values or an object by feature name, got a string",
    ),
    ({"features": {**ROW, "amount": None}}, ("amount", "missing"), "a value is required, but it is missing"),
    ({"instances": [SECRET]}, ("request", "wrong_body"), "the body has another form than the API expects"),
    (
        '{"features": [NaN, 3, "Kyoto"]}',
        ("request", "unreadable"),
        "The body is not valid JSON: unexpected character, expected a JSON value: line 1 column 15 (char 14). "
        "NaN is not JSON; for a missing value send null.",
    ),
]


@pytest.mark.parametrize(("body", "pair", "example"), BODIES, ids=lambda part: "-".join(part) * isinstance(part, tuple))
def test_a_rejected_request_is_counted_once_with_its_reason(
    body: Any, pair: Pair, example: str, version: ModelVersion, client: Client, redis_client: redis.Redis
) -> None:
    assert post(client, PREDICT, {"features": ROW}).status_code == 200
    before, rejected = counted(), rejected_requests()
    assert pair in before, "the series does not exist at 0"
    assert 400 <= post(client, PREDICT, body).status_code < 500
    assert growth(before) == {pair: 1}
    assert rejected_requests() - rejected == 1
    assert stored(redis_client) == {pair: (1, example)}


def test_no_stored_reason_contains_a_value(version: ModelVersion, client: Client, redis_client: redis.Redis) -> None:
    for body, _, _ in BODIES:
        post(client, PREDICT, body)
    for item in ({"features": {**ROW, "amount": SECRET}, "prediction": 1}, {"features": ROW, "prediction": SECRET}):
        post(client, OBSERVATIONS, item)
    examples = [example for _, example in stored(redis_client).values()]
    assert len(examples) > 10
    assert [example for example in examples if SECRET_NUMBER in example] == []


def test_a_successful_request_is_not_counted(version: ModelVersion, client: Client, redis_client: redis.Redis) -> None:
    before = counted()
    assert post(client, PREDICT, {"features": ROW}).status_code == 200
    assert growth(before) == {}
    assert stored(redis_client) == {}


def test_the_first_wrong_row_of_many_is_counted(version: ModelVersion, client: Client) -> None:
    before = counted()
    assert post(client, PREDICT, {"rows": [ROW, {**ROW, "rooms": "x"}, {**ROW, "rooms": "x"}]}).status_code == 422
    assert growth(before) == {("rooms", "wrong_type"): 1}


def test_each_invalid_observation_is_counted(version: ModelVersion, client: Client, redis_client: redis.Redis) -> None:
    before, rejected = counted(), rejected_requests()
    items: list[Any] = [
        {"features": ROW, "prediction": 1.5},
        {"features": {**ROW, "rooms": "x"}, "prediction": 1.5},
        {"features": {**ROW, "rooms": "y"}, "prediction": 1.5},
        {"features": {**ROW, "zip": "x"}, "prediction": 1.5},
        {"features": ROW, "prediction": SECRET},
        SECRET,
    ]
    response = post(client, OBSERVATIONS, {"rows": items})
    assert response.json()["counts"]["invalid"] == 5
    assert growth(before) == {
        ("rooms", "wrong_type"): 2,
        ("unknown", "unknown_feature"): 1,
        ("row", "invalid_field"): 2,
    }
    assert rejected_requests() == rejected, "observations are not predict requests"
    assert stored(redis_client)["unknown", "unknown_feature"] == (1, 'the model has no feature "zip"')


def test_requests_without_a_version_or_a_permission_are_counted(
    version: ModelVersion, client: Client, redis_client: redis.Redis, settings: Settings
) -> None:
    before, rejected = counted(), rejected_requests()
    assert post(client, "/api/v1/models/typed/versions/9/predict", {"features": ROW}).status_code == 404
    settings.MLMON_API_ACCESS = "token"
    assert post(client, PREDICT, {"features": ROW}).status_code == 401
    assert growth(before) == {("request", "unknown_version"): 1, ("request", "not_permitted"): 1}
    assert rejected_requests() - rejected == 2


def test_a_row_without_a_finite_prediction_is_counted(client: Client, redis_client: redis.Redis) -> None:
    model = graph_model([node("Log", ["amount"], ["Y"])], inputs=[value("amount")])
    uploaded_version("typed", onnx=model.SerializeToString(), features=None, task=TaskType.REGRESSION)
    before = counted()
    assert post(client, PREDICT, {"features": [-4711.0]}).status_code == 422
    assert growth(before) == {("row", "no_finite_prediction"): 1}


def test_a_request_for_an_unknown_model_is_not_counted(
    version: ModelVersion, client: Client, redis_client: redis.Redis
) -> None:
    before = counted()
    assert post(client, "/api/v1/models/nobodys/predict", {"features": ROW}).status_code == 404
    assert growth(before) == {}
    labels = {"feature_name": "request", "reason": "unknown_version"}
    for name in ("nobodys", "unknown"):
        assert REGISTRY.get_sample_value("ml_rejected_values_total", {"model_name": name, **labels}) is None
    assert stored(redis_client) == {}


@pytest.mark.parametrize("name", ["\x00\x07", "\U000e0001", "é" * 5_000, "</td><script>"])
def test_any_name_of_a_key_can_be_stored(
    name: str, version: ModelVersion, client: Client, redis_client: redis.Redis
) -> None:
    assert post(client, PREDICT, {"features": {**ROW, name: 1}}).status_code == 422
    ((count, example),) = stored(redis_client).values()
    assert count == 1
    assert example.startswith("the model has no feature ")
    assert len(example) < 150


def rejection(feature_name: str = "rooms", reason: str = "wrong_type", example: str = "first") -> Rejection:
    return Rejection(feature_name, reason, example)


def test_processes_are_summed_and_the_latest_example_is_kept(redis_client: redis.Redis) -> None:
    register_model(name="typed")
    clock = Clock()
    one, other = TrafficTally(clock=clock), TrafficTally(clock=clock)
    one.count_rejection("typed", rejection())
    clock.seconds += 10
    other.count_rejection("typed", rejection(example="latest"))
    clock.seconds += 10
    one.count_rejection("typed", rejection("amount"))
    for _ in range(2):  # a repeated write and a repeated run count nothing twice
        for tally in (other, one):
            tally.flush(redis_client)
        roll_up_traffic()
    rows = RejectionCount.objects.order_by("feature_name").values_list("feature_name", "count", "example", "last_at")
    assert list(rows) == [
        ("amount", 1, "first", datetime.fromtimestamp(MINUTE + 20, UTC)),
        ("rooms", 2, "latest", datetime.fromtimestamp(MINUTE + 10, UTC)),
    ]


def test_a_minute_that_grows_after_it_was_rolled_up_is_written_again(redis_client: redis.Redis) -> None:
    register_model(name="typed")
    clock = Clock()
    tally = TrafficTally(clock=clock)
    for _ in range(3):
        tally.count_rejection("typed", rejection())
        tally.flush(redis_client)
        roll_up_traffic()
    clock.seconds += 60
    tally.count_rejection("typed", rejection())
    tally.flush(redis_client)
    roll_up_traffic()
    assert list(RejectionCount.objects.values_list("count", flat=True)) == [3, 1]


def test_rejections_are_kept_while_redis_is_unavailable(redis_client: redis.Redis) -> None:
    register_model(name="typed")
    tally = TrafficTally(clock=Clock())
    tally.count_rejection("typed", rejection())
    with pytest.raises(redis.RedisError):
        tally.flush(redis.Redis(host="127.0.0.1", port=1, socket_connect_timeout=0.2))
    tally.flush(redis_client)
    roll_up_traffic()
    assert RejectionCount.objects.get().count == 1


def test_a_deleted_model_does_not_stop_the_others(redis_client: redis.Redis) -> None:
    register_model(name="typed")
    tally = TrafficTally(clock=Clock())
    tally.count_rejection("deleted", rejection())
    tally.count_rejection("typed", rejection())
    tally.flush(redis_client)
    roll_up_traffic()
    assert RejectionCount.objects.get().model.name == "typed"


def test_the_rows_of_a_minute_are_bounded(redis_client: redis.Redis) -> None:
    register_model(name="typed")
    tally = TrafficTally(clock=Clock())
    for number in range(MOST_PAIRS + 10):
        tally.count_rejection("typed", rejection(f"feature_{number}"))
    tally.flush(redis_client)
    roll_up_traffic()
    assert RejectionCount.objects.count() == MOST_PAIRS + 1
    assert RejectionCount.objects.get(feature_name="other", reason="other").count == 10


@pytest.fixture
def model() -> Model:
    return register_model(name="typed")


def row(model: Model, at: datetime, feature_name: str = "rooms", *, count: int = 1, example: str = "") -> None:
    RejectionCount.objects.create(
        model=model,
        begins_at=at.replace(second=0, microsecond=0),
        feature_name=feature_name,
        reason="wrong_type",
        count=count,
        last_at=at,
        example=example,
    )


def test_the_last_hour_and_the_last_day_are_summed(model: Model) -> None:
    now = timezone.now()
    row(model, now - timedelta(minutes=1), count=2, example="latest")
    row(model, now - timedelta(minutes=50), count=3, example="older")
    row(model, now - timedelta(hours=3), count=5)
    row(model, now - timedelta(hours=25), count=100)
    row(model, now - timedelta(hours=2), "amount", count=1_000)
    row(register_model(name="another"), now, count=7)
    lines, left_out = recent_rejections(model.pk, now, most=10)
    assert [(one.feature_name, one.last_hour, one.last_day) for one in lines] == [
        ("rooms", 5, 10),
        ("amount", 0, 1_000),
    ]
    assert (lines[0].example, lines[0].last_at, left_out) == ("latest", now - timedelta(minutes=1), 0)


def test_the_most_frequent_ones_of_the_last_hour_come_first(model: Model) -> None:
    now = timezone.now()
    for number in range(5):
        row(model, now - timedelta(minutes=number), f"feature_{number}", count=number + 1)
    lines, left_out = recent_rejections(model.pk, now, most=2)
    assert [one.feature_name for one in lines] == ["feature_4", "feature_3"]
    assert left_out == 3


def test_old_rejections_are_deleted(model: Model) -> None:
    now = timezone.now()
    for hours in (1, 23, 47, 49, 500):
        row(model, now - timedelta(hours=hours))
    assert enforce_retention(seconds=10) == 2
    ages = sorted((now - one.last_at) / timedelta(hours=1) for one in RejectionCount.objects.all())
    assert ages == [1, 23, 47]
