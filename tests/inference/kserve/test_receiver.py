"""What becomes of received events: pairs are captured as observations, and every other event is counted."""

import base64
import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis
from django.core.wsgi import get_wsgi_application
from django.test import Client, RequestFactory
from prometheus_client import REGISTRY
from pytest_django.fixtures import Settings

from accounts.services.tokens import create_token
from inference import stream
from inference.api.kserve import receive_directly
from inference.kserve.events import EventOutcome, ReceivedEvent
from inference.kserve.pairs import PairStore
from inference.models import KServeService
from inference.services.archiving import archive_observations
from inference.services.kserve_events import STOP_SECONDS, EventReceiver, event_receiver, stop_receiving
from inference.services.kserve_services import save_kserve_service
from inference.serving import serving
from models_registry.models import ModelVersion, Stage
from models_registry.services.versions import set_stage
from performance.models import GroundTruth
from tests.factories import uploaded_version, version_served_elsewhere
from tests.inference.kserve import EVENTS_PATH, REQUEST, RESPONSE, Message, half, made_events, pair
from tests.services.processes import await_condition, free_port
from tests.services.redis_server import KEEPS, start_redis, start_redis_again

pytestmark = pytest.mark.django_db

SETOSA, VIRGINICA = [5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]
V1 = {"instances": [SETOSA]}, {"predictions": [[0.9, 0.06, 0.04]]}
V2 = (
    {"inputs": [{"name": "input-0", "shape": [1, 4], "datatype": "FP64", "data": SETOSA}]},
    {"outputs": [{"name": "p", "shape": [1, 3], "datatype": "FP64", "data": [0.9, 0.06, 0.04]}]},
)


@pytest.fixture(autouse=True)
def _fresh_receiver() -> Iterator[None]:
    stop_receiving()
    yield
    stop_receiving()


@pytest.fixture
def iris(redis_client: redis.Redis) -> ModelVersion:
    return version_served_elsewhere("iris")


class Counted:
    """The outcomes that were counted since it was made."""

    def __init__(self) -> None:
        self._before = self._all()

    def of(self, model_name: str = "iris") -> dict[str, float]:
        after = self._all()
        counts = {key: after[key] - self._before[key] for key in after if key[0] == model_name}
        return {outcome: count for (_, outcome), count in counts.items() if count}

    def _all(self) -> dict[tuple[str, str], float]:
        return {
            (name, outcome.value): REGISTRY.get_sample_value(
                "ml_kserve_events_total", {"model_name": name, "outcome": outcome.value}
            )
            or 0.0
            for name in ("iris", "flowers", "unknown")
            for outcome in EventOutcome
        }


def post(client: Client, message: Message, **headers: str) -> Any:
    content_type = message.headers.get("content-type", "application/json")
    sent = {name: value for name, value in message.headers.items() if name != "content-type"} | headers
    return client.post(EVENTS_PATH, message.body, content_type=content_type, headers=sent)


def send(client: Client, specifications: Sequence[dict[str, Any]]) -> None:
    for message in made_events(specifications):
        assert post(client, message).status_code == 202
    event_receiver().flush()


def captured(version: ModelVersion) -> dict[str, list[Any]]:
    table = stream.read_window(stream.redis_client(), version.pk, 100_000).table
    return table.to_pydict()


def requests_counted(status: str, version: str = "1.0.0") -> float:
    labels = {"model_name": "iris", "model_version": version, "status": status}
    return REGISTRY.get_sample_value("ml_prediction_requests_total", labels) or 0.0


@pytest.mark.parametrize("mode", ["binary", "structured"])
@pytest.mark.parametrize("bodies", [V1, V2], ids=["v1", "v2"])
def test_a_pair_is_an_observation(client: Client, iris: ModelVersion, mode: str, bodies: tuple[Any, Any]) -> None:
    counted = Counted()
    event_id = str(uuid.uuid4())
    send(client, pair(*bodies, event_id=event_id, mode=mode))
    rows = captured(iris)
    assert rows["prediction_id"] == [uuid.UUID(event_id).bytes]
    assert [rows[f"feature.{name}"][0] for name in ("sepal_length", "petal_width")] == [5.1, 0.2]
    assert rows["prediction"] == ["setosa"]
    assert rows["confidence"] == pytest.approx([0.9])
    assert rows["scores"][0] == pytest.approx([0.9, 0.06, 0.04])
    assert rows["latency_ms"] == pytest.approx([40])
    assert rows["observed_at"] == [datetime(2026, 3, 1, 12, 0, 0, 163_456, UTC)]
    assert counted.of() == {"paired": 2}


