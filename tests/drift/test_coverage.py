"""Features that a check could not compare: stored, served and shown, and never called quiet."""

import json
from dataclasses import replace
from html import unescape
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import redis
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from accounts.management.terminal import ExitStatus
from drift.models import CheckStatus, DriftCheck, DriftIncident, DriftPolicy, FeatureDrift, FeaturePolicy, PolicyMode
from drift.rendering.heat_map import NOT_COMPARED as UNCOMPARED
from drift.rendering.heat_map import HeatColumn, heat_map
from drift.rendering.states import ADVICE, outcome_of
from drift.services.checks import run_drift_check
from inference import stream
from mlmon.results import NOT_COMPARED, ResultStatus
from mlmon.sentences import verdict_sentence
from models_registry.models import ModelVersion
from tests.factories import IRIS_FEATURES, uploaded_version
from tests.inference.observed import delete_window
from tests.mlmon.observed import append, iris_rows, observations, observe, profiled_reference

pytestmark = pytest.mark.django_db

PATH = "/api/v1/models/classifier/drift"
CHECKS = "admin:drift_driftcheck"
LOST = {"feature": "petal_width", "reason": "missing_column", "detail": "The window has no such column."}


@pytest.fixture
def version(redis_client: redis.Redis, settings: Settings, tmp_path: Path) -> ModelVersion:
    settings.MEDIA_ROOT = tmp_path
    settings.MLMON_API_ACCESS = "open"
    version = uploaded_version("classifier")
    profiled_reference(version, iris_rows(5000, seed=1))
    return version


def _checked(version: ModelVersion, *, without: tuple[str, ...] = (), seed: int = 2, rows: int = 1000) -> DriftCheck:
    """Return a check of new rows like the reference's, whose window lacks some features."""
    delete_window(stream.redis_client(), version.pk)
    packed = observations(version, iris_rows(rows, seed=seed))
    names = [name for name in packed.column_names if any(name.endswith(f".{feature}") for feature in without)]
    assert len(names) == len(without)
    append(version, packed.drop_columns(names))
    check = run_drift_check(version_id=version.pk)
    assert check is not None
    return check


@pytest.fixture
def incomplete(version: ModelVersion) -> DriftCheck:
    return _checked(version, without=("petal_width",))


def _page(client: Client, check: DriftCheck) -> str:
    return unescape(client.get(reverse(f"{CHECKS}_change", args=[check.pk])).content.decode())


def test_a_check_counts_what_it_could_not_compare(incomplete: DriftCheck) -> None:
    assert (incomplete.verdict_status, incomplete.n_compared, incomplete.n_not_compared) == ("incomplete", 3, 1)
    assert outcome_of(incomplete).text == "incomplete"


def test_the_api_and_its_history_have_the_coverage(client: Client, incomplete: DriftCheck) -> None:
    for body in (client.get(PATH).json(), client.get(PATH, {"history": 1}).json()["checks"][0]):
        assert body["coverage"] == {"compared": 3, "not_compared": [LOST], "left_out": []}
        assert body["verdict"]["status"] == "incomplete"
        assert body["verdict"]["sentence"].startswith("Incomplete: 1 of 4 features could not be compared. No drift in")
        assert body["feature_drift"]["petal_width"]["status"] == "missing_column"


def test_features_that_are_not_monitored_are_left_out_on_purpose(client: Client, version: ModelVersion) -> None:
    policy = DriftPolicy.objects.create(model=version.model)
    FeaturePolicy.objects.create(policy=policy, feature_name="petal_width", is_monitored=False)
    check = _checked(version, without=("petal_width",))
    assert (check.verdict_status, outcome_of(check).text) == ("quiet", "no drift")
    left_out = {"feature": "petal_width", "reason": "ignored", "detail": "It is not monitored."}
    assert client.get(PATH).json()["coverage"] == {"compared": 3, "not_compared": [], "left_out": [left_out]}


def test_without_a_comparison_there_is_no_coverage(client: Client, version: ModelVersion) -> None:
    assert client.get(PATH).json()["coverage"] is None


@pytest.mark.parametrize("reason", NOT_COMPARED)
def test_the_page_says_above_the_result_why_and_what_to_do(
    admin_client: Client, version: ModelVersion, reason: ResultStatus
) -> None:
    check = _checked(version)
    result = check.comparison
    failed = replace(result.features[0], status=reason, status_detail="A detail.", score=None, verdict=None)
    FeatureDrift.objects.filter(check_run=check).delete()
    rows = check.succeed(replace(result, features=(failed, *result.features[1:])))
    check.save()
    FeatureDrift.objects.bulk_create(rows)

    page = _page(admin_client, check)
    notice = page[page.index('aria-label="Not compared"') : page.index('aria-label="Verdict"')]
    assert "1 of 4 features could not be compared." in notice
    assert f"sepal_length</strong>: {reason.value.replace('_', ' ')}. A detail." in notice
    assert ADVICE[reason] in notice


def test_a_complete_check_has_no_notice(admin_client: Client, version: ModelVersion) -> None:
    assert 'aria-label="Not compared"' not in _page(admin_client, _checked(version))


