"""CSV files as people have them: delimiters, encodings, compression, headers, decimal commas."""

import csv
import gzip
import io
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlmon.exceptions import ReferenceFileError
from mlmon.schema import Feature, FeatureKind, TensorType
from mlmon.tables import ReadOptions, ReferenceTable, TableFile, TableLimits

LIMITS = TableLimits(file_bytes=50_000_000, rows=1_000_000)


def opened(content: bytes, folder: Path, limits: TableLimits = LIMITS, **options: Any) -> TableFile:
    path = folder / "table"
    path.write_bytes(content)
    return TableFile(path, limits, ReadOptions(**options))


def strings(file: TableFile) -> dict[str, list[str]]:
    """Return the columns of a CSV file as they are written."""
    columns: dict[str, list[str]] = {name: [] for name in file.column_names}
    for batch, _ in file.arrow_batches(file.column_names):
        for name, values in columns.items():
            values.extend(str(value) for value in batch.column(name).to_pylist())
    return columns


def error_message(content: bytes, folder: Path, limits: TableLimits = LIMITS, **options: Any) -> str:
    with pytest.raises(ReferenceFileError) as caught:
        strings(opened(content, folder, limits, **options))
    return str(caught.value)


def numbers(content: bytes, folder: Path, name: str, **options: Any) -> list[float]:
    """Return a column as a feature of a model."""
    path = folder / "reference"
    path.write_bytes(content)
    feature = Feature(name, FeatureKind.NUMERIC, False, name, 0, TensorType.FLOAT64)
    table = ReferenceTable(path, [feature], LIMITS, ReadOptions(**options))
    return [value for batch in table.batches() for value in batch.columns[name].tolist()]


@pytest.mark.parametrize(
    ("content", "delimiter", "columns"),
    [
        ("a,b\n1,x\n", ",", {"a": ["1"], "b": ["x"]}),
        ("a;b\n1;x\n", ";", {"a": ["1"], "b": ["x"]}),
        ("a\tb\n1\tx\n", "\t", {"a": ["1"], "b": ["x"]}),
        ("a|b\n1|x\n", "|", {"a": ["1"], "b": ["x"]}),
        ('"a, in m";b\n"1;5";x\n', ";", {"a, in m": ["1;5"], "b": ["x"]}),
        ("a;b\n1,5;2,5\n3,5;4,5\n", ";", {"a": ["1,5", "3,5"], "b": ["2,5", "4,5"]}),
        ("size, cm;weight, kg\n1,8;70,5\n", ";", {"size, cm": ["1,8"], "weight, kg": ["70,5"]}),
        ("a,b\n1;2,x;y\n3,z\n", ",", {"a": ["1;2", "3"], "b": ["x;y", "z"]}),
        ("a\n1\n2\n", "", {"a": ["1", "2"]}),
        ("a\n1,5\n2,5\n", "", {"a": ["1,5", "2,5"]}),
        ('"age, in years"\n35\n40\n', "", {"age, in years": ["35", "40"]}),
        ("a\n1\n\n2\n", "", {"a": ["1", "", "2"]}),
        ("a,b\n\n1,x\n\n2,y\n\n", ",", {"a": ["1", "2"], "b": ["x", "y"]}),
        (' a , "b"\n1,x\n', ",", {"a": ["1"], '"b"': ["x"]}),
        ('a,"b\nc"\r\n1,"x\r\ny"\r\n', ",", {"a": ["1"], "b\nc": ["x\r\ny"]}),
        ("a,b\r1,x\r2,y\r", ",", {"a": ["1", "2"], "b": ["x", "y"]}),
        ("a,b\r1,x\r2,y", ",", {"a": ["1", "2"], "b": ["x", "y"]}),
        ("sep=;\r\na,1;b\r\n1;x\r\n", ";", {"a,1": ["1"], "b": ["x"]}),
        ('"sep=,"\na,b\n1,x\n', ",", {"a": ["1"], "b": ["x"]}),
        ('a,b\n1,5" pipe\n2,"7"" pipe"\n3,x\n', ",", {"a": ["1", "2", "3"], "b": ['5" pipe', '7" pipe', "x"]}),
    ],
)
def test_delimiters_quotes_and_line_ends(
    content: str, delimiter: str, columns: dict[str, list[str]], tmp_path: Path
) -> None:
    file = opened(content.encode(), tmp_path)
    assert (file.format.kind, file.format.delimiter) == ("csv", delimiter)
    assert strings(file) == columns


