"""The ground truth in reference files: its column, its values, and the predictions that are stored with it."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from django.core.files.base import ContentFile

from mlmon.exceptions import ReferenceFileError
from mlmon.schema import Feature, FeatureKind, TaskType, TensorType
from mlmon.tables import ReferenceTable, TableLimits
from models_registry.class_scores import kept_scores, scores_column, scores_matrix
from models_registry.models import ReferenceDataset, ReferenceStatus
from models_registry.reference_labels import ReferenceLabels, read_labels
from models_registry.schema import ModelSchema, ScoreKind
from models_registry.selectors import labelled_reference
from models_registry.services.references import profile_reference, upload_reference
from tests.factories import IRIS_FEATURES, diabetes_onnx, uploaded_version

LIMITS = TableLimits(file_bytes=10**7, rows=10**6)
X = Feature("x", FeatureKind.NUMERIC, False, "x", 0, TensorType.FLOAT64)


def schema(*classes: str) -> ModelSchema:
    kind = TaskType.CLASSIFICATION if classes else TaskType.REGRESSION
    return ModelSchema(
        kind, (X,), classes, "label", "scores" if classes else "", ScoreKind.PROBABILITIES if classes else None
    )


def labels_of(folder: Path, columns: dict[str, Any], classes: tuple[str, ...], chosen: str = "") -> ReferenceLabels:
    """Return the labels in a Parquet file, which must equal those in a CSV file."""
    table = pa.table({"x": [1.0] * len(next(iter(columns.values()))), **columns})
    pq.write_table(table, folder / "reference.parquet")
    found = read_labels(ReferenceTable(folder / "reference.parquet", [X], LIMITS), schema(*classes), chosen)
    pa.csv.write_csv(table, folder / "reference.csv")
    assert read_labels(ReferenceTable(folder / "reference.csv", [X], LIMITS), schema(*classes), chosen) == found
    return found


@pytest.mark.parametrize(
    ("columns", "classes", "column", "values"),
    [
        ({"target": ["a", None, "b"]}, ("a", "b"), "target", ["a", None, "b"]),
        ({"Label": [1, 0, 1]}, ("0", "1"), "Label", ["1", "0", "1"]),
        ({"y": [1.5, None, 2.0]}, (), "y", [1.5, None, 2.0]),
        ({"late": [True, False, None]}, ("late", "on_time"), "late", ["late", "on_time", None]),
        ({"species": ["a", "b", "c"], "colour": ["red", "a", "b"]}, ("a", "b", "c"), "species", ["a", "b", "c"]),
    ],
)
def test_the_column_is_detected_by_its_name_or_its_values(
    tmp_path: Path, columns: dict[str, Any], classes: tuple[str, ...], column: str, values: list[Any]
) -> None:
    assert labels_of(tmp_path, columns, classes) == ReferenceLabels(column, values)


@pytest.mark.parametrize(
    ("classes", "values"),
    [
        (("a", "NA"), ["a", "NA", None]),
        (("a", "None"), ["a", None, "None"]),
        (("a", "b"), ["a", None, None]),
    ],
)
def test_a_class_name_is_never_missing_in_a_csv_file(
    tmp_path: Path, classes: tuple[str, ...], values: list[str | None]
) -> None:
    path = tmp_path / "reference.csv"
    path.write_text("x,target\n1,a\n2,NA\n3,None\n")
    assert read_labels(ReferenceTable(path, [X], LIMITS), schema(*classes), "target").values == values


def test_a_named_column_is_used(tmp_path: Path) -> None:
    columns = {"target": ["a", "b"], "outcome": ["b", "a"]}
    assert labels_of(tmp_path, columns, ("a", "b"), "outcome").values == ["b", "a"]


@pytest.mark.parametrize(
    ("columns", "note"),
    [
        ({"month": [1, 2]}, "No column of the file looks like ground truth."),
        ({"target": ["a", "b"], "y": ["a", "b"]}, "Several columns look like ground truth: target, y."),
        ({"constant": ["a", "a"]}, "No column of the file looks like ground truth."),
        ({"target": ["a", "z"]}, 'Column "target" is not used as ground truth. Column "target", row 2: "z" is not one'),
    ],
)
def test_the_note_says_why_no_column_is_used(tmp_path: Path, columns: dict[str, Any], note: str) -> None:
    found = labels_of(tmp_path, columns, ("a", "b"))
    assert (found.column, found.labelled_rows) == ("", 0)
    assert found.note.startswith(note)


@pytest.mark.parametrize(
    ("chosen", "reason"),
    [
        ("x", 'Column "x" is a feature of the model, so it cannot be the ground truth.'),
        ("truth", 'The file has no column "truth" for the ground truth. Its columns are: x, target.'),
        ("target", 'Column "target", row 3: "z" is not one of the model\'s classes: a, b.'),
    ],
)
def test_an_unusable_named_column_is_refused(tmp_path: Path, chosen: str, reason: str) -> None:
    with pytest.raises(ReferenceFileError) as refused:
        labels_of(tmp_path, {"target": ["a", "b", "z"]}, ("a", "b"), chosen)
    assert str(refused.value) == reason


def test_a_column_of_lists_is_not_ground_truth(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1.0], "target": [["a"]]}), tmp_path / "lists.parquet")
    table = ReferenceTable(tmp_path / "lists.parquet", [X], LIMITS)
    assert "neither strings nor numbers" in read_labels(table, schema("a", "b"), "").note


def test_scores_of_three_classes_or_more_are_stored() -> None:
    logits = np.array([[1.0, 2.0, 1000.0], [0.0, 0.0, 0.0]])
    raw = ModelSchema(TaskType.CLASSIFICATION, (X,), ("a", "b", "c"), "", "scores", ScoreKind.LOGITS)
    kept = kept_scores(logits, raw)
    assert kept is not None
    expected = np.array([[0, 0, 1], [1 / 3, 1 / 3, 1 / 3]])
    np.testing.assert_allclose(kept.astype(np.float64), expected, atol=1e-7)
    kept[1, 0] = np.nan
    column = scores_column(kept)
    assert column.null_count == 1
    np.testing.assert_array_equal(scores_matrix(column), [[0, 0, 1], [np.nan] * 3])
    assert kept_scores(logits[:, :2], schema("a", "b")) is None
    assert kept_scores(None, raw) is None


def iris_file() -> bytes:
    from sklearn.datasets import load_iris

    data = load_iris()
    columns = {name: data.data[:, index] for index, name in enumerate(IRIS_FEATURES)}
    sink = io.BytesIO()
    pq.write_table(pa.table(columns | {"species": data.target_names[data.target]}), sink)
    return sink.getvalue()


def profiled(version: Any, content: bytes, **options: Any) -> ReferenceDataset:
    file = ContentFile(content)
    uploaded = upload_reference(version=version, file=file, filename="r.parquet", enqueue=False, **options)
    return profile_reference(reference_id=uploaded.pk)


@pytest.mark.django_db
def test_predictions_of_labelled_rows_are_stored() -> None:
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    version = uploaded_version("classifier")
    reference = profiled(version, iris_file())
    assert (reference.label_column, reference.labelled_rows, reference.labels_note) == ("species", 150, "")
    assert reference.ignored_columns == []
    table = labelled_reference(reference)
    assert table is not None
    data = load_iris()
    oracle = LogisticRegression(max_iter=1000, C=1.0).fit(data.data, data.target_names[data.target])
    assert table.column("actual").to_pylist() == data.target_names[data.target].tolist()
    assert table.column("prediction").to_pylist() == oracle.predict(data.data).tolist()
    scores: Any = table.column("scores").combine_chunks()
    np.testing.assert_allclose(scores_matrix(scores), oracle.predict_proba(data.data), atol=1e-5)


@pytest.mark.django_db
def test_a_reference_without_ground_truth_has_a_note() -> None:
    version = uploaded_version("classifier")
    table = pq.read_table(io.BytesIO(iris_file())).drop_columns(["species"])
    sink = io.BytesIO()
    pq.write_table(table, sink)
    reference = profiled(version, sink.getvalue())
    assert (reference.label_column, reference.labelled_rows) == ("", 0)
    assert reference.labels_note == "No column of the file looks like ground truth."
    assert labelled_reference(reference) is None


@pytest.mark.django_db
def test_a_wrong_column_fails_the_profiling() -> None:
    reference = profiled(uploaded_version("classifier"), iris_file(), label_column="sepal_width")
    assert reference.status == ReferenceStatus.FAILED
    assert (
        reference.error_message == 'Column "sepal_width" is a feature of the model, so it cannot be the ground truth.'
    )


@pytest.mark.django_db
def test_labels_of_a_regression_are_numbers() -> None:
    from sklearn.datasets import load_diabetes

    data = load_diabetes()
    names = [f"x{index}" for index in range(10)]
    version = uploaded_version("progression", onnx=diabetes_onnx(), features=names)
    sink = io.BytesIO()
    pq.write_table(pa.table(dict(zip(names, data.data.T, strict=True)) | {"target": data.target}), sink)
    table = labelled_reference(profiled(version, sink.getvalue()))
    assert table is not None
    assert table.column_names == ["actual", "prediction"]
    np.testing.assert_array_equal(table.column("actual").to_numpy(), data.target)