def test_a_check_that_compared_nothing_is_never_quiet(admin_client: Client, version: ModelVersion) -> None:
    delete_window(stream.redis_client(), version.pk)
    packed = observations(version, iris_rows(1000, seed=2))
    kept = [name for name in packed.column_names if name != "prediction" and not name.endswith(IRIS_FEATURES)]
    append(version, packed.select(kept))
    check = run_drift_check(version_id=version.pk)
    assert check is not None
    assert (check.n_compared, check.n_not_compared, check.verdict_status) == (0, 4, "incomplete")
    assert outcome_of(check).text == "nothing compared"
    page = _page(admin_client, check)
    assert "None of the 4 features could be compared." in page
    assert "no drift" not in page.lower()
    overview = unescape(admin_client.get(reverse("admin:index")).content.decode())
    assert "The latest check could not compare any feature, so drift may not be noticed." in overview


def test_thresholds_alone_are_incomplete_too(version: ModelVersion) -> None:
    DriftPolicy.objects.create(model=version.model, mode=PolicyMode.THRESHOLDS)
    check = _checked(version, without=("petal_width",))
    assert outcome_of(check).text == "incomplete"
    expected = "Incomplete: 1 of 4 features could not be compared. No score is above its threshold."
    assert verdict_sentence(check.comparison) == expected


def test_a_check_of_predictions_alone_is_not_called_no_drift(version: ModelVersion) -> None:
    policy = DriftPolicy.objects.create(model=version.model)
    for name in IRIS_FEATURES:
        FeaturePolicy.objects.create(policy=policy, feature_name=name, is_monitored=False)
    check = _checked(version)
    assert (check.n_compared, check.n_not_compared, outcome_of(check).text) == (0, 0, "predictions only")


def test_lists_filter_incomplete_checks(admin_client: Client, version: ModelVersion) -> None:
    incomplete, complete = _checked(version, without=("petal_width",)), _checked(version, seed=3)
    for wanted, found in (("incomplete", incomplete), ("none", complete)):
        page = admin_client.get(reverse(f"{CHECKS}_changelist"), {"result": wanted})
        assert list(page.context["cl"].queryset) == [found]


def test_the_heat_map_marks_features_that_were_not_compared(version: ModelVersion) -> None:
    checks = [_checked(version, seed=3), _checked(version, without=("petal_width",))]
    scores = {(row.check_run_id, row.feature_name): row for row in FeatureDrift.objects.all()}
    columns = [HeatColumn(check.pk, check.created_at, is_shown=False) for check in checks]
    found = heat_map(["petal_width"], columns, scores)
    assert found is not None
    assert [cell.mark for cell in found.rows[0].cells] == ["", UNCOMPARED]
    assert found.rows[0].cells[1].text == "not compared: missing column"
    assert found.rows[0].summary.endswith(", not compared in 1")


def test_the_overview_names_incomplete_checks(admin_client: Client, incomplete: DriftCheck) -> None:
    advice = ADVICE[ResultStatus.MISSING_COLUMN]
    text = (
        "The latest check could not compare every feature, so drift may not be noticed. petal_width: missing column. "
    )
    for path in (reverse("admin:index"), "/models/classifier"):
        page = unescape(admin_client.get(path).content.decode())
        assert text + advice in page
        assert "no drift" not in page.lower()


def test_an_incomplete_check_closes_no_incident(admin_client: Client, version: ModelVersion) -> None:
    observe(version, iris_rows(1000, seed=9) + np.array([0.8, 0, 0, 0]))
    assert run_drift_check(version_id=version.pk) is not None
    for seed in range(10, 14):
        append(version, observations(version, iris_rows(1000, seed=seed)).drop_columns(["feature.petal_width"]))
        check = run_drift_check(version_id=version.pk)
        assert check is not None
        assert check.verdict_status == "incomplete"
    incident = DriftIncident.objects.get()
    assert (incident.closed_at, incident.quiet_windows, incident.last_check) == (None, 0, check)
    page = admin_client.get(reverse("admin:drift_driftincident_change", args=[incident.pk])).content.decode()
    assert "could not compare every feature, so its window does not count as quiet." in page


def test_drift_status_ends_with_4(incomplete: DriftCheck) -> None:
    assert _status() == (ExitStatus.NOT_COMPARED, {"compared": 3, "not_compared": 1, "verdict": "incomplete"})
    assert _status("--fail-on", "never")[0] == 0
    printed = StringIO()
    with pytest.raises(SystemExit):
        call_command("drift_status", stdout=printed, no_color=True)
    assert "incomplete, 1 of 4 not compared" in printed.getvalue()
    DriftCheck.objects.update(status=CheckStatus.FAILED, error_message="It broke.")
    assert _status()[0] == ExitStatus.FOUND


def _status(*options: str) -> tuple[int, dict[str, Any]]:
    """Return the exit status of drift_status, and what it prints of the coverage."""
    printed, status = StringIO(), 0
    try:
        call_command("drift_status", "--json", *options, stdout=printed)
    except SystemExit as end:
        status = int(end.code or 0)
    check = json.loads(printed.getvalue())["versions"][0]["check"]
    return status, {name: check[name] for name in ("compared", "not_compared", "verdict")}


def test_a_feature_that_is_always_missing_alarms_and_has_a_gauge(client: Client, version: ModelVersion) -> None:
    packed = observations(version, iris_rows(1000, seed=2))
    place = packed.column_names.index("feature.petal_width")
    append(version, packed.set_column(place, "feature.petal_width", pa.nulls(1000, pa.float64())))
    check = run_drift_check(version_id=version.pk)
    assert check is not None
    assert (check.verdict_status, check.n_not_compared, outcome_of(check).text) == ("alarm", 0, "drift")
    row = check.features.get(feature_name="petal_width")
    assert (row.score, row.is_drifted, row.is_confirmed, row.missing_share) == (1.0, True, True, 1.0)
