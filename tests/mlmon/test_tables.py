"""Reading reference files: accepted files, and errors that name column and row."""

import csv
import gzip
import io
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlmon.exceptions import ReferenceFileError
from mlmon.schema import Feature, FeatureKind, TensorType
from mlmon.tables import ReferenceTable, TableFile, TableLimits

LIMITS = TableLimits(file_bytes=50_000_000, rows=1_000_000)


def feature(name: str, tensor_type: TensorType = TensorType.FLOAT32, *, is_required: bool = False) -> Feature:
    kind = FeatureKind.CATEGORICAL if tensor_type is TensorType.STRING else FeatureKind.NUMERIC
    return Feature(name, kind, is_required, name, 0, tensor_type)


FEATURES = (
    feature("width"),
    feature("origin", TensorType.STRING),
    feature("seats", TensorType.INT64, is_required=True),
)


def read(
    content: bytes, folder: Path, *, features: tuple[Feature, ...] = FEATURES, limits: TableLimits = LIMITS
) -> Any:
    path = folder / "reference"
    path.write_bytes(content)
    table = ReferenceTable(path, features, limits)
    batches = list(table.batches())
    columns = {one.name: np.concatenate([batch.columns[one.name] for batch in batches]).tolist() for one in features}
    assert batches[-1].fraction == 1.0
    return columns, table.ignored_columns


def parquet(columns: dict[str, Any], **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, **options)
    return sink.getvalue()


def error_message(content: bytes, folder: Path, **options: Any) -> str:
    with pytest.raises(ReferenceFileError) as caught:
        read(content, folder, **options)
    return str(caught.value)


MEASURED_POOL = pa.proxy_memory_pool(pa.default_memory_pool())  # its peak is that of the measured errors


def memory_taken(content: bytes, folder: Path, message: str, **options: Any) -> int:
    """Return the peak memory of an error in bytes, Python's and Arrow's together; at least the memory before it."""
    usual_pool = pa.default_memory_pool()
    pa.set_memory_pool(MEASURED_POOL)
    tracemalloc.start()
    try:
        assert message in error_message(content, folder, **options)
        return int(tracemalloc.get_traced_memory()[1] + (MEASURED_POOL.max_memory() or 0))
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(usual_pool)


GOOD = {"width": [1.5, None], "origin": ["JFK", None], "seats": [3, 4]}


def test_csv_and_parquet_give_the_same_columns(tmp_path: Path) -> None:
    written = read(b"seats,origin,width,note\n3,JFK,1.5,x\n4,,,y\n", tmp_path)
    columnar = read(parquet({**GOOD, "note": ["x", "y"]}), tmp_path)
    assert (
        repr(written)
        == repr(columnar)
        == repr(({"width": [1.5, np.nan], "origin": ["JFK", None], "seats": [3.0, 4.0]}, ["note"]))
    )


def test_values_equal_those_of_the_csv_module(tmp_path: Path) -> None:
    """The oracle is Python's csv module with float(); the file spans several blocks of the reader."""
    rng = np.random.default_rng(3)
    rows = [
        [repr(float(value)), f'a "quoted", {index}\nline', str(index)]
        for index, value in enumerate(rng.normal(scale=1e6, size=60_000))
    ]
    text = io.StringIO(newline="")
    csv.writer(text).writerows([["width", "origin", "seats"], *rows])
    assert len(text.getvalue()) > 2**21
    columns, _ = read(text.getvalue().encode(), tmp_path)
    text.seek(0)
    expected = list(csv.reader(text))[1:]
    assert columns["width"] == [float(row[0]) for row in expected]
    assert columns["origin"] == [row[1] for row in expected]
    assert columns["seats"] == [float(row[2]) for row in expected]


@pytest.mark.parametrize("text", ["", "NA", "N/A", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "None"])
def test_spellings_of_missing_are_categories_in_a_column_of_strings(text: str, tmp_path: Path) -> None:
    columns, _ = read(f"width,origin,seats\n{text},{text},1\n".encode(), tmp_path)
    assert repr(columns) == repr({"width": [np.nan], "origin": [text or None], "seats": [1.0]})


def test_a_byte_order_mark_is_not_part_of_the_header(tmp_path: Path) -> None:
    assert read("\ufeffwidth,origin,seats\n1,é,2\n".encode(), tmp_path)[0]["origin"] == ["é"]


