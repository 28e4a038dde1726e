"""The same three rows as several programs write them to CSV.

pandas 3.1.1, Polars 2.1.0, DuckDB 2.0.1, pyarrow 26.0.1 and Python's csv module wrote their files. Those of R, Excel
and Spark are written from knowledge of these programs.
"""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlmon.exceptions import ReferenceFileError
from mlmon.schema import Feature, FeatureKind, TensorType
from mlmon.tables import ReadOptions, ReferenceTable, TableLimits

LIMITS = TableLimits(file_bytes=1_000_000, rows=1_000)
COLUMNS = {
    "age": (TensorType.FLOAT64, [41.5, np.nan, -3.0]),
    "n": (TensorType.INT64, [1.0, 2.0, 3.0]),
    "city": (TensorType.STRING, ["Köln, Süd", 'a "b"', None]),
    "ok": (TensorType.BOOL, [1.0, 0.0, np.nan]),
}
FEATURES = [
    Feature(name, FeatureKind.CATEGORICAL if kind is TensorType.STRING else FeatureKind.NUMERIC, False, name, 0, kind)
    for name, (kind, _) in COLUMNS.items()
]
PANDAS = b',age,n,city,ok\n0,41.5,1,"K\xc3\xb6ln, S\xc3\xbcd",True\n1,,2,"a ""b""",False\n2,-3.0,3,,\n'
PANDAS_GERMAN = b'age;n;city;ok\n41,5;1;K\xc3\xb6ln, S\xc3\xbcd;True\n;2;"a ""b""";False\n-3,0;3;;\n'
POLARS = b'age,n,city,ok\n41.5,1,"K\xc3\xb6ln, S\xc3\xbcd",true\n,2,"a ""b""",false\n-3.0,3,,\n'
DUCKDB = b'age|n|city|ok\n41.5|1|K\xc3\xb6ln, S\xc3\xbcd|true\n|2|"a ""b"""|false\n-3.0|3||\n'
PYARROW = b'"age","n","city","ok"\n41.5,1,"K\xc3\xb6ln, S\xc3\xbcd",true\n,2,"a ""b""",false\n-3,3,,\n'
PYTHON = b'age,n,city,ok\r\n41.5,1,"K\xc3\xb6ln, S\xc3\xbcd",True\r\n,2,"a ""b""",False\r\n-3.0,3,,\r\n'
R_CSV = '"","age","n","city","ok"\n"1",41.5,1,"Köln, Süd",TRUE\n"2",NA,2,"a ""b""",FALSE\n"3",-3,3,NA,NA\n'
R_CSV2 = '"";"age";"n";"city";"ok"\n"1";41,5;1;"Köln, Süd";TRUE\n"2";NA;2;"a ""b""";FALSE\n"3";-3;3;NA;NA\n'
R_TABLE = (
    '"age"\t"n"\t"city"\t"ok"\n"1"\t41.5\t1\t"Köln, Süd"\tTRUE\n"2"\tNA\t2\t"a ""b"""\tFALSE\n"3"\t-3\t3\tNA\tNA\n'
)
EXCEL = 'age,n,city,ok,,\r\n41.5,1,"Köln, Süd",TRUE,,\r\n#N/A,2,"a ""b""",FALSE,,\r\n-3,3,,,,\r\n'
EXCEL_GERMAN = 'age;n;city;ok;;\r\n41,5;1;Köln, Süd;1;;\r\n;2;"a ""b""";0;;\r\n-3;3;;;;\r\n'
EXCEL_TEXT = 'age\tn\tcity\tok\r\n41,5\t1\t"Köln, Süd"\t1\r\n\t2\t"a ""b"""\t0\r\n-3\t3\t\t\r\n'
R = ReadOptions(missing=frozenset({"NA"}))  # R writes a missing string as NA, like the code of Namibia
CP1252 = ReadOptions(encoding="cp1252")


def columns_of(content: bytes, folder: Path, options: ReadOptions) -> dict[str, list[Any]]:
    (folder / "table").write_bytes(content)
    batches = list(ReferenceTable(folder / "table", FEATURES, LIMITS, options).batches())
    return {name: [value for batch in batches for value in batch.columns[name].tolist()] for name in COLUMNS}


