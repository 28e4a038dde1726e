"""The same observations in three places, and the read of each as columns. Importing this module needs Django."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import orjson
import psycopg
import pyarrow as pa
from django.db import connection
from psycopg.types.json import set_json_loads

from benchmarks.memory import PeakMemory, peak_of
from inference import stream
from inference.archive import read_observations
from inference.observations import append_observations
from inference.prediction_ids import new_prediction_ids
from inference.services.archiving import archive_observations
from inference.services.compaction import compact_archive
from inference.stream import redis_client
from models_registry.models import Model, ModelVersion

SEED = 20_261_123
VERSION_ID = 1  # part of the ids; the same rows are written for several versions
CATEGORIES = np.array(["JFK", "LGA", "EWR", "ORD", "ATL"], dtype=object)
CLASSES = np.array(["late", "on time"], dtype=object)
DECIMALS = 4  # JSON is at its best with short numbers
CATEGORICAL_EVERY = 5  # one feature in five is categorical
ROWS_OF_A_PAGE = 20_000
CONNECTION_PARAMETERS = ("host", "port", "user", "password", "dbname")
FIRST_OBSERVED_AT = datetime(2026, 11, 1, tzinfo=UTC)
JSONB_TABLE = """
CREATE TABLE one_row_per_prediction (
    id bigserial PRIMARY KEY,
    version_id bigint NOT NULL,
    prediction_id uuid NOT NULL,
    observed_at timestamptz NOT NULL,
    confidence double precision,
    latency_ms double precision,
    prediction text,
    features jsonb NOT NULL
);
CREATE INDEX ON one_row_per_prediction (version_id, id);
"""
LATEST_ROWS = """
SELECT * FROM (
    SELECT id, prediction_id, observed_at, confidence, latency_ms, prediction, features
    FROM one_row_per_prediction WHERE version_id = %s ORDER BY id DESC LIMIT %s
) AS latest ORDER BY id
"""


def feature_names(features: int) -> list[str]:
    """Return names of a typical length."""
    return [f"feature_{index:03d}" for index in range(features)]


def is_categorical(index: int) -> bool:
    """Return whether the feature with this index is categorical."""
    return index % CATEGORICAL_EVERY == CATEGORICAL_EVERY - 1


def schema_of(features: int) -> pa.Schema:
    """Return the columns that every reader returns."""
    types = [pa.string() if is_categorical(index) else pa.float64() for index in range(features)]
    named = zip(feature_names(features), types, strict=True)
    fields: list[Any] = [
        *stream.OBSERVATION_FIELDS,
        pa.field("prediction", pa.string()),
        *(pa.field(f"{stream.FEATURE_PREFIX}{name}", kind) for name, kind in named),
    ]
    return pa.schema(fields)


def observations(rows: int, features: int, *, seed: int) -> pa.Table:
    """Return observations in the format of the stream."""
    rng = np.random.default_rng([SEED, seed])
    first = FIRST_OBSERVED_AT + timedelta(seconds=seed)
    columns: list[Any] = [
        new_prediction_ids(rows, VERSION_ID),
        [first + timedelta(microseconds=row) for row in range(rows)],
        rng.uniform(0.5, 1, rows).round(DECIMALS),
        rng.gamma(2, 1, rows).round(DECIMALS),
        rng.choice(CLASSES, rows),
        *(
            rng.choice(CATEGORIES, rows) if is_categorical(index) else rng.normal(size=rows).round(DECIMALS)
            for index in range(features)
        ),
    ]
    schema = schema_of(features)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.table(arrays, schema=schema)


def new_version(name: str) -> int:
    """Return the id of a version without an artefact, which capture and archive do not need."""
    version = ModelVersion.objects.create(
        model=Model.objects.create(name=name),
        version="1",
        artefact="none.onnx",
        artefact_sha256="0" * 64,
        artefact_bytes=1,
        task_type="classification",
    )
    return version.pk


def fill_stream(version_id: int, rows: int, features: int, *, entry_rows: int) -> None:
    """Append rows to the stream of the version, `entry_rows` in each entry."""
    client = redis_client()
    for table in _pages(rows, features):
        for start in range(0, table.num_rows, entry_rows):
            append_observations(client, version_id, table.slice(start, entry_rows), max_entries=rows)


def fill_archive(version_id: int, rows: int, features: int, *, entry_rows: int) -> float:
    """Archive rows with the shipped service and compact them; return the duration of archiving in seconds."""
    client = redis_client()
    seconds = 0.0
    for table in _pages(rows, features):
        for start in range(0, table.num_rows, entry_rows):
            append_observations(client, version_id, table.slice(start, entry_rows), max_entries=rows)
        started = time.perf_counter()
        archive_observations(seconds=600)
        seconds += time.perf_counter() - started
        stream.trim_to_rows(client, version_id, 0)
    compact_archive(seconds=600)
    client.delete(*[stream.stream_key(version_id, name) for name in ("observations", "rows")])
    return seconds


def fill_jsonb(version_id: int, rows: int, features: int) -> None:
    """Write the same rows to a table with one row per prediction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('one_row_per_prediction')")
        if cursor.fetchone() == (None,):
            cursor.execute(JSONB_TABLE)
    columns = "version_id, prediction_id, observed_at, confidence, latency_ms, prediction, features"
    with _plain_connection() as plain, plain.cursor() as plain_cursor:
        with plain_cursor.copy(f"COPY one_row_per_prediction ({columns}) FROM STDIN") as copy:
            for table in _pages(rows, features):
                for row in _json_rows(table, features):
                    copy.write_row((version_id, *row))
        plain.commit()
        plain.autocommit = True
        plain_cursor.execute("VACUUM ANALYZE one_row_per_prediction")