def test_booleans(tmp_path: Path) -> None:
    is_new = (feature("is_new", TensorType.BOOL),)
    assert read(b"is_new\ntrue\n0\nFALSE\n", tmp_path, features=is_new)[0] == {"is_new": [1.0, 0.0, 0.0]}
    assert read(parquet({"is_new": [True, False]}), tmp_path, features=is_new)[0] == {"is_new": [1.0, 0.0]}
    assert error_message(b"is_new\ntrue\nmaybe\n", tmp_path, features=is_new) == (
        'Column "is_new", row 2: expected true or false, got "maybe".'
    )


def test_parquet_dictionaries_and_numbers_as_categories(tmp_path: Path) -> None:
    coded = parquet({**GOOD, "origin": pa.array(["JFK", "LGA"]).dictionary_encode()})
    assert read(coded, tmp_path)[0]["origin"] == ["JFK", "LGA"]
    assert read(parquet({**GOOD, "origin": [10115, None]}), tmp_path)[0]["origin"] == ["10115", None]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "The file is empty."),
        (b"width,origin,seats\n", "The file has a header but no rows."),
        (b"width,origin,seats", "The file has a header but no rows."),
        (b"\n\n1,2,3\n", "The file has no header line: its first line is empty."),
        (b"width,origin\n1,a\n", 'The file lacks column "seats". It has: "width", "origin".'),
        (b"width,orign,seats\n1,a,2\n", 'The file lacks column "origin". Is it the column "orign"?'),
        (b"width,width,origin,seats\n1,1,a,2\n", 'Column "width" is in the file 2 times: as columns 1 and 2.'),
        (b"width,origin,seats\n1,a,2\n1,a\n", "Row 2 has 2 values; the header has 3."),
        (b"width,origin,seats\n1,a,2\n1,a,3,4\n", "Row 2 has 4 values; the header has 3."),
        (b"width,origin,seats\n1,a,2\nwide,a,3\n", 'Column "width", row 2: expected a number, got "wide".'),
        (b"width,origin,seats\n1,a,2\n1,a,2.5\n", 'Column "seats", row 2: expected a whole number, got 2.5.'),
        (
            b"width,origin,seats\n1,a,9007199254740994\n",
            'Column "seats", row 1: 9007199254740994 is beyond 2^53, the largest exact whole number.',
        ),
        (
            b"width,origin,seats\n1,a,2\n1,a,9007199254740993\n",  # float64 reads 2**53
            'Column "seats", row 2: 9007199254740993 is beyond 2^53, the largest exact whole number.',
        ),
        (
            b'width,origin,seats\n1,a,2\n1,"never closed,2\n' + b"1,a,2\n" * 400_000,
            "After row 1: a quotation mark is never closed, or a row is longer than 1 MiB.",
        ),
        (
            b"width,origin,seats\n1,a,2\n1,a,\n",
            'Column "seats", row 2: a value is required, but it is missing.',
        ),
        (
            b"width,origin,seats\n1,a,2\n1,Orl\xe9ans,3\n",
            'Column "origin", row 2: byte 0xe9 is not UTF-8. '
            "Save the file as UTF-8, or choose its encoding, which is often cp1252.",
        ),
        (b"width,origin,seats\n1,a\x00,2\n", "The file holds NUL bytes: it is neither CSV in UTF-8 nor Parquet."),
        (
            b"width,origin,seats\n1,a,2\n1," + b"a" * 1001 + b",2\n",
            'Column "origin", row 2: the string is longer than 1,000 characters.',
        ),
    ],
)
def test_errors_in_csv_name_column_and_row(content: bytes, message: str, tmp_path: Path) -> None:
    assert error_message(content, tmp_path) == message


def test_row_numbers_are_right_in_later_blocks(tmp_path: Path) -> None:
    rows = [b"1.25,somewhere far away,7"] * 90_000
    rows[80_000] = b"1.25,somewhere far away,seven"
    content = b"width,origin,seats\n" + b"\n".join(rows) + b"\n"
    assert len(content) > 2**21
    assert error_message(content, tmp_path) == 'Column "seats", row 80001: expected a whole number, got "seven".'


