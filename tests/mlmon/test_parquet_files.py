"""Parquet files with the index of a data frame, and folders of Parquet files as Spark and Hive write them."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlmon.exceptions import ReferenceFileError
from mlmon.tables import ReadOptions, TableFile, TableLimits

LIMITS = TableLimits(file_bytes=50_000_000, rows=1_000)


def write(folder: Path, name: str, **columns: Any) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), folder / name)


def rows(file: TableFile) -> list[dict[str, Any]]:
    return [row for batch, _ in file.arrow_batches(file.column_names) for row in batch.to_pylist()]


def error_message(source: Path, limits: TableLimits = LIMITS, **options: Any) -> str:
    with pytest.raises(ReferenceFileError) as caught:
        rows(TableFile(source, limits, ReadOptions(**options)))
    return str(caught.value)


def test_a_folder_of_spark_is_one_table(tmp_path: Path) -> None:
    folder = tmp_path / "ref"
    write(folder, "part-00000-5f.snappy.parquet", age=[41, 34], city=["b", "c"])
    write(folder, "part-00001-5f.snappy.parquet", age=[35], city=[None])
    for name in ("_SUCCESS", ".part-00000-5f.snappy.parquet.crc", "._SUCCESS.crc", "_metadata"):
        (folder / name).write_bytes(b"")
    file = TableFile(folder, LIMITS)
    assert (file.format.kind, file.column_names) == ("parquet folder", ["age", "city"])
    assert rows(file) == [{"age": 41, "city": "b"}, {"age": 34, "city": "c"}, {"age": 35, "city": None}]
    assert [fraction for _, fraction in file.arrow_batches(["city"])] == [2 / 3, 1.0]


def test_the_keys_of_hive_partitions_are_columns(tmp_path: Path) -> None:
    folder = tmp_path / "ref"
    write(folder, "year=2024/city=New%20York/part-0.parquet", age=[41])
    write(folder, "year=2025/city=__HIVE_DEFAULT_PARTITION__/part-0.parquet", age=[34])
    file = TableFile(folder, LIMITS)
    assert file.column_names == ["age", "year", "city"]
    assert file.schema is not None
    assert [str(kind) for kind in file.schema.types] == ["int64", "int64", "string"]
    assert rows(file) == [{"age": 41, "year": 2024, "city": "New York"}, {"age": 34, "year": 2025, "city": None}]
    assert [batch.to_pydict() for batch, _ in file.arrow_batches(["year"])] == [{"year": [2024]}, {"year": [2025]}]


def test_codes_with_leading_zeros_in_the_names_of_folders_stay_strings(tmp_path: Path) -> None:
    write(tmp_path, "ref/zip=01067/part-0.parquet", age=[41])
    write(tmp_path, "ref/zip=10115/part-0.parquet", age=[34])
    assert [row["zip"] for row in rows(TableFile(tmp_path / "ref", LIMITS))] == ["01067", "10115"]


@pytest.mark.parametrize(
    ("name", "columns", "message"),
    [
        ("b.parquet", {"age": [1]}, 'ref/b.parquet: the file lacks column "city", which is in ref/a.parquet.'),
        (
            "b.parquet",
            {"age": ["x"], "city": ["x"]},
            'ref/b.parquet: column "age" has the type string, but int64 in ref/a.parquet.',
        ),
        (
            "b.parquet",
            {"age": [1], "city": ["x"], "zip": [1]},
            'ref/b.parquet: the file has column "zip", which is not in ref/a.parquet.',
        ),
        (
            "year=2024/b.parquet",
            {"age": [1], "city": ["x"]},
            "ref/year=2024/b.parquet: its folders have not the keys of those of ref/a.parquet.",
        ),
    ],
)
def test_files_that_differ_are_named(name: str, columns: dict[str, Any], message: str, tmp_path: Path) -> None:
    write(tmp_path, "ref/a.parquet", age=[41], city=["b"])
    write(tmp_path, f"ref/{name}", **columns)
    assert error_message(tmp_path / "ref") == message


def test_files_of_a_folder_in_another_order_of_columns(tmp_path: Path) -> None:
    write(tmp_path, "ref/a.parquet", age=[41], city=["b"])
    write(tmp_path, "ref/b.parquet", city=["c"], age=[34])
    assert rows(TableFile(tmp_path / "ref", LIMITS)) == [{"age": 41, "city": "b"}, {"age": 34, "city": "c"}]


def test_folders_that_are_no_table(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert error_message(tmp_path / "empty") == "The folder has no Parquet files."
    write(tmp_path, "ref/a.parquet", age=[41])
    (tmp_path / "ref" / "b.csv").write_text("age\n1\n")
    assert error_message(tmp_path / "ref") == "ref/b.csv: every file of a folder must be a Parquet file."
    write(tmp_path, "keys/age=1/a.parquet", age=[41])
    assert error_message(tmp_path / "keys") == 'Column "age" is in the files and in the names of their folders.'
    write(tmp_path, "damaged/a.parquet", age=[41])
    (tmp_path / "damaged" / "b.parquet").write_bytes(b"PAR1" + b"x" * 100)
    assert error_message(tmp_path / "damaged").startswith("damaged/b.parquet: The Parquet file is damaged or cut off")


def test_the_limits_hold_for_all_files_of_a_folder_together(tmp_path: Path) -> None:
    for name in "abc":
        write(tmp_path, f"ref/{name}.parquet", age=[1.0] * 400)
    size = (tmp_path / "ref" / "a.parquet").stat().st_size
    assert "1,200 rows or more; the limit is 1,000" in error_message(tmp_path / "ref")
    assert f"{3 * size:,} bytes; the limit" in error_message(tmp_path / "ref", TableLimits(2 * size, 10_000))
    limits = TableLimits(10**9, 10_000, uncompressed_bytes=150)
    assert "unpacks to" in error_message(tmp_path / "ref", limits)


def test_columns_that_pandas_declares_as_its_index(tmp_path: Path) -> None:
    pandas = {"index_columns": ["customer", {"kind": "range"}], "columns": []}
    table = pa.table({"age": [41], "customer": [7], "__index_level_0__": [0]})
    table = table.replace_schema_metadata({"pandas": json.dumps(pandas)})
    assert TableFile(table, LIMITS).index_columns == ("customer", "__index_level_0__")
    pq.write_table(table, tmp_path / "ref.parquet")
    file = TableFile(tmp_path / "ref.parquet", LIMITS, ReadOptions(ignored=frozenset({"customer"})))
    assert (file.index_columns, file.column_names) == (("__index_level_0__",), ["age", "__index_level_0__"])
    other = table.replace_schema_metadata({"pandas": "{"})
    assert TableFile(other, LIMITS).index_columns == ("__index_level_0__",)


def test_duplicate_names_in_parquet_give_both_positions(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2]), pa.array([3])], names=["age", "city", "age"])
    pq.write_table(table, tmp_path / "ref.parquet")
    message = 'Column "age" is in the file 2 times: as columns 1 and 3.'
    assert error_message(tmp_path / "ref.parquet") == message
    file = TableFile(tmp_path / "ref.parquet", LIMITS, ReadOptions(ignored=frozenset({"age"})))
    assert rows(file) == [{"city": 2}]
