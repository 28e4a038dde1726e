"""A value means the same at every entry point: `tests.mlmon.value_table` holds what is stored, or the error.

The oracle is the table of decisions in docs/values.md.
"""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from inference.rows import RowReader
from mlmon.exceptions import ReferenceFileError, RowValueError
from mlmon.schema import Feature
from mlmon.tables import UNLIMITED, ReferenceTable
from tests.mlmon.value_table import ABSENT, TYPES, Refused, Stored, cells, feature


def read(entry_point: str, given: Any, one: Feature, folder: Path) -> list[Any]:
    """Return what an entry point stores of two rows: the first has no value unless one is required, the second has."""
    row, first = feature("row", "int64"), given if one.is_required else None
    if entry_point in ("object", "list"):
        named = {"row": 2} | ({} if given is ABSENT else {one.name: given})
        rows = [{"row": 1}, named] if entry_point == "object" else [[1, first], [2, given]]
        stored: list[Any] = RowReader([row, one]).columns(rows)[one.name].tolist()
        return stored
    source: Any = folder / "table"
    if entry_point == "csv":
        source.write_text(f"row,{one.name}\n1,{'' if first is None else first}\n2,{given}\n", encoding="utf-8")
    else:
        values = pa.concat_arrays([pa.nulls(1, given.type), given])
        source = pa.table({"row": [1, 2], one.name: values})
        if entry_point == "parquet":
            pq.write_table(source, folder / "table")
            source = folder / "table"
    batches = ReferenceTable(source, [row, one], UNLIMITED).batches()
    return [value for batch in batches for value in batch.columns[one.name].tolist()]


@pytest.mark.parametrize(("entry_point", "given", "kind", "stored"), list(cells()))
def test_a_value_means_the_same_everywhere(
    entry_point: str, given: Any, kind: str, stored: Stored, tmp_path: Path
) -> None:
    one = feature("x", kind)
    if isinstance(stored, Refused):
        with pytest.raises((RowValueError, ReferenceFileError)) as caught:
            read(entry_point, given, one, tmp_path)
        is_json = entry_point in ("object", "list")
        assert str(caught.value) == (f"row 1, feature 'x': {stored}" if is_json else f'Column "x", row 2: {stored}.')
        return
    found = read(entry_point, given, one, tmp_path)
    assert [None if value != value else value for value in found] == [None, stored]


def test_the_table_covers_hundreds_of_cells_and_each_type_at_each_entry_point() -> None:
    table = [cell.values for cell in cells()]
    assert len(table) >= 250
    assert {(entry_point, kind) for entry_point, _, kind, _ in table} == {
        (entry_point, kind) for entry_point in ("csv", "parquet", "arrow", "object", "list") for kind in TYPES
    }


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(
    ("entry_point", "given"),
    [
        ("csv", ""),
        ("parquet", pa.nulls(1)),
        ("arrow", pa.nulls(1)),
        ("object", None),
        ("object", ABSENT),
        ("list", None),
    ],
)
def test_a_required_value_that_is_missing_is_refused_everywhere(
    kind: str, entry_point: str, given: Any, tmp_path: Path
) -> None:
    with pytest.raises((RowValueError, ReferenceFileError), match="a value is required, but it is missing"):
        read(entry_point, given, feature("x", kind, is_required=True), tmp_path)