def test_it_counts_as_a_request_that_is_served_here(client: Client, iris: ModelVersion) -> None:
    def figures() -> list[float]:
        model = {"model_name": "iris"}
        return [
            requests_counted("success"),
            *(
                REGISTRY.get_sample_value(name, {**model, **labels}) or 0.0
                for name, labels in [
                    ("ml_batch_size_sum", {}),
                    ("ml_prediction_latency_seconds_count", {"model_version": "1.0.0"}),
                    ("ml_prediction_latency_seconds_sum", {"model_version": "1.0.0"}),
                    ("ml_prediction_distribution_total", {"predicted_class": "setosa"}),
                    ("ml_prediction_distribution_total", {"predicted_class": "virginica"}),
                    ("ml_model_confidence_count", {"predicted_class": "virginica"}),
                ]
            ),
        ]

    send(client, [])
    before = figures()
    request = {"instances": [SETOSA, VIRGINICA, VIRGINICA]}
    response = {"predictions": [[0.9, 0.06, 0.04], [0, 0.1, 0.9], [0, 0.2, 0.8]]}
    send(client, pair(request, response, event_id="three"))
    changes = [after - earlier for after, earlier in zip(figures(), before, strict=True)]
    assert changes == pytest.approx([1, 3, 1, 0.04, 1, 2, 2])


def test_out_of_order(client: Client, iris: ModelVersion) -> None:
    counted = Counted()
    halves = [one for number in range(5) for one in pair(*V1, event_id=f"e{number}")]
    send(client, halves[1::2])
    assert counted.of() == {}
    send(client, halves[-2::-2])
    assert len(captured(iris)["prediction"]) == 5
    assert captured(iris)["latency_ms"] == pytest.approx([40] * 5)
    assert counted.of() == {"paired": 10}


def test_repeated_events_change_nothing(client: Client, iris: ModelVersion) -> None:
    counted, successes = Counted(), requests_counted("success")
    request, response = pair(*V1, event_id="doubled")
    send(client, [request, request, response, response, request])  # at once
    send(client, [response, request])  # later
    assert len(captured(iris)["prediction"]) == 1
    assert requests_counted("success") == successes + 1
    assert counted.of() == {"paired": 2, "duplicate": 5}


def test_a_pair_that_was_forgotten_is_still_stored_once(
    client: Client, iris: ModelVersion, redis_client: redis.Redis
) -> None:
    counted = Counted()
    halves = pair(*V1, event_id="again")
    send(client, halves)
    redis_client.delete("mlmon:{kserve}:paired")
    send(client, halves)
    assert len(captured(iris)["prediction"]) == 1
    assert counted.of() == {"paired": 2, "duplicate": 1}  # the first half of the second pair


def test_a_lost_half_is_counted_when_its_time_has_passed(
    client: Client, iris: ModelVersion, settings: Settings
) -> None:
    settings.MLMON_KSERVE_PAIR_SECONDS = 1
    counted = Counted()
    send(client, [half(REQUEST, V1[0], event_id="a"), half(RESPONSE, V1[1], event_id="b")])
    assert counted.of() == {}

    def are_counted() -> bool:
        event_receiver().flush()
        return counted.of() == {"no_response": 1, "no_request": 1}

    await_condition(are_counted, "the halves still wait")
    assert captured(iris) == {}


def test_an_event_above_the_limit_is_counted(client: Client, iris: ModelVersion, settings: Settings) -> None:
    settings.MLMON_KSERVE_EVENT_BYTES = 100
    counted = Counted()
    (message,) = made_events([half(REQUEST, {"instances": [SETOSA] * 10}, event_id="large")])
    assert post(client, message).status_code == 202
    event_receiver().flush()
    assert counted.of("unknown") == {"too_large": 1}


