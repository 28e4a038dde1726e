"""The same observations in three places, and how each is read back as columns."""

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

from inference import stream
from inference.archive import read_observations
from inference.prediction_ids import new_prediction_ids
from inference.redis_client import redis_client
from inference.services.archiving import archive_observations
from inference.services.compaction import compact_archive
from models_registry.models import Model, ModelVersion

SEED = 20_261_123
VERSION_ID = 1  # told by the ids; the same rows go to several versions
LEVELS = np.array(["JFK", "LGA", "EWR", "ORD", "ATL"], dtype=object)
CLASSES = np.array(["late", "on time"], dtype=object)
DECIMALS = 4  # short numbers are what JSON is best at
CATEGORICAL_EVERY = 5  # each fifth feature has levels
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
NEWEST_ROWS = """
SELECT * FROM (
    SELECT id, prediction_id, observed_at, confidence, latency_ms, prediction, features
    FROM one_row_per_prediction WHERE version_id = %s ORDER BY id DESC LIMIT %s
) AS newest ORDER BY id
"""


def feature_names(features: int) -> list[str]:
    """Return names as long as people give them."""
    return [f"feature_{index:03d}" for index in range(features)]


def is_categorical(index: int) -> bool:
    """Return whether the feature of this number has levels."""
    return index % CATEGORICAL_EVERY == CATEGORICAL_EVERY - 1


def schema_of(features: int) -> pa.Schema:
    """Return the columns that every reader gives."""
    types = [pa.string() if is_categorical(index) else pa.float64() for index in range(features)]
    named = zip(feature_names(features), types, strict=True)
    fields: list[Any] = [
        *stream.OBSERVATION_FIELDS,
        pa.field("prediction", pa.string()),
        *(pa.field(f"{stream.FEATURE_PREFIX}{name}", kind) for name, kind in named),
    ]
    return pa.schema(fields)


def observations(rows: int, features: int, *, seed: int) -> pa.Table:
    """Return rows as the recorder packs them."""
    rng = np.random.default_rng([SEED, seed])
    first = FIRST_OBSERVED_AT + timedelta(seconds=seed)
    columns: list[Any] = [
        new_prediction_ids(rows, VERSION_ID),
        [first + timedelta(microseconds=row) for row in range(rows)],
        rng.uniform(0.5, 1, rows).round(DECIMALS),
        rng.gamma(2, 1, rows).round(DECIMALS),
        rng.choice(CLASSES, rows),
        *(_values(rng, rows, index) for index in range(features)),
    ]
    schema = schema_of(features)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.table(arrays, schema=schema)


def new_version(name: str) -> int:
    """Return the id of a version that is only a row: what observes and archives needs no artefact."""
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
    """Append rows to the version's stream, `entry_rows` in each entry."""
    client = redis_client()
    for table in _pages(rows, features):
        for start in range(0, table.num_rows, entry_rows):
            stream.append(client, version_id, table.slice(start, entry_rows), max_entries=rows)


def fill_archive(version_id: int, rows: int, features: int, *, entry_rows: int) -> float:
    """Archive rows on the shipped way, and compact them; return the seconds that archiving took."""
    client = redis_client()
    seconds = 0.0
    for table in _pages(rows, features):
        for start in range(0, table.num_rows, entry_rows):
            stream.append(client, version_id, table.slice(start, entry_rows), max_entries=rows)
        started = time.perf_counter()
        archive_observations(seconds=600)
        seconds += time.perf_counter() - started
        stream.trim_to_rows(client, version_id, 0)
    compact_archive(seconds=600)
    stream.delete_window(client, version_id)
    return seconds


def fill_jsonb(version_id: int, rows: int, features: int) -> None:
    """Write the same rows, one in each row of a table."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('one_row_per_prediction')")
        if cursor.fetchone() == (None,):
            cursor.execute(JSONB_TABLE)
    columns = "version_id, prediction_id, observed_at, confidence, latency_ms, prediction, features"
    with _rival_connection() as rival, rival.cursor() as cursor_of_rival:
        with cursor_of_rival.copy(f"COPY one_row_per_prediction ({columns}) FROM STDIN") as copy:
            for table in _pages(rows, features):
                for row in _json_rows(table, features):
                    copy.write_row((version_id, *row))
        rival.commit()
        rival.autocommit = True
        cursor_of_rival.execute("VACUUM ANALYZE one_row_per_prediction")


def read_stream(version_id: int, features: int, rows: int) -> pa.Table:
    """Return the live window."""
    return stream.read_window(redis_client(), version_id, rows).table


def read_archive(version_id: int, features: int, rows: int) -> pa.Table:
    """Return the newest archived rows."""
    return read_observations(version_id, rows=rows)


def read_jsonb(version_id: int, features: int, rows: int) -> pa.Table:
    """Return the newest rows of the table with a JSON document for each prediction.

    In its favour: binary results, documents decoded by orjson rather than by Python's own module, pages rather than
    all rows as objects at once, no object-relational mapper.
    """
    schema = schema_of(features)
    with _rival_connection() as rival, rival.cursor("rows", binary=True) as cursor:
        cursor.execute(NEWEST_ROWS, (version_id, rows))
        pages = [_columns_of(page, schema, features) for page in iter(lambda: cursor.fetchmany(ROWS_OF_A_PAGE), [])]
    return pa.concat_tables(pages).combine_chunks() if pages else schema.empty_table()


Reader = Callable[[int, int, int], pa.Table]
READERS: dict[str, Reader] = {"stream": read_stream, "archive": read_archive, "jsonb": read_jsonb}


def bytes_on_disk() -> dict[str, int]:
    """Return what the archive and the other table take, with their indexes and large values."""
    tables = {"archive": "inference_observationchunk", "jsonb": "one_row_per_prediction"}
    with connection.cursor() as cursor:
        sizes = {}
        for name, table in tables.items():
            cursor.execute("SELECT pg_total_relation_size(%s)", [table])
            sizes[name] = int(cursor.fetchone()[0])
    return sizes


def _pages(rows: int, features: int) -> Iterator[pa.Table]:
    """Yield the rows, the same ones but for their ids at each call."""
    for number, start in enumerate(range(0, rows, ROWS_OF_A_PAGE)):
        yield observations(min(ROWS_OF_A_PAGE, rows - start), features, seed=number)


def _values(rng: np.random.Generator, rows: int, index: int) -> Any:
    return rng.choice(LEVELS, rows) if is_categorical(index) else rng.normal(size=rows).round(DECIMALS)


def _json_rows(table: pa.Table, features: int) -> Iterator[tuple[Any, ...]]:
    names = feature_names(features)
    columns = [column.to_pylist() for column in table.columns]
    for prediction_id, *others in zip(*columns, strict=True):
        document = orjson.dumps(dict(zip(names, others[4:], strict=True))).decode()
        yield (prediction_id.hex(), *others[:4], document)


def _columns_of(page: list[tuple[Any, ...]], schema: pa.Schema, features: int) -> pa.Table:
    _, ids, *others, documents = zip(*page, strict=True)
    columns: list[Any] = [[one.bytes for one in ids], *others]
    columns += [[document[name] for document in documents] for name in feature_names(features)]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.table(arrays, schema=schema)


def _rival_connection() -> "psycopg.Connection[tuple[Any, ...]]":
    asked = connection.get_connection_params()
    rival = psycopg.connect(**{name: asked[name] for name in CONNECTION_PARAMETERS if asked.get(name)})
    set_json_loads(orjson.loads, rival)
    return rival
