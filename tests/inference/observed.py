"""Observations and versions for tests of the stream and the archive."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import redis

from inference import archive_format, stream
from inference.models import ObservationChunk
from inference.observations import append_observations
from inference.prediction_ids import new_prediction_ids
from models_registry.models import Model, ModelVersion
from tests.services.processes import await_condition


def observations(
    values: Sequence[float | None], *, name: str = "x", observed_at: datetime | None = None, version_id: int = 1
) -> pa.Table:
    """Return rows of one feature, as they are captured."""
    rows = len(values)
    columns = [pa.field("prediction", pa.string()), pa.field(f"feature.{name}", pa.float64())]
    fields: list[Any] = [*stream.OBSERVATION_FIELDS, *columns]
    return pa.table(
        [
            pa.array(new_prediction_ids(rows, version_id), pa.binary(16)),
            pa.array([observed_at or datetime.now(UTC)] * rows, stream.OBSERVED_AT_TYPE),
            pa.array([0.5] * rows, pa.float64()),
            pa.array([1.0] * rows, pa.float64()),
            pa.array(["a"] * rows, pa.string()),
            pa.array(values, pa.float64()),
        ],
        schema=pa.schema(fields),
    )


def append(
    client: redis.Redis,
    version_id: int,
    values: Sequence[float | None],
    *,
    name: str = "x",
    observed_at: datetime | None = None,
) -> None:
    """Append rows as one entry."""
    table = observations(values, name=name, observed_at=observed_at, version_id=version_id)
    append_observations(client, version_id, table, max_entries=100_000)


def delete_window(client: redis.Redis, version_id: int) -> None:
    """Delete a version's live window and its row count."""
    client.delete(*[stream.stream_key(version_id, name) for name in ("observations", "rows", "given-ids")])


def registered_version(name: str, version: str = "1.0.0") -> ModelVersion:
    """Return a version without an artefact: capture and archive need none."""
    model, _ = Model.objects.get_or_create(name=name)
    return ModelVersion.objects.create(
        model=model,
        version=version,
        artefact="none.onnx",
        artefact_sha256="0" * 64,
        artefact_bytes=1,
        task_type="classification",
    )


def archived_values(version_id: int, name: str = "x") -> list[float | None]:
    """Return a feature's values in the archive, in the order of their rows."""
    chunks = ObservationChunk.objects.filter(version=version_id).order_by("stream_number", "first_row")
    return [
        value
        for chunk in chunks
        for value in archive_format.from_bytes(chunk.payload, [f"feature.{name}"]).column(0).to_pylist()
    ]


def archived_ids(version_id: int) -> list[bytes]:
    """Return the prediction ids in the archive, in the order of their rows."""
    chunks = ObservationChunk.objects.filter(version=version_id).order_by("stream_number", "first_row")
    return [
        prediction_id
        for chunk in chunks
        for prediction_id in archive_format.from_bytes(chunk.payload, ["prediction_id"]).column(0).to_pylist()
        if prediction_id is not None
    ]


def await_next_millisecond(client: redis.Redis) -> None:
    """Return when Redis's clock is in the next millisecond, so that the next entry has another one in its id."""

    def milliseconds() -> int:
        seconds, microseconds = client.time()
        return int(seconds) * 1000 + int(microseconds) // 1000

    before = milliseconds()
    await_condition(lambda: milliseconds() > before, "the clock of Redis stands still", pause=0)


def streamed_ids(client: redis.Redis, version_id: int) -> list[bytes]:
    """Return the prediction ids in the stream, in its order."""
    page: Any = client.xrange(stream.stream_key(version_id))
    tables = [stream.entry_of(item).table() for item in page]
    return [one for table in tables for one in table.column("prediction_id").to_pylist() if one is not None]
