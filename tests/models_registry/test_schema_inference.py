"""The schema that a reference file suggests: kinds, columns that are no features, task and classes."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlmon.exceptions import ReferenceFileError
from mlmon.schema import TaskType
from mlmon.tables import TableLimits
from models_registry import schema_inference
from models_registry.schema_document import schema_of_document
from models_registry.schema_inference import InferredSchema, SchemaChoices, infer_schema

LIMITS = TableLimits(file_bytes=1 << 24, rows=1_000_000)
ROWS = 200


def loans(**changes: Any) -> dict[str, Any]:
    """Return the columns of a file of loans; a change to None removes a column."""
    rng = np.random.default_rng(3)
    columns: dict[str, Any] = {
        "loan_id": [f"L{number:05d}" for number in range(ROWS)],
        "applied_on": [f"2026-01-{number % 28 + 1:02d}" for number in range(ROWS)],
        "income": rng.normal(50_000, 9_000, ROWS).round(2),
        "children": rng.integers(0, 4, ROWS),
        "region": rng.choice(["north", "south", "east"], ROWS),
        "savings": [None if number % 5 == 0 else float(number) for number in range(ROWS)],
        "is_new": rng.choice([True, False], ROWS),
        "prediction": rng.choice(["no", "yes"], ROWS),
        "confidence": rng.uniform(0.5, 1, ROWS).round(3),
        "actual": rng.choice(["no", "yes"], ROWS),
    }
    return {name: values for name, values in (columns | changes).items() if values is not None}


FEATURES = [
    {"name": "income", "type": "number", "required": True},
    {"name": "children", "type": "number", "required": True},
    {"name": "region", "type": "category", "required": True},
    {"name": "savings", "type": "number", "required": False},
    {"name": "is_new", "type": "boolean", "required": True},
]


def as_csv(columns: dict[str, Any]) -> bytes:
    rows = zip(*columns.values(), strict=True)
    lines = [",".join("" if value is None else str(value) for value in row) for row in rows]
    return "\n".join([",".join(columns), *lines]).encode()


def inferred(folder: Path, content: bytes, **choices: Any) -> InferredSchema:
    path = folder / "rows"
    path.write_bytes(content)
    return infer_schema(path, SchemaChoices(**choices), LIMITS)


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "parquet"])
def test_a_file_suggests_features_task_and_classes(tmp_path: Path, kind: str) -> None:
    if kind == "parquet":
        pq.write_table(pa.table(loans()), tmp_path / "given")
        content = (tmp_path / "given").read_bytes()
    else:
        content = gzip.compress(as_csv(loans())) if kind == "csv.gz" else as_csv(loans())
    found = inferred(tmp_path, content)
    assert found.document == {"task": "classification", "classes": ["no", "yes"], "features": FEATURES}
    assert {one.column: one.reason for one in found.left_out} == {
        "loan_id": "200 of its 200 values differ, as identifiers do. Add it if it is a feature.",
        "applied_on": "It has times.",
        "prediction": "It has the predictions.",
        "confidence": "It has probabilities of the predictions.",
        "actual": "It has the ground truth.",
    }
    assert found.notes == ()
    assert schema_of_document(found.document).classes == ("no", "yes")


def test_columns_can_be_named(tmp_path: Path) -> None:
    columns = loans(prediction=None, actual=None, confidence=None, applied_on=None)
    columns |= {"paid": ["a", "b"] * 100, "was_paid": ["a", "c"] * 100, "sent": [1.7e9 + n for n in range(ROWS)]}
    choices = {"prediction_column": "paid", "label_column": "was_paid", "time_column": "sent"}
    found = inferred(tmp_path, as_csv(columns), **choices)
    assert found.document["classes"] == ["a", "b", "c"]
    assert found.document["features"] == FEATURES
    reasons = {one.column: one.reason for one in found.left_out}
    assert (reasons["paid"], reasons["was_paid"], reasons["sent"]) == (
        "It has the predictions.",
        "It has the ground truth.",
        "It has the times.",
    )


@pytest.mark.parametrize(
    ("predictions", "task", "classes"),
    [
        (np.linspace(0, 1, ROWS), "regression", None),
        (np.arange(ROWS), "regression", None),
        ([0, 1] * 100, "classification", ["0", "1"]),
        ([1.0, 2.0] * 100, "classification", ["1", "2"]),
        (["True", "False"] * 100, "classification", ["false", "true"]),
        ([10, 9] * 100, "classification", ["9", "10"]),
    ],
)
def test_the_values_show_the_task(tmp_path: Path, predictions: Any, task: str, classes: list[str] | None) -> None:
    found = inferred(tmp_path, as_csv(loans(prediction=list(predictions), actual=None)))
    assert (found.document["task"], found.document.get("classes")) == (task, classes)


def test_what_the_values_do_not_prove_is_a_note(tmp_path: Path) -> None:
    numbers = inferred(tmp_path, as_csv(loans(prediction=[0, 1] * 100, actual=None)))
    assert "2 different whole numbers, so they are taken to be classes" in numbers.notes[0]
    anomalies = inferred(tmp_path, as_csv(loans(prediction=[-1, 1] * 100, actual=None)))
    assert 'change the task to "anomaly"' in anomalies.notes[1]
    one_class = inferred(tmp_path, as_csv(loans(prediction=["no"] * ROWS, actual=None)))
    assert "at least two classes" in one_class.notes[0]
    with_probability = inferred(
        tmp_path, as_csv(loans(prediction=["no"] * ROWS, actual=None, probability_yes=[0] * ROWS))
    )
    assert (with_probability.document["classes"], with_probability.notes) == (["no", "yes"], ())


def test_a_stated_task_is_not_inferred(tmp_path: Path) -> None:
    content = as_csv(loans(prediction=[-1, 1] * 100, actual=None))
    assert inferred(tmp_path, content, task=TaskType.ANOMALY).document["task"] == "anomaly"
    assert "classes" not in inferred(tmp_path, content, task=TaskType.REGRESSION).document
    without = as_csv(loans(prediction=None, actual=None))
    assert inferred(tmp_path, without, task=TaskType.REGRESSION).document["task"] == "regression"
    classes = inferred(tmp_path, without, task=TaskType.CLASSIFICATION)
    assert (classes.document["classes"], "at least two classes" in classes.notes[0]) == ([], True)


def test_a_column_of_classes_is_no_feature(tmp_path: Path) -> None:
    outcome = loans()["actual"]
    found = inferred(tmp_path, as_csv(loans(actual=None, outcome=outcome)))
    assert [one["name"] for one in found.document["features"]] == [one["name"] for one in FEATURES]
    assert found.left_out[-1].column == "outcome"


def test_stray_values_and_codes_are_notes(tmp_path: Path) -> None:
    income = [str(value) for value in loans()["income"]]
    income[6] = "n.a."
    codes = [f"{number % 90:03d}" for number in range(ROWS)]
    found = inferred(tmp_path, as_csv(loans(income=income, branch=codes)))
    assert any(note.startswith('income: 1 values are no number, the first in row 7: "n.a.".') for note in found.notes)
    assert any("branch: some of its numbers start with a zero" in note for note in found.notes)
    assert {"name": "branch", "type": "category", "required": True} in found.document["features"]


def test_only_the_first_rows_of_a_large_file_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = 150_000
    monkeypatch.setattr(schema_inference, "MOST_CELLS", 1000)
    content = "x,prediction\n" + "0.5,no\n1.5,yes\n" * (rows // 2) + ",maybe\n"
    found = inferred(tmp_path, content.encode())
    assert found.document["classes"] == ["no", "yes"]
    assert found.notes[0].startswith("Only the first ")


@pytest.mark.parametrize(
    ("content", "choices", "reason"),
    [
        (b"", {}, "The file is empty."),
        (b"a,prediction\n", {}, "The file has a header but no rows."),
        (b"PK\x03\x04...", {}, "an Excel workbook or a zip file"),
        (b"PAR1 and no more", {}, "damaged or cut off"),
        (b"a,b\n1,2\n", {}, "The file does not show what the model predicts"),
        (b"a,a,prediction\n1,2,no\n2,3,yes\n", {}, 'Column "a" is in the file 2 times'),
        (b"a,pred,y_pred\n1,2,3\n", {}, 'Several columns are named like predictions: "pred", "y_pred".'),
        (b"a,y,target,prediction\n1,2,3,4\n", {}, 'Several columns are named like ground truth: "y", "target".'),
        (b"a,b\n1,2\n", {"prediction_column": "p"}, 'no column "p" for the predictions. Its columns are: "a", "b".'),
        (b"a,b\n1,2\n", {"label_column": "p"}, 'no column "p" for the ground truth'),
        (b"a,prediction\n1,2\n", {"time_column": "p"}, 'no column "p" for the times'),
        (b"prediction,actual\nno,yes\nyes,no\n", {}, "No column of the file looks like a feature."),
        (b"a,p\n1,2026-01-01\n2,2026-01-02\n", {"prediction_column": "p"}, "not times"),
        (b"a\0,p\n1,no\n", {}, ""),
        (b"a,prediction\n1,\xe9\n", {}, "is not UTF-8"),
    ],
)
def test_a_file_that_shows_no_schema_is_refused(
    tmp_path: Path, content: bytes, choices: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ReferenceFileError) as refused:
        inferred(tmp_path, content, **choices)
    assert reason in str(refused.value)
    assert str(tmp_path) not in str(refused.value)


def test_too_many_classes_are_refused(tmp_path: Path) -> None:
    rows = "\n".join(f"{n % 7}.5,label {n}" for n in range(1500))
    with pytest.raises(ReferenceFileError, match=r"The output has 1,500 different strings; at most 1,000"):
        inferred(tmp_path, f"x,prediction\n{rows}".encode())


def test_nested_columns_and_strange_names_are_left_out(tmp_path: Path) -> None:
    table = pa.table(
        {"x": [0.5, 1.5, 2.5], "list": [[1], [2], [3]], "\x07bell": [1.5, 2.5, 2.5], "prediction": ["a", "b", "a"]}
    )
    pq.write_table(table, tmp_path / "given")
    found = inferred(tmp_path, (tmp_path / "given").read_bytes())
    assert [one["name"] for one in found.document["features"]] == ["x"]
    reasons = {one.column: one.reason for one in found.left_out}
    assert reasons["list"].startswith("It has the type list<")
    assert reasons["\x07bell"].startswith("Its name is not allowed")
