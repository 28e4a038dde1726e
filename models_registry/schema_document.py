"""The schema of a version that is served elsewhere, as the JSON document that people write and confirm.

An example: ``{"task": "classification", "classes": ["no", "yes"], "features": [{"name": "income", "type": "number",
"required": true}, {"name": "region", "type": "category"}]}``. `schema_of_document` describes it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mlmon.exceptions import LabelError
from mlmon.labels import label_string
from mlmon.schema import Feature, FeatureKind, TaskType, TensorType
from mlmon.values import shown
from models_registry.artefacts.report import LONGEST_NAME
from models_registry.exceptions import SchemaError
from models_registry.schema import ModelSchema, ScoreKind

TYPES = {
    "number": TensorType.FLOAT64,
    "integer": TensorType.INT64,
    "boolean": TensorType.BOOL,
    "category": TensorType.STRING,
}
CATEGORICAL_TYPES = ("boolean", "category")  # the kind of the others is numeric unless it is stated
ANOMALY_CLASSES = ("-1", "1")
MOST_FEATURES = 10_000
MOST_CLASSES = 1_000  # each has series in Prometheus
MOST_REASONS = 20  # of one document
_SCHEMA_KEYS = ("task", "classes", "features")
_FEATURE_KEYS = ("name", "type", "kind", "required")
_ABSENT: Any = object()


def schema_of_document(document: object) -> ModelSchema:
    """Return the schema that a document states.

    Parameters
    ----------
    document
        As decoded from JSON: an object with ``task``, ``classes`` (of a classification) and ``features``, which are
        objects with ``name``, ``type`` (number, integer, boolean or category), ``kind`` (numeric or categorical; by
        default that of the type) and ``required`` (by default true). Their order is that of rows without names.

    Raises
    ------
    SchemaError
        With the reason for each invalid place, such as ``features[2].type``.
    """
    reader = _Reader()
    if not isinstance(document, dict):
        reader.refuse("", f'expected an object such as {{"task": …, "features": […]}}, got {shown(document)}')
        raise SchemaError(reader.reasons)
    reader.refuse_unknown("", document, _SCHEMA_KEYS)
    task = reader.choice("task", document.get("task", _ABSENT), [task.value for task in TaskType])
    classes = reader.classes(document.get("classes", _ABSENT), task)
    features = reader.features(document.get("features", _ABSENT))
    if reader.reasons:
        raise SchemaError(reader.reasons)
    return ModelSchema(
        task_type=TaskType(task),
        features=features,
        classes=classes,
        label_output="",
        score_output="",
        score_kind=ScoreKind.PROBABILITIES if task == TaskType.CLASSIFICATION else None,
    )


def document_of_schema(schema: ModelSchema) -> dict[str, Any]:
    """Return the document of a schema of a version that is served elsewhere."""
    classes = {"classes": list(schema.classes)} if schema.task_type is TaskType.CLASSIFICATION else {}
    return {
        "task": schema.task_type.value,
        **classes,
        "features": [document_of_feature(feature) for feature in schema.features],
    }


def document_of_feature(feature: Feature) -> dict[str, Any]:
    """Return a feature as `schema_of_document` reads it; its kind only if it is not that of the type."""
    (name,) = [name for name, tensor_type in TYPES.items() if tensor_type is feature.tensor_type]
    kind = {} if feature.kind is _kind_of_type(name) else {"kind": feature.kind.value}
    return {"name": feature.name, "type": name, **kind, "required": feature.is_required}


def _kind_of_type(name: str) -> FeatureKind:
    return FeatureKind.CATEGORICAL if name in CATEGORICAL_TYPES else FeatureKind.NUMERIC


@dataclass(slots=True)
class _Reader:
    """Reads the parts of a document; collects the reasons for which it is refused, by place."""

    reasons: dict[str, str] = field(default_factory=dict)

    def refuse(self, place: str, reason: str) -> None:
        if len(self.reasons) < MOST_REASONS:
            self.reasons.setdefault(place, f"{reason}.")

    def refuse_unknown(self, place: str, found: Mapping[str, object], known: Iterable[str]) -> None:
        for name in found.keys() - set(known):
            self.refuse(f"{place}{shown(name)[1:-1]}", f"there is no such key; the keys are {', '.join(known)}")

    def choice(self, place: str, value: object, choices: list[str]) -> str:
        expected = f"expected {', '.join(choices[:-1])} or {choices[-1]}"
        if value is _ABSENT:
            self.refuse(place, f"it is missing; {expected}")
        elif value not in choices:
            self.refuse(place, f"{expected}, got {shown(value)}")
        return value if isinstance(value, str) else ""

    def classes(self, given: object, task: str) -> tuple[str, ...]:
        if task == TaskType.REGRESSION and given not in (_ABSENT, []):
            self.refuse("classes", "a regression has none; leave it out")
        if task == TaskType.ANOMALY and given not in (_ABSENT, list(ANOMALY_CLASSES)):
            self.refuse("classes", 'those of anomaly are "-1" (an anomaly) and "1"; leave it out')
        if task != TaskType.CLASSIFICATION:
            return ANOMALY_CLASSES if task == TaskType.ANOMALY else ()
        if not isinstance(given, list) or len(given) < 2:
            self.refuse("classes", 'expected a list of at least two classes, such as ["no", "yes"]')
            return ()
        if len(given) > MOST_CLASSES:
            self.refuse("classes", f"at most {MOST_CLASSES:,} classes are supported, got {len(given):,}")
            return ()
        names: list[str] = []
        for index, value in enumerate(given):
            place = f"classes[{index}]"
            try:
                name = label_string(value)
            except LabelError as error:
                self.refuse(place, str(error))
                continue
            if len(name) > LONGEST_NAME or not name.isprintable():
                self.refuse(place, f"use at most {LONGEST_NAME} characters, all printable")
            elif name in names:
                self.refuse(place, f"{shown(name)} is listed twice")
            names.append(name)
        return tuple(names)

    def features(self, given: object) -> tuple[Feature, ...]:
        if not isinstance(given, list) or not given:
            self.refuse("features", 'expected a list of objects such as {"name": "income", "type": "number"}')
            return ()
        if len(given) > MOST_FEATURES:
            self.refuse("features", f"at most {MOST_FEATURES:,} features are supported, got {len(given):,}")
            return ()
        features: list[Feature] = []
        names: set[str] = set()
        for position, item in enumerate(given):
            if len(self.reasons) >= MOST_REASONS:
                break
            found = self.feature(f"features[{position}]", item, position)
            if found is None:
                continue
            if found.name in names:
                self.refuse(f"features[{position}].name", f"two features are named {shown(found.name)}")
            names.add(found.name)
            features.append(found)
        return tuple(features)

    def feature(self, place: str, item: object, position: int) -> Feature | None:
        """Return a feature; None if it is refused."""
        before = len(self.reasons)
        if not isinstance(item, dict):
            self.refuse(place, f'expected an object such as {{"name": "income", "type": "number"}}, got {shown(item)}')
            return None
        self.refuse_unknown(f"{place}.", item, _FEATURE_KEYS)
        name, required = item.get("name", _ABSENT), item.get("required", True)
        if not isinstance(name, str) or not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
            found = "" if name is _ABSENT else f", got {shown(name)}"
            self.refuse(f"{place}.name", f"expected a string of 1 to {LONGEST_NAME} printable characters{found}")
        kind_of = self.choice(f"{place}.type", item.get("type", _ABSENT), list(TYPES))
        kind = _kind_of_type(kind_of)
        if "kind" in item:
            kinds = [FeatureKind.CATEGORICAL] if kind_of in CATEGORICAL_TYPES else list(FeatureKind)
            if item["kind"] not in kinds:
                expected = " or ".join(kinds)
                self.refuse(f"{place}.kind", f"expected {expected} for this type, got {shown(item['kind'])}")
            else:
                kind = FeatureKind(item["kind"])
        if not isinstance(required, bool):
            self.refuse(f"{place}.required", f"expected true or false, got {shown(required)}")
        if len(self.reasons) > before or not isinstance(name, str) or not isinstance(required, bool):
            return None
        return Feature(name, kind, required, input_name="", column=position, tensor_type=TYPES[kind_of])