def test_a_full_queue_drops_and_counts(client: Client, iris: ModelVersion, settings: Settings) -> None:
    settings.MLMON_KSERVE_QUEUE_BYTES = 7_000  # three small events
    counted = Counted()
    halves = [one for number in range(3) for one in pair(*V1, event_id=f"e{number}")]
    for message in made_events(halves):
        assert post(client, message).status_code == 202
    event_receiver().flush()
    assert counted.of("unknown") == {"queue_full": 3}
    assert counted.of() == {"paired": 2}
    send(client, halves[3:])  # there is room again
    assert counted.of() == {"paired": 6}


def test_rows_that_the_schema_refuses_are_counted_by_reason(client: Client, iris: ModelVersion) -> None:
    def refused(feature: str, reason: str) -> float:
        labels = {"model_name": "iris", "feature_name": feature, "reason": reason}
        return REGISTRY.get_sample_value("ml_rejected_values_total", labels) or 0.0

    send(client, [])
    before = refused("sepal_width", "wrong_type"), refused("row", "invalid_field"), requests_counted("rejected")
    send(
        client,
        [
            *pair({"instances": [SETOSA, [5, "wide", 1, 1]]}, {"predictions": ["setosa"] * 2}, event_id="a"),
            *pair({"instances": [SETOSA]}, {"predictions": ["rose"]}, event_id="b"),
        ],
    )
    after = refused("sepal_width", "wrong_type"), refused("row", "invalid_field"), requests_counted("rejected")
    assert [now - earlier for now, earlier in zip(after, before, strict=True)] == [1, 1, 2]
    assert captured(iris)["feature.sepal_width"] == [3.5]


def test_bodies_that_cannot_be_decoded_are_counted(client: Client, iris: ModelVersion) -> None:
    counted, rejected = Counted(), requests_counted("rejected")
    send(client, [*pair({"text": "hello"}, {"predictions": [1]}, event_id="a"), *pair(*V1, event_id="b")])
    assert counted.of() == {"undecodable": 2, "paired": 2}
    assert requests_counted("rejected") == rejected + 1
    assert len(captured(iris)["prediction"]) == 1


# --- the model and the version ----------------------------------------------------------------------------------------


def mapped(model: ModelVersion, service: str, namespace: str = "team-a", version: ModelVersion | None = None) -> None:
    row = KServeService(namespace=namespace, service=service, model=model.model, version=version)
    save_kserve_service(service=row)


def test_a_service_without_a_model_is_counted(client: Client, iris: ModelVersion) -> None:
    counted = Counted()
    send(client, pair(*V1, event_id="e", service="nobody"))
    assert counted.of("unknown") == {"unknown_service": 2}


def test_a_mapping_by_namespace_and_name(client: Client, iris: ModelVersion) -> None:
    flowers = version_served_elsewhere("flowers")
    mapped(flowers, "iris", namespace="team-b")
    send(client, pair(*V1, event_id="a") + pair(*V1, event_id="b", namespace="team-b"))
    assert [len(captured(version)["prediction"]) for version in (iris, flowers)] == [1, 1]


def test_a_model_with_services_takes_only_their_events(client: Client, iris: ModelVersion) -> None:
    counted = Counted()
    mapped(iris, "iris", namespace="prod")
    send(client, pair(*V1, event_id="a") + pair(*V1, event_id="b", namespace="prod"))
    assert counted.of("unknown") == {"unknown_service": 2}
    assert counted.of() == {"paired": 2}


def test_the_version_of_a_mapping_and_of_an_annotation(client: Client, iris: ModelVersion) -> None:
    second, third = (version_served_elsewhere("iris", name, production=False) for name in ("2.0.0", "3.0.0"))
    mapped(iris, "iris-next", version=second)
    mapped(iris, "iris")
    annotated = '{"mlmon/version":"3.0.0"}'
    send(
        client,
        [
            *pair(*V1, event_id="a"),
            *pair(*V1, event_id="b", service="iris-next"),
            *pair(*V1, event_id="c", annotations=annotated),
            *pair(*V1, event_id="d", service="iris-next", annotations=annotated),
        ],
    )
    assert [len(captured(version)["prediction"]) for version in (iris, second, third)] == [1, 1, 2]