def test_a_row_of_another_length_does_not_change_the_delimiter(tmp_path: Path) -> None:
    assert error_message(b"a;b\n1;x\n2;y;z\n3;v\n", tmp_path) == "Row 2 has 3 values; the header has 2."
    assert error_message(b"a,b\n1,x\n2\n", tmp_path) == "Row 2 has 1 values; the header has 2."
    assert error_message(b"a,b\n1;x\n2;y\n", tmp_path) == "Row 1 has 1 values; the header has 2."


def test_the_first_line_of_excel_names_one_of_the_delimiters(tmp_path: Path) -> None:
    assert error_message(b"sep=^\na^b\n1^2\n", tmp_path) == (
        'The first line names the delimiter "^"; use one of , ; | or tab.'
    )


@pytest.mark.parametrize(
    ("encoding", "detected"),
    [("utf-8", "utf-8"), ("utf-8-sig", "utf-8"), ("utf-16", "utf-16"), ("utf-16-be", "utf-16")],
)
@pytest.mark.parametrize("is_compressed", [False, True])
def test_encodings_and_compression(encoding: str, detected: str, is_compressed: bool, tmp_path: Path) -> None:
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    content = (mark + "größe;ort\r\n1,5;Orléans €\r\n2,5;東京\r\n").encode(encoding)
    file = opened(gzip.compress(content) if is_compressed else content, tmp_path)
    assert strings(file) == {"größe": ["1,5", "2,5"], "ort": ["Orléans €", "東京"]}
    assert (file.format.encoding, file.format.is_compressed) == (detected, is_compressed)
    assert (file.format.delimiter, file.format.decimal_point) == (";", ",")


def test_the_advice_for_another_encoding_works(tmp_path: Path) -> None:
    content = "width,ort\n1,Köln\n2,Orléans\n".encode("cp1252")
    message = error_message(content, tmp_path)
    assert message == (
        'Column "ort", row 1: byte 0xf6 is not UTF-8. '
        "Save the file as UTF-8, or choose its encoding, which is often cp1252."
    )
    assert strings(opened(content, tmp_path, encoding="cp1252"))["ort"] == ["Köln", "Orléans"]
    header = "größe,ort\n1,x\n".encode("cp1252")
    assert error_message(header, tmp_path) == (
        'The header\'s column 1, "gr\\udcf6\\udcdfe", is not UTF-8. '
        "Save the file as UTF-8, or choose its encoding, which is often cp1252."
    )
    assert strings(opened(header, tmp_path, encoding="Windows-1252")) == {"größe": ["1"], "ort": ["x"]}
    utf16 = "a,b\n1,x\n".encode("utf-16-le")
    assert "choose the encoding utf-16-le" in error_message(utf16, tmp_path)
    assert strings(opened(utf16, tmp_path, encoding="utf-16-le")) == {"a": ["1"], "b": ["x"]}


def test_a_byte_that_the_chosen_encoding_lacks(tmp_path: Path) -> None:
    content = "a,b\n1,x\n2,für\n".encode("cp850")
    assert error_message(content, tmp_path, encoding="cp1252") == (
        'Column "b", row 2: byte 0x81 is not cp1252. Choose another encoding, such as cp850 or latin-1.'
    )
    assert strings(opened(content, tmp_path, encoding="cp850"))["b"] == ["x", "für"]
    assert "The file is not in utf-16:" in error_message("a,b\n1,x\n".encode("utf-16")[:-1], tmp_path)


