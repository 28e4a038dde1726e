"""The schema of a version that is served elsewhere, as JSON: what it means, and what is refused at which place."""

import copy
from typing import Any

import pytest

from mlmon.schema import Feature, FeatureKind, TaskType, TensorType
from models_registry.exceptions import SchemaError
from models_registry.schema import ScoreKind
from models_registry.schema_document import (
    MOST_CLASSES,
    MOST_FEATURES,
    MOST_REASONS,
    document_of_schema,
    schema_of_document,
)

LOAN: dict[str, Any] = {
    "task": "classification",
    "classes": ["no", "yes"],
    "features": [
        {"name": "income", "type": "number", "required": True},
        {"name": "region", "type": "category"},
        {"name": "branch", "type": "integer", "kind": "categorical", "required": False},
        {"name": "is_new", "type": "boolean", "required": False},
    ],
}


def changed(*path: str | int, value: Any) -> dict[str, Any]:
    """Return the document with another value at a path."""
    document = copy.deepcopy(LOAN)
    target: Any = document
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    return document


def test_a_document_states_the_schema() -> None:
    schema = schema_of_document(LOAN)
    assert (schema.task_type, schema.classes) == (TaskType.CLASSIFICATION, ("no", "yes"))
    assert (schema.label_output, schema.score_output, schema.score_kind) == ("", "", ScoreKind.PROBABILITIES)
    assert schema.features == (
        Feature("income", FeatureKind.NUMERIC, True, "", 0, TensorType.FLOAT64),
        Feature("region", FeatureKind.CATEGORICAL, True, "", 1, TensorType.STRING),
        Feature("branch", FeatureKind.CATEGORICAL, False, "", 2, TensorType.INT64),
        Feature("is_new", FeatureKind.CATEGORICAL, False, "", 3, TensorType.BOOL),
    )


def test_a_schema_is_written_as_it_is_read() -> None:
    document = document_of_schema(schema_of_document(LOAN))
    assert document == changed("features", 1, value={"name": "region", "type": "category", "required": True})
    assert schema_of_document(document) == schema_of_document(LOAN)


@pytest.mark.parametrize(("task", "classes", "score_kind"), [("regression", (), None), ("anomaly", ("-1", "1"), None)])
def test_other_tasks_have_the_classes_that_they_have(
    task: str, classes: tuple[str, ...], score_kind: ScoreKind | None
) -> None:
    document = {"task": task, "features": LOAN["features"]}
    schema = schema_of_document(document)
    assert (schema.task_type, schema.classes, schema.score_kind) == (task, classes, score_kind)
    assert "classes" not in document_of_schema(schema)


def test_classes_may_be_numbers_and_booleans() -> None:
    assert schema_of_document(changed("classes", value=[0, 1, 2.5])).classes == ("0", "1", "2.5")
    assert schema_of_document(changed("classes", value=[False, True])).classes == ("false", "true")


@pytest.mark.parametrize(
    ("document", "place", "reason"),
    [
        ([], "schema", "expected an object"),
        (None, "schema", "expected an object"),
        ({}, "task", "it is missing; expected classification, regression or anomaly."),
        ({}, "features", "expected a list of objects"),
        (
            changed("task", value="clustering"),
            "task",
            'expected classification, regression or anomaly, got "clustering".',
        ),
        (changed("task", value=["anomaly"]), "task", "got a list."),
        (changed("labels", value=[]), "labels", "there is no such key; the keys are task, classes, features."),
        (changed("task", value="regression"), "classes", "a regression has none; leave it out."),
        (changed("task", value="anomaly"), "classes", 'those of anomaly are "-1" (an anomaly) and "1"; leave it out.'),
        (changed("classes", value=["no"]), "classes", "expected a list of at least two classes"),
        (changed("classes", value="no,yes"), "classes", "expected a list of at least two classes"),
        (changed("classes", value=["no", "no"]), "classes[1]", '"no" is listed twice.'),
        (changed("classes", value=["1", 1.0]), "classes[1]", '"1" is listed twice.'),
        (changed("classes", value=["no", None]), "classes[1]", "must be a string, a number, true or false."),
        (changed("classes", value=["no", " "]), "classes[1]", "must be a string of 1 to 255 characters."),
        (changed("classes", value=["no", "a\nb"]), "classes[1]", "use at most 128 characters, all printable."),
        (changed("classes", value=["no", "a\0b"]), "classes[1]", "must be a string of 1 to 255 characters."),
        (changed("classes", value=list(range(MOST_CLASSES + 1))), "classes", "at most 1,000 classes"),
        (changed("features", value=[]), "features", "expected a list of objects"),
        (changed("features", value={"income": "number"}), "features", "expected a list of objects"),
        (changed("features", value=[{}] * (MOST_FEATURES + 1)), "features", "at most 10,000 features"),
        (changed("features", 2, value="income"), "features[2]", "expected an object"),
        (changed("features", 2, "type", value="text"), "features[2].type", 'integer, boolean or category, got "text".'),
        (changed("features", 2, "type", value={}), "features[2].type", "got an object."),
        (changed("features", 2, "name", value=""), "features[2].name", "expected a string of 1 to 128 printable"),
        (changed("features", 2, "name", value=7), "features[2].name", "got 7."),
        (changed("features", 2, "name", value="x" * 129), "features[2].name", "expected a string of 1 to 128"),
        (changed("features", 2, "name", value="a\0"), "features[2].name", "printable characters"),
        (changed("features", 2, "name", value="income"), "features[2].name", 'two features are named "income".'),
        (changed("features", 1, "kind", value="numeric"), "features[1].kind", "expected categorical for this type"),
        (changed("features", 2, "kind", value=[]), "features[2].kind", "expected numeric or categorical"),
        (changed("features", 2, "required", value="no"), "features[2].required", 'expected true or false, got "no".'),
        (changed("features", 2, "optional", value=True), "features[2].optional", "there is no such key"),
        (changed("features", 2, value={"type": "number"}), "features[2].name", "expected a string"),
    ],
)
def test_errors_name_the_place_and_the_reason(document: Any, place: str, reason: str) -> None:
    with pytest.raises(SchemaError) as refused:
        schema_of_document(document)
    assert reason in refused.value.reasons[place]
    assert f"{place}: {refused.value.reasons[place]}" in str(refused.value)


def test_every_place_is_named_up_to_a_limit() -> None:
    document = changed("features", 0, "type", value="text") | {"task": "x", "more": 1}
    with pytest.raises(SchemaError) as refused:
        schema_of_document(document)
    assert set(refused.value.reasons) == {"task", "more", "features[0].type"}
    with pytest.raises(SchemaError) as refused:
        schema_of_document(changed("features", value=[{"name": f"x{n}", "type": "?"} for n in range(MOST_FEATURES)]))
    assert len(refused.value.reasons) == MOST_REASONS
