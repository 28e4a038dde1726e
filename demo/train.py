"""Creates the demo's models, reference data and extract: ``python -m demo.train`` (dependency group ``train``).

The same package versions produce identical files.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.pipeline import Pipeline

from demo.flights import OUTCOME, flight_table, split_flights
from demo.pipelines import (
    IRIS_FEATURES,
    classifier_onnx,
    exchange_inputs,
    feature_frame,
    flight_delay_onnx,
    iris_table,
    onnx_feed,
    train_classifier,
    train_flight_delay,
)

FOLDER = Path(__file__).resolve().parent
VERSION = "1.0.0"
# For a rollout: more flights and larger trees; and the same with two columns in the wrong order.
BETTER_VERSION, BROKEN_VERSION = "1.1.0", "1.2.0-broken"
BETTER_TREES, BETTER_LEAVES = 150, 31
EXCHANGED_COLUMNS = ("precip", "visib")
# Trees sum in float32 in ONNX, and in float64 in scikit-learn.
PROBABILITY_TOLERANCE = 1e-5


class ConversionError(Exception):
    """The ONNX file and the scikit-learn model predict different probabilities."""


def onnx_probabilities(content: bytes, feed: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
    """Return the class probabilities of an ONNX classifier, shape (n, classes)."""
    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    probabilities: NDArray[np.float64] = session.run(["probabilities"], feed)[0].astype(np.float64)
    return probabilities


def check_conversion(expected: NDArray[np.float64], converted: NDArray[np.float64]) -> float:
    """Return the largest difference of two arrays of probabilities; raise ConversionError above the tolerance."""
    difference = float(np.max(np.abs(expected - converted)))
    if not difference <= PROBABILITY_TOLERANCE:
        raise ConversionError(f"Probabilities differ by up to {difference:.2g} between scikit-learn and ONNX.")
    return difference


def make_classifier(folder: Path) -> None:
    """Write the iris classifier and its reference data."""
    table = iris_table()
    pipeline = train_classifier()
    content = classifier_onnx(pipeline)
    data = np.column_stack([table[name].to_numpy() for name in IRIS_FEATURES])
    converted = onnx_probabilities(content, {"features": data.astype(np.float32)})
    difference = check_conversion(pipeline.predict_proba(data), converted)
    print(
        f"classifier: accuracy on its training data {pipeline.score(data, table['species'].to_numpy()):.3f}, "
        f"ONNX within {difference:.1e}"
    )
    _write(folder / f"classifier-{VERSION}.onnx", content)
    pa_csv.write_csv(table, folder / "classifier-reference.csv", pa_csv.WriteOptions(quoting_style="none"))


def make_flight_delay(folder: Path) -> None:
    """Write the versions of the flight model, its reference data and the extract of the year."""
    splits = split_flights(flight_table())
    pipeline = train_flight_delay(splits.train)
    content = flight_delay_onnx(pipeline)
    year = pa.concat_tables([splits.held_out, splits.later])
    expected = pipeline.predict_proba(feature_frame(year))
    difference = check_conversion(expected, onnx_probabilities(content, onnx_feed(year)))
    print(f"flight-delay: {splits.train.num_rows:,} training flights, ONNX within {difference:.1e}")
    _write(folder / f"flight-delay-{VERSION}.onnx", content)
    _write_parquet(folder / "flight-delay-reference.parquet", splits.reference)
    _write_parquet(folder / "flight-delay-year.parquet", year)
    print_performance("reference", splits.reference, pipeline)
    print_performance("held out", splits.held_out, pipeline)
    for month in range(4, 13):
        print_performance(
            f"month {month}", splits.later.filter(pa.array(splits.later["month"].to_numpy() == month)), pipeline
        )
    flights = pa.concat_tables([splits.train, splits.later_train])
    better = train_flight_delay(flights, trees=BETTER_TREES, leaves=BETTER_LEAVES)
    content = flight_delay_onnx(better)
    difference = check_conversion(
        better.predict_proba(feature_frame(year)), onnx_probabilities(content, onnx_feed(year))
    )
    print(f"flight-delay {BETTER_VERSION}: {flights.num_rows:,} training flights, ONNX within {difference:.1e}")
    _write(folder / f"flight-delay-{BETTER_VERSION}.onnx", content)
    _write(folder / f"flight-delay-{BROKEN_VERSION}.onnx", exchange_inputs(content, *EXCHANGED_COLUMNS))
    print_performance("year, 1.0.0", year, pipeline)
    print_performance("year, 1.1.0", year, better)


def print_performance(name: str, flights: pa.Table, pipeline: Pipeline) -> None:
    """Print the performance of the model on the flights with an outcome."""
    known = flights.filter(flights[OUTCOME].is_valid())
    late = known[OUTCOME].to_numpy()
    scores = pipeline.predict_proba(feature_frame(known))[:, list(pipeline.classes_).index("late")]
    print(
        f"  {name:<10} {known.num_rows:>6,} rows   AUC {roc_auc_score(late, scores):.3f}   "
        f"accuracy {accuracy_score(late, scores > 0.5):.3f}   late {late.mean():.3f}   "
        f"mean probability {scores.mean():.3f}   predicted late {np.mean(scores > 0.5):.3f}"
    )


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    print(f"{path.name}: {len(content):,} bytes, sha256 {hashlib.sha256(content).hexdigest()}")


def _write_parquet(path: Path, table: pa.Table) -> None:
    pq.write_table(table, path, compression="zstd", compression_level=19)
    _write(path, path.read_bytes())


if __name__ == "__main__":
    make_classifier(FOLDER)
    make_flight_delay(FOLDER)