def test_a_version_that_cannot_be_chosen_is_counted(client: Client, iris: ModelVersion) -> None:
    counted = Counted()
    send(client, pair(*V1, event_id="a", annotations='{"mlmon/version":"9.0.0"}'))
    set_stage(version=iris, stage=Stage.STAGING)
    send(client, pair(*V1, event_id="b"))
    assert counted.of() == {"no_version": 4}


def test_a_model_that_is_served_here_too(client: Client, redis_client: redis.Redis) -> None:
    here = uploaded_version("iris")
    send(client, pair(*V1, event_id="a"))
    assert captured(here)["prediction"] == ["setosa"]


def test_a_shadows_events_are_no_requests_of_clients(client: Client, iris: ModelVersion) -> None:
    successes = requests_counted("success")
    set_stage(version=iris, stage=Stage.SHADOW)
    send(client, pair(*V1, event_id="a", annotations='{"mlmon/version":"1.0.0"}'))
    assert len(captured(iris)["prediction"]) == 1
    assert requests_counted("success") == successes


# --- feedback ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_archived", [True, False])
def test_feedback_by_the_id_of_the_event(client: Client, iris: ModelVersion, is_archived: bool) -> None:
    given = str(uuid.uuid4())
    request = {"instances": [SETOSA, VIRGINICA]}
    response = {"predictions": ["setosa", "versicolor"]}
    send(client, [*pair(*V1, event_id=given), *pair(*V1, event_id="order-1"), *pair(request, response, event_id="two")])
    if is_archived:
        archive_observations(seconds=10)
    items = [
        {"prediction_id": given, "actual": "setosa"},
        {"event_id": given, "actual": "setosa"},
        {"event_id": "order-1", "actual": "virginica"},
        {"event_id": "two/0", "actual": "setosa"},
        {"event_id": "two/1", "actual": "virginica"},
        {"event_id": "two", "actual": "virginica"},
    ]
    results = client.post("/api/v1/feedback", items, content_type="application/json").json()["results"]
    known = "accepted" if is_archived else "unknown"
    assert [one["status"] for one in results] == [known, "duplicate", known, known, known, "unknown"]
    archive_observations(seconds=10)
    joined = GroundTruth.objects.filter(version=iris)
    assert sorted(joined.values_list("prediction", "actual")) == [
        ("setosa", "setosa"),
        ("setosa", "setosa"),
        ("setosa", "virginica"),
        ("versicolor", "virginica"),
    ]


# --- access -----------------------------------------------------------------------------------------------------------


def on_the_event_loop(environ: dict[str, Any], start_response: Any) -> Any:
    """Respond as the web server does: the view gets what is not received directly."""
    headers = {name[5:].lower().replace("_", "-"): value for name, value in environ.items() if name[:5] == "HTTP_"}
    headers |= {"content-type": environ.get("CONTENT_TYPE", "")}
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if environ["REQUEST_METHOD"] == "POST" and receive_directly(headers, environ["wsgi.input"], length):
        return start_response("202 Accepted", [])
    return get_wsgi_application()(environ, start_response)


def applications() -> list[Any]:
    return [pytest.param(get_wsgi_application(), id="Django"), pytest.param(on_the_event_loop, id="event loop")]


def status_of(application: Any, message: Message, method: str = "POST", **headers: str) -> tuple[int, dict[str, str]]:
    names: Any = {
        f"HTTP_{name.upper().replace('-', '_')}": value for name, value in {**message.headers, **headers}.items()
    }
    content_type = names.pop("HTTP_CONTENT_TYPE", "")
    environ = RequestFactory().generic(method, EVENTS_PATH, message.body, content_type, **names).environ
    started: list[Any] = []
    response = application(environ, lambda status, headers: started.append((int(status[:3]), dict(headers))))
    if hasattr(response, "close"):
        response.close()
    result: tuple[int, dict[str, str]] = started[0]
    return result


