"""The health panel on the page of a version, and on the page that confirms its promotion."""

from datetime import timedelta

import numpy as np
import pytest
import redis
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from drift.models import DriftCheck, DriftIncident
from drift.services.checks import run_drift_check
from inference.models import RollupSpan, TrafficRollup
from models_registry.models import ModelVersion, Stage
from models_registry.services.versions import set_stage
from monitoring.pages.panels import health_panel
from performance.models import PerformanceReport, Period
from tests.factories import iris_onnx, uploaded_version
from tests.mlmon.observed import iris_rows, observe, profiled_reference

pytestmark = pytest.mark.django_db


@pytest.fixture
def version(redis_client: redis.Redis) -> ModelVersion:
    return uploaded_version("classifier")


def page_of(client: Client, version: ModelVersion, name: str = "change") -> str:
    return client.get(reverse(f"admin:models_registry_modelversion_{name}", args=[version.pk])).content.decode()


def report(version: ModelVersion, accuracy: float) -> PerformanceReport:
    now = timezone.now()
    return PerformanceReport.objects.create(
        version=version,
        period=Period.LATEST,
        started_at=now,
        ended_at=now,
        computed_at=now,
        predicted_rows=1_000,
        labelled_rows=1_000,
        realised={"accuracy": accuracy},
        estimated={"accuracy": 0.875},
    )


def test_the_panel_shows_traffic_drift_and_performance_of_its_version_only(version: ModelVersion) -> None:
    other = uploaded_version("classifier", "2.0.0", onnx=iris_onnx(1), production=False)
    minute = timezone.now().replace(second=0, microsecond=0)
    for row, errors in ((version, 1), (other, 50)):
        TrafficRollup.objects.create(
            version=row,
            span_seconds=RollupSpan.MINUTE,
            begins_at=minute - timedelta(minutes=1),
            success=99,
            error=errors,
            latency_counts=[0] * 14,
            confidence_counts=[0] * 14,
            class_counts=[],
        )
    profiled_reference(version, iris_rows(2_000))
    observe(version, iris_rows(1_000, seed=1) + np.array([0, 0, 2, 1]))
    run_drift_check(version_id=version.pk)
    latest = report(version, 0.75)
    report(other, 0.5)
    found = health_panel(version).context
    assert found["errors"].value == 0.01
    assert found["per_minute"].value == pytest.approx(100 / 9.5, rel=0.06)
    assert (found["realised"].value, found["estimated"].value) == (0.75, 0.875)
    assert found["report"] == latest
    assert found["check"] == DriftCheck.objects.get()
    assert found["drift"].text == "drift"
    assert set(found["drifted"].split(", ")) == {"petal_length", "petal_width"}
    assert found["incident"] == DriftIncident.objects.get()


def test_the_panel_of_a_new_version_shows_what_is_missing(admin_client: Client, version: ModelVersion) -> None:
    staged = uploaded_version("classifier", "2.0.0", onnx=iris_onnx(1), production=False)
    page = page_of(admin_client, staged)
    assert upload_link(staged) in page
    assert "It serves only requests that name this version." in page
    assert "not checked" in page
    assert "It serves its share of the requests that name no version." in page_of(admin_client, version)


def upload_link(version: ModelVersion) -> str:
    return f'href="/admin/models_registry/referencedataset/add/?version={version.pk}"'


def test_copies_for_a_shadow_are_counted_as_rows(version: ModelVersion) -> None:
    set_stage(version=version, stage=Stage.SHADOW)
    TrafficRollup.objects.create(
        version=version,
        span_seconds=RollupSpan.MINUTE,
        begins_at=timezone.now().replace(second=0, microsecond=0),
        predictions=95,
        latency_counts=[0] * 14,
        confidence_counts=[0] * 14,
        class_counts=[],
    )
    found = health_panel(version).context
    assert found["traffic_of"] == "rows"
    assert found["per_minute"].value == pytest.approx(95 / 9.5, rel=0.06)


def test_the_panel_of_an_archived_version_is_not_refreshed(admin_client: Client, version: ModelVersion) -> None:
    assert 'id="panel-health" data-live aria' in page_of(admin_client, version)
    set_stage(version=version, stage=Stage.ARCHIVED)
    page = page_of(admin_client, version)
    assert 'id="panel-health" aria' in page
    assert "It serves no requests any more." in page
    assert upload_link(version) not in page


def test_people_see_only_what_they_may(client: Client, version: ModelVersion) -> None:
    person = User.objects.create_user("somebody", is_staff=True)
    client.force_login(person)
    person.user_permissions.add(Permission.objects.get(codename="view_modelversion"))
    page = page_of(client, version)
    assert "Health" not in page
    assert 'href="/models/classifier"' not in page
    assert "/admin/drift/driftcheck/" not in page
    person.groups.add(Group.objects.get(name="viewer"))
    page = page_of(client, version)
    assert "Health" in page
    assert 'href="/models/classifier"' in page
    assert upload_link(version) not in page  # a viewer uploads nothing


def test_the_promotion_page_shows_both_versions(admin_client: Client, version: ModelVersion) -> None:
    challenger = uploaded_version("classifier", "2.0.0", onnx=iris_onnx(1), production=False)
    report(version, 0.75)
    report(challenger, 0.8125)
    page = page_of(admin_client, challenger, "promote")
    places = [
        page.index(text)
        for text in (
            "Promote to production: classifier 2.0.0",
            "classifier 1.0.0 loses its traffic",
            "Health of classifier 2.0.0, in staging",
            'value="0.8125"',
            "Health of classifier 1.0.0, in production",
            'value="0.75"',
        )
    ]
    assert places == sorted(places)
    assert "Health of" not in page_of(admin_client, challenger, "archive")


def test_the_page_links_to_the_other_pages_of_the_model(admin_client: Client, version: ModelVersion) -> None:
    page = page_of(admin_client, version)
    for address in (
        "/models/classifier",
        f"/admin/drift/driftcheck/?version__model__id__exact={version.model_id}",
        f"/admin/drift/driftincident/?version__model__id__exact={version.model_id}",
        f"/admin/models_registry/model/{version.model_id}/change/",
    ):
        assert f'href="{address}"' in page
        assert admin_client.get(address).status_code == 200