@pytest.mark.parametrize("encoding", ["klingon", "base64", "rot13"])
def test_an_encoding_that_does_not_exist(encoding: str, tmp_path: Path) -> None:
    assert error_message(b"a,b\n1,x\n", tmp_path, encoding=encoding) == (
        f'There is no encoding "{encoding}". Usual ones are utf-8 and cp1252.'
    )


def test_gzip_in_several_members_is_one_file(tmp_path: Path) -> None:
    rows = "".join(f"{index},x\n" for index in range(1000)).encode()
    parts = gzip.compress(b"a,b\n" + rows) + gzip.compress(rows)
    assert len(strings(opened(parts, tmp_path))["a"]) == 2000


def test_gzip_that_is_cut_off_damaged_or_something_else(tmp_path: Path) -> None:
    rows = "\n".join(str(index**7 % 99_991) for index in range(5000))
    whole = gzip.compress(f"a\n{rows}\n".encode())
    assert error_message(whole[:-8], tmp_path) == "The file is cut off: its gzip data have no end."
    assert error_message(whole[: len(whole) // 2], tmp_path) == "The file is cut off: its gzip data have no end."
    assert "The gzip data of the file are damaged" in error_message(whole[:-8] + b"\0" * 8, tmp_path)
    assert "Parquet file that was compressed with gzip" in error_message(gzip.compress(b"PAR1" * 8), tmp_path)
    assert "an Excel workbook or a zip file" in error_message(gzip.compress(b"PK\x03\x04" * 8), tmp_path)


@pytest.mark.parametrize(
    ("content", "point", "values"),
    [
        ("a;b\n1,5;x\n-0,25;y\n1,5e3;z\n", ",", [1.5, -0.25, 1500.0]),
        ("a;b\n1.5;x\n2;y\n", ".", [1.5, 2.0]),
        ("a;b\n7;x\n8;y\n", ".", [7.0, 8.0]),
        ("a\n1,5\n2,25\n", ",", [1.5, 2.25]),
        ("a\tb\n1,5\t1,234\n1,234\t0,5\n", ",", [1.5, 1.234]),
        ("a;b\n" + "7;x\n" * 5000 + "1,5;x\n", ",", [7.0] * 5000 + [1.5]),
    ],
)
def test_decimal_commas(content: str, point: str, values: list[float], tmp_path: Path) -> None:
    assert opened(content.encode(), tmp_path).format.decimal_point == point
    assert numbers(content.encode(), tmp_path, "a") == values


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a;b\n1,5;x\n2,5;y\n3.5;z\n", 'Column "a", row 3: expected a number, got "3.5".'),
        ("a;b\n1,5;x\n1.234,5;y\n", 'Column "a", row 2: expected a number, got "1.234,5".'),
        ("a\tb\n1,234\tx\n12,345\ty\n", 'Column "a", row 1: expected a number, got "1,234".'),  # perhaps thousands
        ("a\tb\n1.5\tx\n12,345\ty\n", 'Column "a", row 2: expected a number, got "12,345".'),
        ('a,b\n"1,5",x\n', 'Column "a", row 1: expected a number, got "1,5".'),
    ],
)
def test_numbers_of_another_spelling_are_refused_rather_than_guessed(
    content: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ReferenceFileError) as caught:
        numbers(content.encode(), tmp_path, "a")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("content", "columns", "index_columns"),
    [
        ("age,city,,\n41,b,,\n34,c,,\n", ["age", "city"], ()),
        ("age,city\n41,b,\n34,c,\n", ["age", "city"], ()),
        ("age,city,\n41,b\n34,c\n", ["age", "city"], ()),
        (",age,city\n0,41,b\n1,34,c\n", ["Unnamed: 0", "age", "city"], ("Unnamed: 0",)),
        (",age\n17,41\n3,34\n", ["Unnamed: 0", "age"], ("Unnamed: 0",)),
        ('"","age"\n"1",41\n"2",34\n', ["Unnamed: 0", "age"], ("Unnamed: 0",)),
        ('"age","city"\n"1",41,"b"\n"2",34,"c"\n', ["Unnamed: 0", "age", "city"], ("Unnamed: 0",)),
        ('"age"\n"1",41\n"2",34\n', ["Unnamed: 0", "age"], ("Unnamed: 0",)),
        ("age,\n41,b\n34,b\n", ["age", "Unnamed: 1"], ()),
    ],
)
def test_columns_without_a_name(
    content: str, columns: list[str], index_columns: tuple[str, ...], tmp_path: Path
) -> None:
    file = opened(content.encode(), tmp_path)
    assert (file.column_names, file.index_columns) == (columns, index_columns)
    if "age" in columns:
        assert strings(file)["age"] == ["41", "34"]