@pytest.mark.django_db(transaction=True)  # Django's handler closes the connection at the end of a request
@pytest.mark.parametrize("application", applications())
def test_both_ways_through_the_server_are_the_same(application: Any, iris: ModelVersion, settings: Settings) -> None:
    settings.MLMON_API_ACCESS = "token"
    _, predict = create_token(name="logger", scope="predict")
    _, read = create_token(name="reader", scope="read")
    request, response, large = made_events(
        [*pair(*V1, event_id="a"), half(REQUEST, {"instances": [SETOSA] * 60_000}, event_id="large")]
    )
    counted = Counted()
    assert status_of(application, request, authorization=f"Bearer {predict}")[0] == 202
    assert status_of(application, response, authorization=as_password(predict), accept="text/html")[0] == 202
    event_receiver().flush()
    assert counted.of() == {"paired": 2}
    status, headers = status_of(application, request)
    assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
    assert status_of(application, request, authorization="Bearer mlmon_wrong")[0] == 401
    assert status_of(application, request, authorization=as_password("mlmon_wrong"))[0] == 401
    assert status_of(application, request, authorization="Basic !")[0] == 401
    assert status_of(application, request, authorization=as_password(read))[0] == 403
    assert status_of(application, request, "GET", authorization=f"Bearer {predict}")[0] == 405
    assert status_of(application, large, authorization=f"Bearer {predict}")[0] == 202
    assert status_of(application, request, authorization=f"Bearer {predict}", host="evil.example")[0] == 400
    assert counted.of("unknown") == {"not_permitted": 5, "too_large": 1}


@pytest.mark.django_db(transaction=True)  # Django's handler closes the connection at the end of a request
@pytest.mark.parametrize("application", applications())
def test_open_access_needs_no_token(application: Any, iris: ModelVersion) -> None:
    (message,) = made_events([half(REQUEST, V1[0], event_id="a")])
    assert status_of(application, message)[0] == 202


@pytest.mark.django_db(transaction=True)  # Django's handler closes the connection at the end of a request
@pytest.mark.parametrize("application", applications())
def test_plain_http_from_inside_the_cluster(application: Any, iris: ModelVersion, settings: Settings) -> None:
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz|metrics|api/v1/kserve/events)$"]
    (message,) = made_events([half(REQUEST, V1[0], event_id="a")])
    assert status_of(get_wsgi_application(), message)[0] == 202


def as_password(token: str) -> str:
    """Return the header that a client sends for the URL http://kserve:TOKEN@host/ (RFC 7617)."""
    return "Basic " + base64.b64encode(f"kserve:{token}".encode()).decode()


# --- the thread and Redis ---------------------------------------------------------------------------------------------


@pytest.fixture
def started_serving(iris: ModelVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    """The snapshot as in a web process, where threads read it without SQL; it is not refreshed."""
    monkeypatch.setattr("inference.serving.REFRESH_SECONDS", 3600)  # another connection does not see the test's rows
    serving().start()


def test_events_wait_while_redis_is_unavailable(iris: ModelVersion, started_serving: None, tmp_path: Path) -> None:
    other = start_redis(tmp_path, persistence=KEEPS)
    client = redis.Redis.from_url(other.url)
    receiver = EventReceiver(
        lambda: PairStore(client, wait_seconds=60, most_halves=100, most_bytes=10**6),
        queue_bytes=10**6,
        pause_seconds=0.01,
    )
    receiver.start()
    counted = Counted()
    request, response = (ReceivedEvent(*message) for message in made_events(pair(*V1, event_id="a")))
    try:
        receiver.receive(request)
        await_condition(lambda: client.exists("mlmon:{kserve}:halves") == 1, "the half does not wait")
        other.stop()
        receiver.receive(response)
        assert counted.of() == {}
        other = start_redis_again(tmp_path, other.port)
        await_condition(lambda: counted.of() == {"paired": 2}, "the pair was not captured")
    finally:
        receiver.stop()
        client.close()
        other.stop()
    assert captured(iris)["prediction"] == ["setosa"]


def test_the_thread_ends_while_redis_is_unavailable(started_serving: None) -> None:
    client = redis.Redis(port=free_port(), socket_connect_timeout=0.1)
    receiver = EventReceiver(
        lambda: PairStore(client, wait_seconds=60, most_halves=100, most_bytes=10**6),
        queue_bytes=10**6,
        pause_seconds=0.01,
    )
    receiver.start()
    receiver.receive(ReceivedEvent({}, b""))
    begun = time.monotonic()
    receiver.stop()
    assert time.monotonic() - begun < STOP_SECONDS + 1
    client.close()