@pytest.mark.parametrize(
    ("columns", "part"),
    [
        ({"seats": [3, None]}, 'Column "seats", row 2: a value is required, but it is missing.'),
        ({"seats": [3, 2**53 + 1]}, 'Column "seats", row 2: 9007199254740993 is beyond 2^53'),
        ({"seats": [3, -(2**53) - 1]}, 'Column "seats", row 2: -9007199254740993 is beyond 2^53'),
        ({"origin": ["a", "b\0c"]}, 'Column "origin", row 2: the string contains a NUL character.'),
        ({"origin": ["a", "é" * 1001]}, 'Column "origin", row 2: the string is longer than 1,000 characters'),
        ({"seats": [1.0, 1.5]}, 'Column "seats", row 2: expected a whole number, got 1.5.'),
        ({"width": [None, "1.5"]}, 'Column "width", row 2: expected a number, got "1.5".'),
        ({"width": [[1.0], [2.0]]}, 'Column "width" has the type list'),
        ({"width": pa.array([0, 1], pa.timestamp("s"))}, 'Column "width" has the type timestamp'),
        ({"origin": [2.0, 2.5]}, 'Column "origin", row 2: expected a string or a whole number, got 2.5.'),
    ],
)
def test_errors_in_parquet_name_column_and_row(columns: dict[str, Any], part: str, tmp_path: Path) -> None:
    assert part in error_message(parquet({**GOOD, **columns}), tmp_path)


def test_parquet_without_rows(tmp_path: Path) -> None:
    empty = {
        name: pa.array([], kind)
        for name, kind in (("width", pa.float64()), ("origin", pa.string()), ("seats", pa.int64()))
    }
    assert error_message(parquet(empty), tmp_path) == "The file has a header but no rows."


def test_a_truncated_or_damaged_parquet_is_rejected(tmp_path: Path) -> None:
    whole = parquet({"width": np.arange(10_000.0), "origin": ["a"] * 10_000, "seats": np.arange(10_000)})
    assert "damaged or cut off" in error_message(whole[:-100], tmp_path)
    assert "damaged or cut off" in error_message(b"PAR1" + b"x" * 100, tmp_path)
    damaged = bytearray(whole)
    damaged[40:4000] = b"\x07" * 3960
    assert "damaged after row 0" in error_message(bytes(damaged), tmp_path)


def test_a_small_file_with_a_large_table_is_rejected_before_it_is_decoded(tmp_path: Path) -> None:
    """100 million equal rows of three columns would take 2.4 GB; the file takes a few hundred kB."""
    path = tmp_path / "bomb.parquet"
    group = pa.table(
        {"width": np.zeros(2**20), "origin": pa.array(["a"] * 2**20).dictionary_encode(), "seats": np.zeros(2**20, int)}
    )
    with pq.ParquetWriter(path, group.schema, compression="zstd") as writer:
        for _ in range(96):
            writer.write_table(group)
    content = path.read_bytes()
    assert len(content) < 2_000_000
    assert memory_taken(content, tmp_path, "100,663,296 rows or more; the limit is 1,000,000") < 50_000_000


@pytest.mark.parametrize("as_dictionary", [True, False])
def test_a_string_that_many_rows_share_is_measured_before_it_is_unpacked(as_dictionary: bool, tmp_path: Path) -> None:
    """A file of 3 kB: its 200,000 rows share a string of 1 MB, 200 GB unpacked; its metadata says 1 MB."""
    rows = 200_000
    origin = pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), pa.array(["x" * 1_000_000]))
    table = pa.table({"width": np.zeros(rows), "origin": origin, "seats": np.zeros(rows, int)})
    sink = io.BytesIO()
    # Without the Arrow schema in the file its column is plain text to a reader.
    with pq.ParquetWriter(sink, table.schema, compression="zstd", store_schema=as_dictionary) as writer:
        writer.write_table(table)
    assert len(sink.getvalue()) < 10_000
    message = 'Column "origin", row 1: the string is longer than 1,000 characters.'
    assert memory_taken(sink.getvalue(), tmp_path, message) < 50_000_000


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (b"0\n" * 5_000_000, "rows or more; the limit is 1,000,000."),
        (b"0" * 10_000_000, "After row 0: a quotation mark is never closed, or a row is longer than 1 MiB."),
        (b'"' + b"0\n" * 5_000_000, "After row 0: a quotation mark is never closed, or a row is longer than 1 MiB."),
        (b"\x00" * 10_000_000, "The file holds NUL bytes: it is neither CSV in UTF-8 nor Parquet."),
    ],
    ids=["rows", "a row", "a quoted value", "NUL bytes"],
)
def test_two_gigabytes_of_zeros_in_gzip_stop_at_the_limits(part: bytes, message: str, tmp_path: Path) -> None:
    """In 200 members, of which the first few are read."""
    content = gzip.compress(b"width\n") + 200 * gzip.compress(part, 1)
    assert memory_taken(content, tmp_path, message, features=(feature("width"),)) < 100_000_000