def test_an_unnamed_column_that_has_a_value_far_down(tmp_path: Path) -> None:
    content = b"age,city,\n" + b"41,b,\n" * 5000 + b"41,b,note\n"
    assert error_message(content, tmp_path) == (
        'Column 3, row 5001: "note" is in a column without a name. Name it in the header.'
    )


def test_row_names_that_are_no_numbers_are_refused_with_advice(tmp_path: Path) -> None:
    assert error_message(b'"mpg","cyl"\n"Mazda RX4",21,6\n"Datsun 710",22.8,4\n', tmp_path) == (
        "Every row has 3 values; the header has 2. If the first value names the row, as in a file of R's write.table, "
        "write the file with col.names = NA."
    )


def test_duplicate_names_give_both_positions_and_can_be_ignored(tmp_path: Path) -> None:
    content = b"age,city,age\n41,b,42\n"
    assert error_message(content, tmp_path) == 'Column "age" is in the file 2 times: as columns 1 and 3.'
    assert strings(opened(content, tmp_path, ignored=frozenset({"age"}))) == {"city": ["b"]}


def test_further_spellings_of_missing_values(tmp_path: Path) -> None:
    missing = frozenset({"-999", "?"})
    assert repr(numbers(b"a,b\n-999,x\n?,y\n1,z\n", tmp_path, "a", missing=missing)) == "[nan, nan, 1.0]"


@given(text=st.text(alphabet='a",\n', max_size=60), chunk_bytes=st.integers(1, 7))
def test_rows_are_cut_where_the_csv_module_ends_them(text: str, chunk_bytes: int, tmp_path_factory: Any) -> None:
    """Quotation marks have a meaning only at the start of a value, and inside a value that starts with one."""
    content = f"x,y\n1,2\n{text}\n"
    rows = [tuple(row) for row in csv.reader(io.StringIO(content, newline="")) if row][1:]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("mlmon.csv_files.CHUNK_BYTES", chunk_bytes)
        try:
            read = strings(opened(content.encode(), tmp_path_factory.mktemp("csv")))
        except ReferenceFileError as error:
            read, reason = {}, str(error)
    if read:
        assert list(zip(read["x"], read["y"], strict=True)) == rows
    else:
        assert "never closed" in reason or any(len(row) != 2 for row in rows)


def test_parts_that_are_read_ahead_keep_their_order_and_their_errors(tmp_path: Path) -> None:
    """The next part of the file is read in a thread, which ends with the caller's reading."""
    content = b"a,b\n" + b"".join(b"%d,x\n" % row for row in range(2_000))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("mlmon.csv_files.CHUNK_BYTES", 1_000)
        assert strings(opened(content, tmp_path))["a"] == [str(row) for row in range(2_000)]
        batches = opened(content + b"1,2,3\n", tmp_path).arrow_batches(["a"])
        before = [next(batches)[0].num_rows for _ in range(5)]
        assert sum(before) > 500
        with pytest.raises(ReferenceFileError, match=r"Row 2001 has 3 values; the header has 2\."):
            list(batches)
        batches = opened(content, tmp_path).arrow_batches(["a"])
        next(batches)
        next(batches)
        del batches
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("csv-reader")]
