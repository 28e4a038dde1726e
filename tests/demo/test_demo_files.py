"""The files that the demo's training script created, and the steps of the script with part of the data."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, roc_auc_score

from demo.flights import CATEGORICAL_FEATURES, FEATURES, FLOAT_FEATURES, split_flights
from demo.pipelines import (
    classifier_onnx,
    exchange_inputs,
    feature_frame,
    flight_delay_onnx,
    onnx_feed,
    train_classifier,
)
from demo.pipelines import train_flight_delay as train
from demo.train import BETTER_VERSION, BROKEN_VERSION, ConversionError, check_conversion, onnx_probabilities
from mlmon.rollout_evidence import limit_log10, log10_evidence_path

DEMO = Path(__file__).resolve().parent.parent.parent / "demo"
LARGEST_TOTAL_BYTES = 4_000_000


@pytest.fixture(scope="module")
def reference() -> pa.Table:
    return pq.read_table(DEMO / "flight-delay-reference.parquet")


@pytest.fixture(scope="module")
def year() -> pa.Table:
    return pq.read_table(DEMO / "flight-delay-year.parquet")


def known(flights: pa.Table) -> pa.Table:
    """Return the flights with an outcome."""
    return flights.filter(flights["late"].is_valid())


def test_the_extract_is_sorted_and_covers_the_year(year: pa.Table) -> None:
    months = year["month"].to_numpy()
    later = year.filter(pa.array(months > 3))
    departures = later["scheduled_departure"].to_numpy()
    assert year.column_names == ["scheduled_departure", "month", *FEATURES, "late"]
    assert np.all(departures[:-1] <= departures[1:])
    counts = np.bincount(months, minlength=13)
    assert counts[1:4].sum() == 10_000
    assert counts[4:].min() > 3_000


def test_reference_and_extract_share_no_flights_of_the_reference_months(reference: pa.Table, year: pa.Table) -> None:
    # Rows have no id. A few distinct rows are equal by chance; a copied part would be many rows.
    held_out = {tuple(row.values()) for row in year.filter(pa.array(year["month"].to_numpy() <= 3)).to_pylist()}
    shared = sum(tuple(row.values()) in held_out for row in reference.to_pylist())
    assert shared < 20


def test_only_unrecorded_values_are_missing(year: pa.Table) -> None:
    missing = {name: year[name].null_count / year.num_rows for name in year.column_names}
    assert all(missing[name] == 0 for name in (*CATEGORICAL_FEATURES, "scheduled_hour", "distance"))
    assert missing["plane_age"] == pytest.approx(0.17, abs=0.02)
    assert 0 < missing["wind_speed"] < 0.01
    assert 0 < missing["late"] < 0.05


def test_the_files_are_small() -> None:
    assert sum(path.stat().st_size for path in DEMO.iterdir() if path.is_file()) < LARGEST_TOTAL_BYTES


def test_the_performance_of_the_flight_model_is_as_documented(year: pa.Table) -> None:
    # Oracle: scikit-learn's metrics on the outcomes in the extract.
    content = (DEMO / "flight-delay-1.0.0.onnx").read_bytes()
    for months, auc, accuracy in (((1, 2, 3), 0.708, 0.786), ((7,), 0.671, 0.684)):
        flights = known(year.filter(pa.array(np.isin(year["month"].to_numpy(), months))))
        late = flights["late"].to_numpy()
        scores = onnx_probabilities(content, onnx_feed(flights))[:, 0]
        assert roc_auc_score(late, scores) == pytest.approx(auc, abs=5e-4)
        assert accuracy_score(late, scores > 0.5) == pytest.approx(accuracy, abs=5e-4)


@pytest.mark.parametrize(
    ("months", "expected"),
    [
        (range(1, 13), {"1.0.0": (0.670, 0.773), BETTER_VERSION: (0.701, 0.780), BROKEN_VERSION: (0.614, 0.347)}),
        ((6, 7), {"1.0.0": (0.672, 0.700), BETTER_VERSION: (0.734, 0.722), BROKEN_VERSION: (0.654, 0.423)}),
    ],
)
def test_one_later_version_is_better_and_one_is_broken(
    year: pa.Table, months: Sequence[int], expected: dict[str, tuple[float, float]]
) -> None:
    """Oracle: scikit-learn's AUC and accuracy on flights that no version was trained on."""
    flights = known(year.filter(pa.array(np.isin(year["month"].to_numpy(), months))))
    late, feed = flights["late"].to_numpy(), onnx_feed(flights)
    found = {}
    for version in expected:
        scores = onnx_probabilities((DEMO / f"flight-delay-{version}.onnx").read_bytes(), feed)[:, 0]
        found[version] = (float(roc_auc_score(late, scores)), float(accuracy_score(late, scores > 0.5)))
    for version, measures in expected.items():
        assert found[version] == pytest.approx(measures, abs=5e-4)
    assert found[BETTER_VERSION][0] > found["1.0.0"][0] + 0.02
    assert found[BETTER_VERSION][1] > found["1.0.0"][1] + 0.005
    assert found[BROKEN_VERSION][1] < found["1.0.0"][1] - 0.2


