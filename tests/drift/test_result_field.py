"""A stored comparison equals the original when it is read, to the last digit."""

import math
from dataclasses import replace

import pytest
from django.core.serializers import deserialize, serialize
from django.utils import timezone

from drift.models import DriftCheck, DriftIncident, FeatureDrift
from mlmon.results import ComparisonResult, Measure, Method, PredictionResult
from models_registry.models import Model, ModelVersion, ReferenceDataset
from tests.mlmon.comparison_results import NUMBERS, WITH_EVERYTHING, values_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def reference() -> ReferenceDataset:
    model = Model.objects.create(name="flights")
    version = ModelVersion.objects.create(
        model=model,
        version="1.0.0",
        artefact="m.onnx",
        artefact_sha256="0" * 64,
        artefact_bytes=1,
        task_type="classification",
    )
    return ReferenceDataset.objects.create(version=version, file="r.csv", original_filename="r.csv")


def _stored(reference: ReferenceDataset, result: ComparisonResult) -> DriftCheck:
    check = DriftCheck(version=reference.version, reference=reference, window_end="1-0", rows_seen=1000)
    features = check.succeed(result)
    check.save()
    FeatureDrift.objects.bulk_create(features)
    return DriftCheck.objects.get(pk=check.pk)


def test_a_full_result_is_read_as_it_was_written(reference: ReferenceDataset) -> None:
    read = _stored(reference, WITH_EVERYTHING).comparison
    assert read == WITH_EVERYTHING
    assert list(read.prediction.reference_dist) == ["late", "in time"]  # equality of mappings ignores the order
    assert list(read.features[0].measures) == list(NUMBERS.measures)
    assert type(read.features[0].measures[Method.JENSEN_SHANNON_DISTANCE].parameters["bins"]) is int


def test_an_empty_result_is_read_as_it_was_written(reference: ReferenceDataset) -> None:
    nothing = ComparisonResult(n_reference=0, n_current=0, features=(), prediction=PredictionResult(threshold=0.1))
    assert _stored(reference, nothing).comparison == nothing


def test_no_changed_correlations_differ_from_correlations_that_were_not_compared(
    reference: ReferenceDataset,
) -> None:
    found_none = replace(WITH_EVERYTHING, correlations=(), joint_change=None)
    assert _stored(reference, found_none).comparison.correlations == ()


def test_infinity_and_nan_can_be_stored(reference: ReferenceDataset) -> None:
    numbers = replace(NUMBERS, measures={Method.HELLINGER: Measure(math.nan), Method.L_INFINITY: Measure(-math.inf)})
    read = _stored(reference, replace(WITH_EVERYTHING, features=(numbers,))).comparison.features[0].measures
    hellinger = read[Method.HELLINGER].value
    assert hellinger is not None
    assert math.isnan(hellinger)
    assert read[Method.L_INFINITY].value == -math.inf


def test_the_check_has_the_counts_of_its_features(reference: ReferenceDataset) -> None:
    check = _stored(reference, WITH_EVERYTHING)
    assert (check.n_features, check.n_drifted_features, check.n_confirmed_features) == (3, 1, 1)
    assert (check.verdict_status, check.n_current) == ("alarm", 1000)
    assert list(check.features.filter(is_confirmed=True).values_list("feature_name", flat=True)) == ["distance"]


def test_the_hypotheses_of_an_incident(reference: ReferenceDataset) -> None:
    check, hypotheses = _stored(reference, WITH_EVERYTHING), (values_of("dest", 1e-19), values_of("hour", 1e-7))
    DriftIncident.objects.create(
        version=reference.version,
        opened_by=check,
        last_check=check,
        opened_at=timezone.now(),
        hypotheses=hypotheses,
        counted_rows=1000,
    )
    assert DriftIncident.objects.get().hypotheses == hypotheses


def test_a_dump_of_the_database_can_be_loaded(reference: ReferenceDataset) -> None:
    check = _stored(reference, WITH_EVERYTHING)
    dump = serialize("json", [check, *check.features.all()])
    FeatureDrift.objects.all().delete()
    DriftCheck.objects.all().delete()
    for row in deserialize("json", dump):
        row.save()
    assert DriftCheck.objects.get().comparison == WITH_EVERYTHING
