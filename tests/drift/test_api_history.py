"""History and incidents in the drift calls: filters, pages, shapes and errors."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from pytest_django.fixtures import Settings

from drift.api.serializers import (
    DriftReportSerializer,
    FeatureDriftSerializer,
    HypothesisSerializer,
    IncidentListSerializer,
    IncidentSerializer,
    JointChangeSerializer,
    MeasureSerializer,
    PredictionDriftSerializer,
    QualitySerializer,
    VerdictSerializer,
)
from drift.models import DriftCheck, DriftIncident, FeatureDrift
from mlmon.measures import MEASURES
from mlmon.results import ComparisonResult, VerdictStatus
from models_registry.models import Model, ModelFeature, ModelVersion, ReferenceDataset
from tests.mlmon.comparison_results import WITH_EVERYTHING, judged, values_of

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DRIFT, INCIDENTS = "/api/v1/models/flights/drift", "/api/v1/models/flights/incidents"
QUIET = judged(VerdictStatus.QUIET, [values_of("dest", 0.5)])
ALARM = judged(VerdictStatus.ALARM, [values_of("dest", 1e-19, is_listed=True)])


@pytest.fixture(autouse=True)
def _open(settings: Settings) -> None:
    settings.MLMON_API_ACCESS = "open"


@pytest.fixture
def version() -> ModelVersion:
    version = ModelVersion.objects.create(
        model=Model.objects.create(name="flights"),
        version="1.0.0",
        artefact="m.onnx",
        artefact_sha256="0" * 64,
        artefact_bytes=1,
        task_type="classification",
        stage="production",
        traffic_weight=1,
    )
    for position, (name, kind) in enumerate([("distance", "numeric"), ("dest", "categorical"), ("hour", "numeric")]):
        ModelFeature.objects.create(
            version=version, name=name, kind=kind, position=position, input_name=name, tensor_type="float32"
        )
    return version


@pytest.fixture
def reference(version: ModelVersion) -> ReferenceDataset:
    return ReferenceDataset.objects.create(version=version, file="r.csv", original_filename="r.csv")


def _stored(reference: ReferenceDataset, result: ComparisonResult, hour: int, *, is_backfilled: bool = False) -> int:
    """Return the id of a check whose window ended `hour` hours after noon."""
    check = DriftCheck(
        version=reference.version,
        reference=reference,
        window_end=f"{DriftCheck.objects.count()}-0",
        rows_seen=1000,
        window_started_at=NOON + (hour - 1) * HOUR,
        window_ended_at=NOON + hour * HOUR,
        is_backfilled=is_backfilled,
    )
    features = check.succeed(result)
    check.save()
    FeatureDrift.objects.bulk_create(features)
    return check.pk


def _incident(reference: ReferenceDataset, *, is_open: bool) -> DriftIncident:
    check_id = _stored(reference, WITH_EVERYTHING, 0)
    return DriftIncident.objects.create(
        version=reference.version,
        opened_by_id=check_id,
        last_check_id=check_id,
        opened_at=NOON,
        closed_at=None if is_open else NOON + HOUR,
        closing_reason="" if is_open else "quiet",
        hypotheses=(values_of("dest", 1e-19), values_of("distance", 1e-7)),
        counted_rows=1000,
    )


def _get(client: Client, path: str = DRIFT, status: int = 200, **query: Any) -> dict[str, Any]:
    response = client.get(path, query)
    assert response.status_code == status, response.content
    body: dict[str, Any] = response.json()
    return body


def _ids(client: Client, **query: Any) -> list[int]:
    return [check["check_id"] for check in _get(client, history=query.pop("history", 10), **query)["checks"]]


def test_history_and_its_pages_are_in_the_order_of_the_windows(client: Client, reference: ReferenceDataset) -> None:
    third, second = _stored(reference, QUIET, 3), _stored(reference, QUIET, 2)
    fourth = _stored(reference, QUIET, 4)
    first = _stored(reference, QUIET, 1, is_backfilled=True)
    also_second = _stored(reference, QUIET, 2, is_backfilled=True)
    expected = [fourth, third, also_second, second, first]
    assert _ids(client) == expected
    assert [check["source"] for check in _get(client, history=10)["checks"]] == [
        "stored",
        "stored",
        "backfilled",
        "stored",
        "backfilled",
    ]
    paged: list[int] = []
    before: dict[str, Any] = {}
    for _ in expected:
        page = _get(client, history=1, **before)
        paged += [check["check_id"] for check in page["checks"]]
        before = {"before": page["next_before"]}
    assert (paged, before) == (expected, {"before": None})


def test_a_page_continues_if_the_last_check_of_the_page_before_was_deleted(
    client: Client, reference: ReferenceDataset
) -> None:
    ids = [_stored(reference, QUIET, hour) for hour in range(3)]
    DriftCheck.objects.filter(pk=ids[1]).delete()
    assert _ids(client, before=ids[1]) == [ids[0]]


def test_history_between_two_times(client: Client, reference: ReferenceDataset) -> None:
    ids = [_stored(reference, QUIET, hour) for hour in range(4)]
    since, until = (NOON + HOUR).isoformat(), (NOON + 3 * HOUR).isoformat()
    assert _ids(client, since=since) == [ids[3], ids[2], ids[1]]
    assert _ids(client, until=until) == [ids[2], ids[1], ids[0]]
    assert _ids(client, since=since, until=until) == [ids[2], ids[1]]


def test_history_can_be_filtered_by_drift_and_alarms(client: Client, reference: ReferenceDataset) -> None:
    results = [QUIET, WITH_EVERYTHING, ALARM]
    quiet, everything, alarm = (_stored(reference, result, hour) for hour, result in enumerate(results))
    assert _ids(client, drifted="true") == [everything]  # `distance` is above its threshold
    assert _ids(client, drifted="false") == [alarm, everything, quiet]
    assert _ids(client, alarm="true") == [alarm, everything]
    assert _ids(client, alarm="true", feature="dest") == [alarm]
    assert _ids(client, alarm="true", feature="distance") == [everything]
    assert _ids(client, drifted="true", feature="dest") == []
    assert _ids(client, drifted="true", feature="distance") == [everything]


def test_history_of_one_feature_has_only_that_feature(client: Client, reference: ReferenceDataset) -> None:
    _stored(reference, WITH_EVERYTHING, 1)
    (check,) = _get(client, history=1, feature="dest")["checks"]
    assert set(check["feature_drift"]) == {"dest"}
    assert check["drifted_features"] == ["distance"]  # the members about the model are complete


def test_history_costs_the_same_queries_whatever_its_length(
    client: Client, reference: ReferenceDataset, django_assert_max_num_queries: Any
) -> None:
    for hour in range(20):
        _stored(reference, WITH_EVERYTHING, hour)
    with django_assert_max_num_queries(6):
        assert len(_ids(client, history=20)) == 20


def test_a_check_with_everything_has_the_described_shape(client: Client, reference: ReferenceDataset) -> None:
    _stored(reference, WITH_EVERYTHING, 1)
    (body,) = _get(client, history=1)["checks"]
    feature, verdict = body["feature_drift"]["distance"], body["verdict"]
    for part, serializer in [
        (body, DriftReportSerializer),
        (feature, FeatureDriftSerializer),
        (feature["verdict"], HypothesisSerializer),
        (feature["quality"][0], QualitySerializer),
        (feature["measures"]["kolmogorov_smirnov"], MeasureSerializer),
        (verdict, VerdictSerializer),
        (verdict["listed"][0], HypothesisSerializer),
        (body["prediction_drift"], PredictionDriftSerializer),
        (body["prediction_drift"]["verdict"], HypothesisSerializer),
        (body["correlations"][0], HypothesisSerializer),
        (body["joint_change"], JointChangeSerializer),
    ]:
        assert set(part) == set(serializer().fields), serializer.__name__


def test_each_measure_has_its_definition(client: Client, reference: ReferenceDataset) -> None:
    _stored(reference, WITH_EVERYTHING, 1)
    (body,) = _get(client, history=1)["checks"]
    measures = body["feature_drift"]["distance"]["measures"]
    assert {name: one["definition"] for name, one in measures.items()} == {
        method.value: MEASURES[method].text for method in WITH_EVERYTHING.features[0].measures
    }
    assert measures["jensen_shannon_distance"]["parameters"] == {"bins": 15, "width": 2.5, "rule": "sturges"}
    assert measures["population_stability_index"]["value"] is None  # JSON has no infinity


def test_the_verdict_lists_what_drifted(client: Client, reference: ReferenceDataset) -> None:
    _stored(reference, WITH_EVERYTHING, 1)
    (body,) = _get(client, history=1)["checks"]
    verdict = body["verdict"]
    assert (verdict["status"], verdict["false_alarm_budget"], verdict["window_rows"]) == ("alarm", 10_000, [1000, 500])
    listed = [(one["name"], one["other_name"], one["p_value"]) for one in verdict["listed"]]
    assert listed == [("distance", "", 1.6e-19), ("distance", "air_time", 1e-8)]
    assert "distance" in verdict["sentence"]


def test_incidents_are_paged_latest_first_and_filtered_by_state(client: Client, reference: ReferenceDataset) -> None:
    closed = [_incident(reference, is_open=False).pk for _ in range(2)]
    opened = _incident(reference, is_open=True).pk
    body = _get(client, INCIDENTS)
    assert set(body) == set(IncidentListSerializer().fields)
    assert [one["id"] for one in body["incidents"]] == [opened, *reversed(closed)]
    assert [one["id"] for one in _get(client, INCIDENTS, open="true")["incidents"]] == [opened]
    assert [one["id"] for one in _get(client, INCIDENTS, open="false")["incidents"]] == closed[::-1]
    first = _get(client, INCIDENTS, limit=2)
    assert [one["id"] for one in first["incidents"]] == [opened, closed[1]]
    second = _get(client, INCIDENTS, limit=2, before=first["next_before"])
    assert ([one["id"] for one in second["incidents"]], second["next_before"]) == ([closed[0]], None)


def test_incidents_of_one_version(client: Client, reference: ReferenceDataset) -> None:
    incident = _incident(reference, is_open=True)
    other = ModelVersion.objects.create(
        model=reference.version.model,
        version="2.0.0",
        artefact="m.onnx",
        artefact_sha256="0" * 64,
        artefact_bytes=1,
        task_type="classification",
    )
    assert _get(client, INCIDENTS, version=other.version)["incidents"] == []
    assert [one["id"] for one in _get(client, INCIDENTS, version="1.0.0")["incidents"]] == [incident.pk]
    assert _get(client, INCIDENTS, status=404, version="3.0.0")["status"] == 404


def test_one_incident(client: Client, reference: ReferenceDataset) -> None:
    incident = _incident(reference, is_open=True)
    body = _get(client, f"{INCIDENTS}/{incident.pk}")
    assert set(body) == set(IncidentSerializer().fields)
    assert (body["is_open"], body["features"], body["acknowledged_by"]) == (True, ["dest", "distance"], None)
    assert [one["p_value"] for one in body["hypotheses"]] == [1e-19, 1e-7]
    assert body["opened_at"] == "2026-03-01T12:00:00Z"


@pytest.mark.parametrize("incident_id", ["0", "999999", "9" * 40])
def test_an_unknown_incident_is_404(client: Client, version: ModelVersion, incident_id: str) -> None:
    response = client.get(f"{INCIDENTS}/{incident_id}")
    assert (response.status_code, response["Content-Type"]) == (404, "application/problem+json")


def test_another_models_incident_is_404(client: Client, reference: ReferenceDataset) -> None:
    incident = _incident(reference, is_open=True)
    Model.objects.create(name="other")
    assert client.get(f"/api/v1/models/other/incidents/{incident.pk}").status_code == 404


@pytest.mark.parametrize(
    ("path", "query", "name"),
    [
        (DRIFT, {"history": "1", "since": "yesterday"}, "since"),
        (DRIFT, {"history": "1", "until": "2026-13-01"}, "until"),
        (DRIFT, {"history": "1", "drifted": "perhaps"}, "drifted"),
        (DRIFT, {"history": "1", "alarm": "7"}, "alarm"),
        (DRIFT, {"alarm": "true"}, "alarm"),
        (DRIFT, {"since": "2026-03-01T12:00:00Z"}, "since"),
        (DRIFT, {"feature": "colour"}, "feature"),
        (DRIFT, {"feature": "a\x00b"}, "feature"),
        (DRIFT, {"feature": "x" * 129}, "feature"),
        (INCIDENTS, {"open": "perhaps"}, "open"),
        (INCIDENTS, {"limit": "0"}, "limit"),
        (INCIDENTS, {"limit": "101"}, "limit"),
        (INCIDENTS, {"before": "x"}, "before"),
        (INCIDENTS, {"before": "9" * 30}, "before"),
        (INCIDENTS, {"version": "1\x00"}, "version"),
    ],
)
def test_the_error_names_the_bad_parameter(
    client: Client, version: ModelVersion, path: str, query: dict[str, str], name: str
) -> None:
    response = client.get(path, query)
    assert (response.status_code, response["Content-Type"]) == (400, "application/problem+json")
    assert f"Query parameter '{name}': " in response.json()["detail"]