def read_stream(version_id: int, features: int, rows: int) -> pa.Table:
    """Return the live window."""
    return stream.read_window(redis_client(), version_id, rows).table


def read_archive(version_id: int, features: int, rows: int) -> pa.Table:
    """Return the latest archived rows."""
    return read_observations(version_id, rows=rows)


def read_jsonb(version_id: int, features: int, rows: int) -> pa.Table:
    """Return the latest rows of the table with one JSON document per prediction.

    Advantages that this read has: binary results, documents decoded by orjson instead of Python's json, pages instead
    of all rows as objects at once, and no object-relational mapper.
    """
    schema = schema_of(features)
    with _plain_connection() as plain, plain.cursor("rows", binary=True) as cursor:
        cursor.execute(LATEST_ROWS, (version_id, rows))
        pages = []
        while page := cursor.fetchmany(ROWS_OF_A_PAGE):
            _, ids, *others, documents = zip(*page, strict=True)
            columns: list[Any] = [[one.bytes for one in ids], *others]
            columns += [[document[name] for document in documents] for name in feature_names(features)]
            arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
            pages.append(pa.table(arrays, schema=schema))
    return pa.concat_tables(pages).combine_chunks() if pages else schema.empty_table()


Reader = Callable[[int, int, int], pa.Table]
READERS: dict[str, Reader] = {"stream": read_stream, "archive": read_archive, "jsonb": read_jsonb}


def peak_of_reader(reader: str, version_id: int, features: int, rows: int) -> PeakMemory:
    """Return the peak memory of this process during a read."""
    return peak_of(lambda wanted: READERS[reader](version_id, features, wanted), rows)


def bytes_on_disk() -> dict[str, int]:
    """Return the disk space of the archive and of the other table, with indexes and large values."""
    tables = {"archive": "inference_observationchunk", "jsonb": "one_row_per_prediction"}
    with connection.cursor() as cursor:
        sizes = {}
        for name, table in tables.items():
            cursor.execute("SELECT pg_total_relation_size(%s)", [table])
            sizes[name] = int(cursor.fetchone()[0])
    return sizes


def _pages(rows: int, features: int) -> Iterator[pa.Table]:
    """Yield the rows, which differ only in their ids from call to call."""
    for number, start in enumerate(range(0, rows, ROWS_OF_A_PAGE)):
        yield observations(min(ROWS_OF_A_PAGE, rows - start), features, seed=number)


def _json_rows(table: pa.Table, features: int) -> Iterator[tuple[Any, ...]]:
    names = feature_names(features)
    columns = [column.to_pylist() for column in table.columns]
    for prediction_id, *others in zip(*columns, strict=True):
        document = orjson.dumps(dict(zip(names, others[4:], strict=True))).decode()
        yield (prediction_id.hex(), *others[:4], document)


def _plain_connection() -> "psycopg.Connection[tuple[Any, ...]]":
    """Return a connection to Django's database without Django's adaptations."""
    parameters = connection.get_connection_params()
    plain = psycopg.connect(**{name: parameters[name] for name in CONNECTION_PARAMETERS if parameters.get(name)})
    set_json_loads(orjson.loads, plain)
    return plain