def test_gzip_that_unpacks_to_too_much(tmp_path: Path) -> None:
    limits = TableLimits(file_bytes=10**6, rows=10**9, cells=10**9, uncompressed_bytes=10_000_000)
    content = gzip.compress(b"width\n") + 200 * gzip.compress(b"0.25\n" * 200_000)
    message = "bytes or more; the limit is 10,000,000."
    assert memory_taken(content, tmp_path, message, features=(feature("width"),), limits=limits) < 100_000_000


def test_a_column_of_strings_of_ten_megabytes_stops_at_the_first_row(tmp_path: Path) -> None:
    content = b"width,origin,seats\n" + 4 * (b"1," + b"x" * 10_000_000 + b",2\n")
    message = "After row 0: a quotation mark is never closed, or a row is longer than 1 MiB."
    assert memory_taken(content, tmp_path, message) < 100_000_000
    assert memory_taken(gzip.compress(content), tmp_path, message) < 100_000_000


def test_raw_rows_of_parquet_measure_a_shared_string_before_it_is_unpacked(tmp_path: Path) -> None:
    shared = pa.DictionaryArray.from_arrays(np.zeros(200_000, np.int32), pa.array(["x" * 1_000_000]))
    pq.write_table(pa.table({"actual": shared}), tmp_path / "labels", compression="zstd")
    with pytest.raises(ReferenceFileError, match='Column "actual", row 1: the string is longer than 1,000 characters'):
        list(TableFile(tmp_path / "labels", LIMITS).raw_rows(["actual"]))


def test_all_strings_together_have_a_limit(tmp_path: Path) -> None:
    limits = TableLimits(file_bytes=10**6, rows=1000, text_bytes=10_000)
    content = parquet({"width": [1.0] * 100, "origin": ["x" * 900] * 100, "seats": [1] * 100})
    assert error_message(content, tmp_path, limits=limits) == (
        "The strings of the file take more than 10,000 bytes, the limit."
    )


def test_an_encoding_that_shares_parts_of_strings_is_rejected(tmp_path: Path) -> None:
    """DELTA_BYTE_ARRAY can hold 300 strings of 1 MB in 500 bytes, and the sizes in the file do not show it."""
    columns = {"width": [1.0] * 300, "origin": ["x" * 1_000_000] * 300, "seats": [1] * 300}
    encoding = {"width": "PLAIN", "origin": "DELTA_BYTE_ARRAY", "seats": "PLAIN"}
    content = parquet(columns, use_dictionary=False, column_encoding=encoding, compression="zstd")
    assert len(content) < 10_000
    assert memory_taken(content, tmp_path, "has an unsupported encoding") < 50_000_000


def test_a_list_column_is_rejected_before_it_is_read(tmp_path: Path) -> None:
    """A row of 20 million equal numbers: 160 MB out of a small file."""
    lists = pa.ListArray.from_arrays([0, 20_000_000], pa.array(np.zeros(20_000_000)))
    content = parquet({"width": lists, "origin": ["a"], "seats": [1]}, compression="zstd")
    assert len(content) < 1_000_000
    message = 'Column "width" has the type list<element: double> in the file; expected numbers.'
    assert memory_taken(content, tmp_path, message) < 50_000_000


def test_strings_are_read_across_row_groups_with_different_dictionaries(tmp_path: Path) -> None:
    origin = [None if index % 7 == 0 else f"airport {index}" for index in range(1000)]
    content = parquet({"width": [1.0] * 1000, "origin": origin, "seats": [1] * 1000}, row_group_size=70)
    assert read(content, tmp_path)[0]["origin"] == origin


def test_a_parquet_column_without_a_value_is_missing(tmp_path: Path) -> None:
    nothing = parquet({"width": pa.nulls(2), "origin": pa.nulls(2), "seats": [1, 2]})
    assert repr(read(nothing, tmp_path)[0]) == repr({"width": [np.nan] * 2, "origin": [None] * 2, "seats": [1.0, 2.0]})


