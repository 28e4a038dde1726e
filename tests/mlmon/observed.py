"""Reference data and observations for tests, made by the profiling service, the engine and the stream."""

import io
import time

import numpy as np
import pyarrow as pa
import pyarrow.csv
from django.core.files.base import ContentFile
from numpy.typing import NDArray

from inference.observations import ObservationBatch, append_observations, packed_table
from inference.prediction_ids import new_prediction_ids
from inference.stream import redis_client
from models_registry.engine import Engine
from models_registry.models import ModelVersion, ReferenceDataset
from models_registry.services.references import profile_reference, upload_reference
from tests.factories import IRIS_FEATURES

Rows = NDArray[np.float64]


def iris_rows(n: int, *, seed: int = 0) -> Rows:
    """Return n flowers drawn from the iris data with a little noise, shape (n, 4)."""
    from sklearn.datasets import load_iris

    rng = np.random.default_rng(seed)
    flowers: Rows = rng.choice(load_iris().data, size=n)
    return flowers + rng.normal(0, 0.05, size=flowers.shape)


def profiled_reference(version: ModelVersion, rows: Rows, names: tuple[str, ...] = IRIS_FEATURES) -> ReferenceDataset:
    """Return an active reference of `version` with these rows."""
    sink = io.BytesIO()
    pyarrow.csv.write_csv(pa.table({name: rows[:, index] for index, name in enumerate(names)}), sink)
    file = ContentFile(sink.getvalue(), name="reference.csv")
    uploaded = upload_reference(version=version, file=file, filename="reference.csv", enqueue=False)
    reference = profile_reference(reference_id=uploaded.pk)
    assert reference.is_active, reference.error_message
    return reference


def observe(version: ModelVersion, rows: Rows) -> None:
    """Predict these rows with `version` and append them to its live window, as one flush does."""
    append(version, observations(version, rows))


def append(version: ModelVersion, packed: pa.Table) -> None:
    """Append observations to the live window of `version`."""
    append_observations(redis_client(), version.pk, packed, max_entries=100_000)


def observations(version: ModelVersion, rows: Rows) -> pa.Table:
    """Return these rows with the predictions of `version`, as they are captured."""
    schema = version.schema()
    columns = {feature.name: rows[:, index].copy() for index, feature in enumerate(schema.features)}
    predictions = Engine(version.served_path(), schema, timeout_seconds=30).predict(columns)
    batch = ObservationBatch(
        version_id=version.pk,
        model_name=version.model.name,
        features=schema.features,
        prediction_ids=new_prediction_ids(len(rows), version.pk),
        observed_at_us=time.time_ns() // 1000,
        columns=columns,
        predictions=predictions.labels,
        confidence=predictions.confidence,
        latency_ms=1.0,
    )
    return packed_table([batch])