def wrong_predictions(flights: pa.Table, version: str) -> NDArray[np.bool_]:
    content = (DEMO / f"flight-delay-{version}.onnx").read_bytes()
    is_late = onnx_probabilities(content, onnx_feed(flights))[:, 0] > 0.5
    return np.asarray(is_late != flights["late"].to_numpy())


def test_labels_roll_the_broken_version_back_soon(year: pa.Table) -> None:
    """Direct simulation: 30 rollouts over June and July with a share of 5 %, and the limit of three guardrails."""
    flights = known(year.filter(pa.array(np.isin(year["month"].to_numpy(), (6, 7)))))
    champion, challenger = wrong_predictions(flights, "1.0.0"), wrong_predictions(flights, BROKEN_VERSION)
    labelled = []
    for seed in range(30):
        belongs = np.random.default_rng(seed).random(flights.num_rows) < 0.05
        events = np.flatnonzero(np.where(belongs, challenger, champion))
        path = log10_evidence_path(np.full(events.size, 0.05), ~belongs[events], belongs[events])
        labelled.append(int(belongs[: events[np.argmax(path >= limit_log10(3))] + 1].sum()))
        assert path.max() >= limit_log10(3)
    assert np.median(labelled) < 20


def test_a_shadow_shows_that_the_better_version_is_better(year: pa.Table) -> None:
    flights = known(year.filter(pa.array(year["month"].to_numpy() > 3)))
    champion, challenger = wrong_predictions(flights, "1.0.0"), wrong_predictions(flights, BETTER_VERSION)
    pairs = np.flatnonzero(champion != challenger)
    path = log10_evidence_path(np.full(pairs.size, 0.5), champion[pairs], challenger[pairs], is_better=True)
    assert path[-1] > limit_log10(3)
    # demo/README.md: 1,836 flights for one guardrail
    assert pairs[np.argmax(path >= limit_log10(1))] + 1 == pytest.approx(1836, abs=5)


def test_the_broken_version_reads_rain_as_visibility(year: pa.Table) -> None:
    """Oracle: the better version with the two columns exchanged in the data."""
    rows = year.slice(0, 5_000)
    feed = onnx_feed(rows)
    broken = onnx_probabilities((DEMO / f"flight-delay-{BROKEN_VERSION}.onnx").read_bytes(), feed)
    feed["precip"], feed["visib"] = feed["visib"], feed["precip"]
    better = (DEMO / f"flight-delay-{BETTER_VERSION}.onnx").read_bytes()
    np.testing.assert_array_equal(broken, onnx_probabilities(better, feed))
    assert np.abs(broken - onnx_probabilities(better, onnx_feed(rows))).max() > 0.1


def test_the_versions_accept_the_same_requests() -> None:
    shapes = [
        [(each.name, each.type, each.shape) for each in (*session.get_inputs(), *session.get_outputs())]
        for session in (
            ort.InferenceSession(DEMO / f"flight-delay-{version}.onnx")
            for version in ("1.0.0", BETTER_VERSION, BROKEN_VERSION)
        )
    ]
    assert shapes[0] == shapes[1] == shapes[2]
    assert all(
        (DEMO / f"flight-delay-{version}.onnx").stat().st_size < 400_000 for version in (BETTER_VERSION, BROKEN_VERSION)
    )


