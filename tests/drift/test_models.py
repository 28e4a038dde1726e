"""Each constraint of drift's tables, enforced by the database."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from drift.models import (
    LONGEST_SPAN_SECONDS,
    DriftCheck,
    DriftIncident,
    DriftPolicy,
    FeatureDrift,
    FeaturePolicy,
    validate_extra_windows,
)
from mlmon.results import FeatureResult, Method
from mlmon.schema import FeatureKind
from models_registry.models import Model, ModelVersion, ReferenceDataset

pytestmark = pytest.mark.django_db


RESULT = FeatureResult("age", FeatureKind.NUMERIC, 0.15)


@pytest.fixture
def model() -> Model:
    return Model.objects.create(name="classifier")


@pytest.fixture
def check(model: Model) -> DriftCheck:
    version = ModelVersion.objects.create(
        model=model,
        version="1.0.0",
        artefact="m.onnx",
        artefact_sha256="0" * 64,
        artefact_bytes=1,
        task_type="classification",
    )
    reference = ReferenceDataset.objects.create(version=version, file="r.csv", original_filename="r.csv")
    return DriftCheck.objects.create(
        version=version, reference=reference, status="succeeded", window_end="1-0", rows_seen=100
    )


def _refused(constraint: str, write: Callable[[], Any]) -> None:
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        write()


@pytest.mark.parametrize(
    ("constraint", "values"),
    [
        ("drift_window_holds_the_minimum_of_30_rows", {"minimum_rows": 29}),
        ("drift_window_holds_the_minimum_of_30_rows", {"minimum_rows": 200, "window_rows": 199}),
        ("drift_interval_is_positive", {"interval_rows": 0}),
        ("drift_budget_is_positive", {"false_alarm_budget": 0}),
        ("drift_policy_mode_is_known", {"mode": "guess"}),
        ("drift_thresholds_are_in_the_unit_interval", {"feature_threshold": 1.01}),
        ("drift_thresholds_are_in_the_unit_interval", {"feature_threshold": -0.01}),
        ("drift_thresholds_are_in_the_unit_interval", {"prediction_threshold": 1.01}),
    ],
)
def test_an_invalid_policy_is_refused(model: Model, constraint: str, values: dict[str, float]) -> None:
    _refused(constraint, lambda: DriftPolicy.objects.create(model=model, **values))


def test_a_model_has_one_policy(model: Model) -> None:
    DriftPolicy.objects.create(model=model)
    _refused("model_id", lambda: DriftPolicy.objects.create(model=model))


def test_a_policy_has_one_row_for_each_feature_and_no_negative_threshold(model: Model) -> None:
    policy = DriftPolicy.objects.create(model=model)
    FeaturePolicy.objects.create(policy=policy, feature_name="age", threshold=0.2)
    _refused(
        "one_policy_for_each_feature",
        lambda: FeaturePolicy.objects.create(policy=policy, feature_name="age", threshold=0.3),
    )
    _refused(
        "feature_threshold_is_not_negative",
        lambda: FeaturePolicy.objects.create(policy=policy, feature_name="city", threshold=-0.1),
    )


def test_an_edition_checks_a_window_once(check: DriftCheck) -> None:
    again = DriftCheck(
        version=check.version, reference=check.reference, status="succeeded", window_end="1-0", rows_seen=100
    )
    _refused("an_edition_checks_a_window_once", again.save)


@pytest.mark.parametrize(
    ("constraint", "values"),
    [
        # An unknown status violates both; the database names the one that it checked first.
        ("drift_check_status_is_known|only_a_failed_check_has_an_error", {"status": "running"}),
        ("only_a_failed_check_has_an_error", {"status": "failed", "error_message": ""}),
        ("only_a_failed_check_has_an_error", {"status": "succeeded", "error_message": "no"}),
    ],
)
def test_a_check_is_succeeded_or_failed_with_a_reason(
    check: DriftCheck, constraint: str, values: dict[str, str]
) -> None:
    _refused(constraint, lambda: DriftCheck.objects.filter(pk=check.pk).update(**values))


def test_a_feature_has_one_result_of_a_known_status(check: DriftCheck) -> None:
    values: dict[str, Any] = {"check_run": check, "feature_name": "age", "threshold": 0.15, "result": RESULT}
    FeatureDrift.objects.create(**values, status="ok", score=0.1)
    _refused("one_result_for_each_feature", lambda: FeatureDrift.objects.create(**values, status="ok"))
    values["feature_name"] = "city"
    _refused("feature_status_is_known", lambda: FeatureDrift.objects.create(**values, status="fine"))
    _refused(
        "a_drifted_feature_has_a_score", lambda: FeatureDrift.objects.create(**values, status="ok", is_drifted=True)
    )


def test_an_unknown_method_is_refused(model: Model) -> None:
    policy = DriftPolicy.objects.create(model=model)
    _refused(
        "feature_method_is_known",
        lambda: FeaturePolicy.objects.create(policy=policy, feature_name="age", method="guess"),
    )


def test_the_methods_of_a_policy_are_those_of_a_comparison() -> None:
    assert {value for value, _ in FeaturePolicy._meta.get_field("method").choices or ()} == {"", *Method}


@pytest.mark.parametrize(
    "windows",
    [
        "500",
        500,
        {"rows": 500},
        [500.0],
        ["500"],
        [True],
        [499],
        [-500],
        [500, 500],
        [500, 600, 700, 800, 900],
        [10**6 + 1],
    ],
)
def test_further_windows_are_a_short_list_of_lengths(windows: object) -> None:
    with pytest.raises(ValidationError):
        validate_extra_windows(windows)


@pytest.mark.parametrize(("windows", "longest"), [([], 1000), ([500], 1000), ([2000, 500], 2000)])
def test_a_check_reads_the_longest_window(windows: list[int], longest: int) -> None:
    validate_extra_windows(windows)
    assert DriftPolicy(extra_window_rows=windows).longest_window_rows == longest


def test_a_window_of_time_ends_with_its_last_row() -> None:
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert DriftPolicy(window_seconds=3600).oldest_observed_at(noon) == datetime(2026, 3, 1, 11, tzinfo=UTC)
    assert DriftPolicy(window_seconds=LONGEST_SPAN_SECONDS).oldest_observed_at(noon) == datetime(
        2016, 3, 3, 12, tzinfo=UTC
    )  # 3,650 days, with three 29ths of February
    assert DriftPolicy().oldest_observed_at(noon) is None


@pytest.mark.parametrize(("window", "interval", "expected"), [(1000, None, 100), (5000, None, 500), (5000, 7, 7)])
def test_a_check_is_due_after_a_tenth_of_the_window_or_as_the_policy_says(
    window: int, interval: int | None, expected: int
) -> None:
    assert DriftPolicy(window_rows=window, interval_rows=interval).rows_between_checks == expected


def _incident(check: DriftCheck, **values: Any) -> DriftIncident:
    given = {"version": check.version, "opened_by": check, "last_check": check, "counted_rows": 100, **values}
    return DriftIncident.objects.create(opened_at=timezone.now(), **given)


def test_a_version_has_one_open_incident_and_any_number_of_closed_ones(check: DriftCheck) -> None:
    for _ in range(2):
        _incident(check, closed_at=timezone.now(), closing_reason="quiet")
    _incident(check)
    _refused("one_open_incident_for_each_version", lambda: _incident(check))


@pytest.mark.parametrize(
    "values",
    [
        {"closing_reason": "quiet"},
        {"closed_at": datetime(2026, 3, 1, tzinfo=UTC)},
        {"closed_at": datetime(2026, 3, 1, tzinfo=UTC), "closing_reason": "bored"},
    ],
)
def test_only_a_closed_incident_has_a_reason(check: DriftCheck, values: dict[str, Any]) -> None:
    _refused("only_a_closed_incident_has_a_reason", lambda: _incident(check, **values))
