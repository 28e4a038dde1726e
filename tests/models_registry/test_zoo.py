"""Every file of the zoo is served with its framework's own predictions, or refused with advice that works.

The expected numbers are those of the frameworks (`tests.models_registry.zoo`).
"""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.core.files.base import ContentFile

from mlmon.labels import class_of, label_string
from mlmon.schema import TaskType, TensorType
from models_registry.artefacts.inspection import inspect_artefact
from models_registry.exceptions import ArtefactError, UndeclaredOutputError
from models_registry.prediction_check import check_predictions
from models_registry.schema import Declaration, ModelSchema, ScoreKind
from tests.models_registry.inspection import LIMITS
from tests.models_registry.zoo import FILES, ZooModel, read_model, zoo

SECOND_SCORE_IS_RIGHT = ("sklearn-one-vs-one-2",)  # (1 - s, s); only that of the second class is served
NETWORK_EXPORTERS = ("pytorch", "tf2onnx")  # they write no labels and no tasks


def load_refusals() -> dict[str, tuple[str, str]]:
    """Return what is refused: a part of the message, and a file that was exported as it advises ("" if none can be)."""
    rows = (FILES.parent / "refused.tsv").read_text(encoding="utf-8").splitlines()[1:]
    return {name: (message, followed) for name, message, followed in (row.split("\t") for row in rows)}


REFUSED = load_refusals()


def served(model: ZooModel, folder: Path, declared: Declaration) -> tuple[Path, ModelSchema]:
    """Return the file that is served and its schema."""
    normalised = folder / "normalised.onnx"
    if "nocl" in model.options:  # without class labels, which the uploader names
        declared = Declaration(classes=tuple(label_string(name) for name in model.classes or ()))
    report = inspect_artefact(
        model.path,
        limits=LIMITS,
        normalised_path=normalised,
        data_files={path.name: path for path in model.data_files},
        declared=declared,
    )
    # The person who uploads it knows which features may be missing.
    is_missing = [any(row[place] is None for row in model.rows) for place in range(len(model.features))]
    features = tuple(
        replace(feature, is_required=not missing)
        for feature, missing in zip(report.schema.features, is_missing, strict=True)
    )
    return normalised if report.is_normalised else model.path, replace(report.schema, features=features)


def stated(model: ZooModel, error: UndeclaredOutputError) -> Declaration:
    """Return what the person who trained the model answers, which must be one of the choices."""
    task = TaskType(model.task)
    kinds = {kind for offered, kind, _ in error.choices if offered is task}
    if task is TaskType.REGRESSION:
        assert kinds == {None}
        return Declaration(task)
    of_model = {"logits": ScoreKind.LOGITS, "margins": ScoreKind.MARGINS}
    kind = None if None in kinds else of_model.get(model.score_kind or "", ScoreKind.PROBABILITIES)
    assert kind in kinds
    return Declaration(task, kind, tuple(label_string(name) for name in model.classes or ()))


def own_predictions(model: ZooModel, schema: ModelSchema) -> ContentFile[bytes]:
    """Return the framework's rows and predictions as a user would write them to check the file."""
    columns: dict[str, Any] = {}
    for place, feature in enumerate(schema.features):
        values = [row[place] for row in model.rows]
        columns[feature.name] = pa.array(values, pa.string() if feature.tensor_type is TensorType.STRING else None)
    columns["prediction"] = pa.array([each[0] if isinstance(each, list) else each for each in model.predictions])
    if model.probabilities is not None and schema.score_kind in (ScoreKind.PROBABILITIES, ScoreKind.LOGITS):
        for place, name in enumerate(model.classes or ()):
            columns[f"probability_{class_of(label_string(name), schema.classes)}"] = pa.array(
                [row[place] for row in model.probabilities]
            )
    if schema.score_kind is ScoreKind.MARGINS and model.scores is not None and model.classes:
        columns["score"] = pa.array([margin(model, row) for row in range(len(model.rows))])
    content = io.BytesIO()
    pq.write_table(pa.table(columns), content)
    return ContentFile(content.getvalue())


def is_asked(model: ZooModel) -> bool:
    """Return whether the graph does not prove what the model predicts."""
    is_labelled = "predictions" in model.outputs.values() and model.task == "classification"
    is_softmax = "probabilities" in model.outputs.values() and "sigmoid" not in model.name
    is_proven = is_labelled or is_softmax or model.score_kind == "log-probabilities"
    return model.producer_name in NETWORK_EXPORTERS and not is_proven


def margin(model: ZooModel, row: int) -> float:
    """Return the framework's score of the predicted class (of two: of the second), or of an anomaly model."""
    assert model.scores is not None
    scores = [*model.scores[row]] if isinstance(model.scores[row], list) else [model.scores[row]]
    if model.task == "anomaly":
        return float(scores[0])
    if len(model.classes or ()) == 2:  # of the second class
        return float(scores[-1])
    return float(
        scores[[label_string(name) for name in model.classes or ()].index(label_string(model.predictions[row]))]
    )


@pytest.mark.parametrize("name", [model.name for model in zoo() if model.name not in REFUSED])
def test_a_file_is_served_with_its_frameworks_predictions(name: str, tmp_path: Path) -> None:
    model = read_model(name)
    try:
        path, schema = served(model, tmp_path, Declaration())
        assert not is_asked(model)
    except UndeclaredOutputError as error:
        assert is_asked(model)
        path, schema = served(model, tmp_path, stated(model, error))
    check = own_predictions(model, schema)
    is_right = model.onnxruntime == "equal" or "nocl" in model.options or "ZipMap" in model.onnxruntime
    is_right = is_right or model.name in SECOND_SCORE_IS_RIGHT
    is_label = schema.task_type is not TaskType.REGRESSION and not schema.score_output
    if is_right or is_label:  # scores that contradict the labels are not served
        assert check_predictions(path, schema, check).startswith("Equal to the framework's own numbers")
    else:  # the exporter wrote another model: only the framework's own numbers show it
        with pytest.raises(ArtefactError, match="the model's is"):
            check_predictions(path, schema, check)


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_has_advice_that_works(name: str, tmp_path: Path) -> None:
    message, followed = REFUSED[name]
    model = read_model(name)
    with pytest.raises(ArtefactError) as refused:
        served(model, tmp_path, Declaration())
    assert message in str(refused.value)
    assert followed not in REFUSED  # it is one of the files that are served equal
    assert not followed or read_model(followed).onnxruntime == "equal"


def test_every_refusal_is_of_a_file() -> None:
    names = {model.name for model in zoo()}
    assert {*REFUSED, *(followed for _, followed in REFUSED.values() if followed)} <= names