def test_only_inputs_of_the_model_can_be_exchanged() -> None:
    content = (DEMO / "flight-delay-1.0.0.onnx").read_bytes()
    with pytest.raises(ValueError, match="no input 'rain'"):
        exchange_inputs(content, "rain", "visib")
    assert onnx.load_from_string(exchange_inputs(exchange_inputs(content, "precip", "visib"), "precip", "visib")) == (
        onnx.load_from_string(content)
    )


def test_the_flight_model_predicts_for_unseen_categories_and_missing_numbers(year: pa.Table) -> None:
    feed = onnx_feed(year.slice(0, 3))
    for name in CATEGORICAL_FEATURES:
        feed[name][:] = "???"
    for name in FLOAT_FEATURES:
        feed[name][:] = np.nan
    probabilities = onnx_probabilities((DEMO / "flight-delay-1.0.0.onnx").read_bytes(), feed)
    assert np.isfinite(probabilities).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-6)


def test_a_converted_flight_model_predicts_the_same_as_scikit_learn(reference: pa.Table, year: pa.Table) -> None:
    training_rows = known(reference)
    pipeline = train(training_rows)
    assert not set(year["dest"].unique().to_pylist()) <= set(training_rows["dest"].unique().to_pylist())
    converted = onnx_probabilities(flight_delay_onnx(pipeline), onnx_feed(year))
    # Oracle: scikit-learn. All rows, because one in thousands lies on a threshold that float32 cannot represent.
    assert check_conversion(pipeline.predict_proba(feature_frame(year)), converted) < 1e-6


@pytest.mark.parametrize("seed", ["0", "1"])
def test_files_do_not_depend_on_the_order_of_sets(seed: str) -> None:
    """Another process, in which sets of strings have another order, writes the operator sets in the same order."""
    script = "import sys; from demo.pipelines import classifier_onnx, train_classifier as train; "
    script += "sys.stdout.buffer.write(classifier_onnx(train()))"
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    written = subprocess.run(
        [sys.executable, "-c", script], cwd=DEMO.parent, env=environment, check=True, capture_output=True
    ).stdout
    written_opsets, committed = (
        [(opset.domain, opset.version) for opset in onnx.load_from_string(content).opset_import]
        for content in (written, (DEMO / "classifier-1.0.0.onnx").read_bytes())
    )
    assert written_opsets == committed


def test_training_twice_gives_the_same_bytes(reference: pa.Table) -> None:
    training_rows = known(reference).slice(0, 2000)
    assert flight_delay_onnx(train(training_rows)) == flight_delay_onnx(train(training_rows))


def test_the_classifier_predicts_the_same_as_scikit_learn() -> None:
    table = pa_csv.read_csv(DEMO / "classifier-reference.csv")
    data = np.column_stack([table[index].to_numpy() for index in range(4)])
    pipeline = train_classifier()
    committed = (DEMO / "classifier-1.0.0.onnx").read_bytes()
    converted = onnx_probabilities(committed, {"features": data.astype(np.float32)})
    assert check_conversion(pipeline.predict_proba(data), converted) < 1e-6
    assert ort.InferenceSession(classifier_onnx(pipeline)).get_inputs()[0].shape[1] == 4


def test_a_conversion_that_changes_probabilities_is_refused() -> None:
    right = np.array([[0.2, 0.8]])
    for wrong in (np.array([[0.21, 0.79]]), np.array([[np.nan, np.nan]])):
        with pytest.raises(ConversionError):
            check_conversion(right, wrong)


def test_splits_are_disjoint_and_even(year: pa.Table) -> None:
    """Split a year of numbered rows, so that each row can be recognized."""
    months = np.repeat(np.arange(1, 13), 9_000)
    table = pa.table(
        {"month": months, "late": pa.array(np.arange(months.size) % 5 == 0), "number": np.arange(months.size)}
    )
    splits = split_flights(table)
    parts = [
        part["number"].to_numpy()
        for part in (splits.train, splits.reference, splits.held_out, splits.later, splits.later_train)
    ]
    assert [part.size for part in parts] == [7_000, 10_000, 10_000, 9 * 9_000 // 8, 9 * 9_000 // 8 * 7]
    assert np.unique(np.concatenate(parts)).size == sum(part.size for part in parts)
    assert all(np.all(np.diff(part) > 0) for part in parts)
    assert np.diff(parts[3]).max() < 16