def test_a_file_that_unpacks_to_too_much_is_rejected(tmp_path: Path) -> None:
    content = parquet({**GOOD, "origin": ["x" * 40_000_000, "y"]}, compression="zstd", use_dictionary=False)
    assert len(content) < 1_000_000
    limits = TableLimits(file_bytes=10**9, rows=100, uncompressed_bytes=10_000_000)
    assert "unpacks to" in error_message(content, tmp_path, limits=limits)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (TableLimits(file_bytes=20, rows=100), "the limit is 20"),
        (TableLimits(file_bytes=10**6, rows=1), "2 rows or more; the limit is 1"),
        (TableLimits(file_bytes=10**6, rows=10, cells=5), "6 cells or more; the limit is 5"),
    ],
)
def test_limits(limits: TableLimits, message: str, tmp_path: Path) -> None:
    assert message in error_message(b"width,origin,seats\n1,a,2\n3,b,4\n", tmp_path, limits=limits)


def test_a_very_wide_header_is_read_whole(tmp_path: Path) -> None:
    features = tuple(feature(f"a_feature_with_a_long_name_{index}") for index in range(3000))
    content = ",".join(one.name for one in features) + "\n" + ",".join(["1"] * 3000) + "\n"
    columns, _ = read(content.encode(), tmp_path, features=features)
    assert len(columns) == 3000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"width,origin,seats,caf\xe9\n1,a,2,x\n", 'The header\'s column 4, "caf\\udce9", is not UTF-8.'),
        (b"PK\x03\x04" + b"\x00" * 60, "The file is an Excel workbook or a zip file"),
        (b"\x1f\x8b\x08" + b"\x00" * 60, "The gzip data of the file are damaged"),
        ("width,origin,seats\n1,a,2\n".encode("utf-32"), "The file is encoded as UTF-32"),
        (b"width,origin,seats\n1,a,9007199254740993\n", "row 1: 9007199254740993 is beyond"),
        (b"width,origin,seats\n1,a,2\n-1e39,a,2\n", "row 2: -1e+39 is beyond the range of float32."),
        (b"x" * 5000 + b"\n1\n", 'xxx…".'),
    ],
)
def test_other_files_are_recognised(content: bytes, message: str, tmp_path: Path) -> None:
    found = error_message(content, tmp_path)
    assert message in found
    assert len(found) < 400


def test_ignored_columns_have_names_that_can_be_stored(tmp_path: Path) -> None:
    """PostgreSQL stores no NUL, and headers that were copied from a web page often have a no-break space."""
    assert read(parquet({**GOOD, "note\0": [1, 2]}), tmp_path)[1] == ["note\\x00"]
    assert read('width,origin,seats,a\u00a0b,"c\nd"\n1,a,2,3,4\n'.encode(), tmp_path)[1] == ["a\\xa0b", "c\\nd"]


def test_a_parquet_string_that_is_not_utf8_is_rejected(tmp_path: Path) -> None:
    offsets, text = pa.py_buffer(np.array([0, 2, 4], np.int32).tobytes()), pa.py_buffer(b"ok\xff\xfe")
    content = parquet({**GOOD, "origin": pa.StringArray.from_buffers(2, offsets, text)})
    assert error_message(content, tmp_path) == 'Column "origin", row 2: byte 0xff is not UTF-8. Save the file as UTF-8.'


def test_codes_keep_all_their_digits_as_categories(tmp_path: Path) -> None:
    codes = pa.array([2**53 + 1, 2**64 - 1], pa.uint64())
    assert read(parquet({**GOOD, "origin": codes}), tmp_path)[0]["origin"] == [str(2**53 + 1), str(2**64 - 1)]


def test_a_float_column_accepts_infinities(tmp_path: Path) -> None:
    assert read(b"width,origin,seats\ninf,a,1\n-inf,b,2\n", tmp_path)[0]["width"] == [np.inf, -np.inf]


def test_column_names_with_points(tmp_path: Path) -> None:
    """As R names them; for pyarrow a point can also lead into a nested column."""
    features = (feature("sepal.length"), feature("sepal"))
    columns, _ = read(parquet({"sepal": [2.0], "sepal.length": [1.0]}), tmp_path, features=features)
    assert columns == {"sepal.length": [1.0], "sepal": [2.0]}


def test_a_header_of_many_columns_is_read_in_time(tmp_path: Path) -> None:
    features = tuple(feature(f"f{index}") for index in range(2000))
    names = [one.name for one in features] + [f"other{index}" for index in range(60_000)]
    content = ",".join(names) + "\n" + ",".join(["1"] * len(names)) + "\n"
    begun = time.monotonic()
    columns, ignored = read(content.encode(), tmp_path, features=features)
    assert (len(columns), len(ignored)) == (2000, 60_000)
    assert time.monotonic() - begun < 10