@pytest.mark.parametrize(
    ("content", "options"),
    [
        pytest.param(PANDAS, ReadOptions(), id="pandas"),
        pytest.param(PANDAS_GERMAN, ReadOptions(), id="pandas, sep=; decimal=,"),
        pytest.param(POLARS, ReadOptions(), id="Polars"),
        pytest.param(gzip.compress(DUCKDB), ReadOptions(), id="DuckDB, delimiter | and gzip"),
        pytest.param(PYARROW, ReadOptions(), id="pyarrow"),
        pytest.param(PYTHON, ReadOptions(), id="csv"),
        pytest.param(R_CSV.encode(), R, id="R write.csv"),
        pytest.param(R_CSV2.encode(), R, id="R write.csv2"),
        pytest.param(R_TABLE.encode(), R, id="R write.table, tab, qmethod=double"),
        pytest.param(EXCEL.encode("utf-8-sig"), ReadOptions(), id="Excel, CSV UTF-8"),
        pytest.param(EXCEL.encode("cp1252"), CP1252, id="Excel, CSV"),
        pytest.param(EXCEL_GERMAN.encode("utf-8-sig"), ReadOptions(), id="German Excel, CSV UTF-8"),
        pytest.param(EXCEL_GERMAN.encode("cp1252"), CP1252, id="German Excel, CSV"),
        pytest.param(EXCEL_TEXT.encode("utf-16"), ReadOptions(), id="German Excel, Unicode text"),
        pytest.param(POLARS.replace(b",,\n", b',"",\n'), ReadOptions(), id="Spark, without quotation marks in values"),
    ],
)
def test_the_files_of_programs_give_the_same_columns(content: bytes, options: ReadOptions, tmp_path: Path) -> None:
    expected = {name: values for name, (_, values) in COLUMNS.items()}
    assert repr(columns_of(content, tmp_path, options)) == repr(expected)


@pytest.mark.parametrize(
    "content", [b'a\n1.5\n""\n2.0\n', b"a\n1.5\n\n2.0\n"], ids=["pandas", "Polars and DuckDB, a blank line"]
)
def test_a_missing_value_in_the_only_column_is_a_row(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "table").write_bytes(content)
    feature = Feature("a", FeatureKind.NUMERIC, False, "a", 0, TensorType.FLOAT64)
    (batch,) = ReferenceTable(tmp_path / "table", [feature], LIMITS).batches()
    assert repr(batch.columns["a"].tolist()) == "[1.5, nan, 2.0]"


@pytest.mark.parametrize(
    ("content", "cities"),
    [
        (POLARS.replace(b'"a ""b"""', b'"C:\\"'), ["Köln, Süd", "C:\\", None]),
        (POLARS.replace(b'"a ""b"""', b'"C:\\""b"""'), ["Köln, Süd", 'C:\\"b"', None]),
    ],
)
def test_backslashes_are_ordinary_characters(content: bytes, cities: list[str | None], tmp_path: Path) -> None:
    assert columns_of(content, tmp_path, ReadOptions())["city"] == cities


def test_quotation_marks_that_are_marked_with_backslashes_are_refused(tmp_path: Path) -> None:
    """Spark and R's write.table mark them so by default; read as usual, the values would be wrong."""
    with pytest.raises(ReferenceFileError) as caught:
        columns_of(POLARS.replace(b'"a ""b"""', b'"a \\"b\\""'), tmp_path, ReadOptions())
    assert str(caught.value) == (
        "After row 0: a quotation mark in a value is marked with a backslash. Double it instead "
        '(escape=\'"\' in Spark, qmethod="double" in R).'
    )


def test_the_booleans_of_a_german_excel_are_refused(tmp_path: Path) -> None:
    content = EXCEL_GERMAN.replace(";1;;\r", ";WAHR;;\r").replace(";0;;\r", ";FALSCH;;\r").encode()
    with pytest.raises(ReferenceFileError) as caught:
        columns_of(content, tmp_path, ReadOptions())
    assert str(caught.value) == 'Column "ok", row 1: expected true or false, got "WAHR".'
