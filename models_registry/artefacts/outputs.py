"""From the outputs of a model to its task, classes and scores: what the graph proves, and what its uploader states.

Nothing is guessed. What neither proves is asked for, by `UndeclaredOutputError`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from mlmon.schema import TaskType
from models_registry.artefacts.advice import advice_for
from models_registry.artefacts.output_choice import NUMBER_TYPES, label_of, only, refuse_unread_labels, scores_of
from models_registry.artefacts.report import (
    LONGEST_NAME,
    LONGEST_TENSOR_NAME,
    OutputOrigin,
    OutputTensor,
    refuse_name,
)
from models_registry.exceptions import ArtefactError, UndeclaredOutputError
from models_registry.schema import Declaration, ScoreKind

_LABEL_TYPES = frozenset({"int32", "int64", "string", "bool"})
_BOOLEANS = ("false", "true")
_ANOMALY_CLASSES = ("-1", "1")
_P = ScoreKind.PROBABILITIES
_BINARY = {
    ScoreKind.PROBABILITIES: "the number is the probability of the second class",
    ScoreKind.LOGITS: "the number is its logit; a sigmoid is applied",
    ScoreKind.MARGINS: "the sign decides; there is no confidence",
}
_MULTICLASS = {
    ScoreKind.LOGITS: "a softmax is applied",
    ScoreKind.MARGINS: "the largest number decides; there is no confidence",
}


@dataclass(frozen=True, slots=True)
class ModelOutputs:
    """What a model predicts, as in `models_registry.schema.ModelSchema`; ``remarks`` says what was assumed."""

    task_type: TaskType
    classes: tuple[str, ...] = ()
    label_output: str = ""
    score_output: str = ""
    score_kind: ScoreKind | None = None
    remarks: list[str] = field(default_factory=list)


def outputs_of(
    outputs: Sequence[OutputTensor], declared: Declaration, *, producer: str, max_classes: int
) -> ModelOutputs:
    """Return what the model predicts.

    Raises
    ------
    UndeclaredOutputError
        The graph does not prove it, and it was not stated.
    ArtefactError
        The outputs cannot be served, or contradict what was stated.
    """
    tables = [output for output in outputs if output["width"] is not None]
    labels = [output for output in tables if output["dtype"] in _LABEL_TYPES and output["width"] == 1]
    numbers = [output for output in tables if output["dtype"] in NUMBER_TYPES]
    for output in (*labels, *numbers):
        refuse_name(output["name"], "Output name", LONGEST_TENSOR_NAME)
    refuse_unread_labels(outputs, numbers)
    several = [output for output in tables if output["dtype"] in _LABEL_TYPES and output["width"] != 1]
    has_classes = any(output["stored_classes"] or output["dtype"] == "string" for output in labels)
    if declared.task is TaskType.REGRESSION and numbers and not has_classes:
        found = _of_number(only(numbers, "number"), declared)
    elif labels:
        found = _of_labels(label_of(labels, numbers), numbers, declared, producer)
    elif several:
        raise ArtefactError(
            f"The model predicts {several[0]['width']} labels a row (output {several[0]['name']!r}). "
            f"{advice_for(producer, 'targets')}"
        )
    elif not numbers:
        shapes = ", ".join(f"{output['name']!r}: {output['dtype']} {tuple(output['shape'])}" for output in outputs[:10])
        raise ArtefactError(
            f"No output has one result for each row; for three rows the model returned {shapes or 'nothing'}. A label "
            f"(rows), scores (rows x classes) or a number (rows) is needed. {advice_for(producer, 'rows')}"
        )
    else:
        number = scores_of(numbers, "number")
        unread = [output for output in outputs if output["dtype"] in _LABEL_TYPES]
        if unread and not declared.classes and not number["stored_classes"]:
            # Numbering the classes would contradict these labels.
            raise ArtefactError(
                f"Output {unread[0]['name']!r} has the shape {tuple(unread[0]['shape'])} for three rows, so it has no "
                f"label for each row. State the classes in the order of {number['name']!r}, or export one label for "
                "each row."
            )
        if not number["is_finite"]:
            raise ArtefactError(f"Output {number['name']!r} is NaN or infinite for every sample row.")
        is_single = number["width"] == 1
        found = _of_number(number, declared) if is_single else _of_numbers(number, declared, producer)
    if found.task_type is not TaskType.REGRESSION:
        if not 2 <= len(found.classes) <= max_classes:
            raise ArtefactError(f"The model has {len(found.classes)} class(es); 2 to {max_classes:,} are supported.")
        if len(set(found.classes)) < len(found.classes):
            raise ArtefactError("Two classes of the model have the same label. Give every class its own.")
        for name in found.classes:
            refuse_name(name, "Class label", LONGEST_NAME)
    elif declared.classes or declared.scores:
        raise ArtefactError("The model is a regression: leave out classes and scores.")
    return found


def _of_labels(label: OutputTensor, numbers: list[OutputTensor], declared: Declaration, producer: str) -> ModelOutputs:
    """Return the outputs of a model that predicts labels."""
    name, table = label["name"], tuple(label["stored_classes"])
    is_number = label["dtype"] not in ("string", "bool")
    if label["dtype"] == "bool":
        table = _BOOLEANS
    if declared.task is TaskType.REGRESSION:
        if table or not is_number:
            raise ArtefactError(f"Output {name!r} is a class label, so the task is classification.")
        return ModelOutputs(TaskType.REGRESSION, label_output=name)
    score = next((each for each in numbers if each["name"] == "scores"), numbers[0] if numbers else None)
    if score is not None and score["width"] != 1:
        score = None
    has_signs = is_number and not table and set(label["labels"]) <= set(_ANOMALY_CLASSES)
    # An exporter that stores the classes of every classifier has written this for an anomaly detector.
    is_detector = score is not None and score["origin"] in (OutputOrigin.LABEL_EXPORTER, OutputOrigin.REGRESSOR)
    is_anomaly = declared.task is TaskType.ANOMALY
    if declared.task is None and has_signs and score is not None and not declared.classes and not declared.scores:
        is_anomaly = is_detector
        if not is_detector and "-1" in label["labels"]:
            raise UndeclaredOutputError(
                f"The file does not say what the labels -1 and 1 of output {name!r} mean.",
                [
                    (TaskType.ANOMALY, None, "-1 is an anomaly"),
                    (TaskType.CLASSIFICATION, None, "they are classes; state classes=-1,1"),
                ],
            )
    if not is_anomaly:
        return _classifier(label, table, numbers, declared, producer)
    if not has_signs and set(table) != set(_ANOMALY_CLASSES):
        raise ArtefactError(
            f"An anomaly model predicts -1 (anomaly) or 1; output {name!r} is {', '.join(label['labels'][:5])} for "
            "sample rows."
        )
    if "-1" not in label["labels"] and not is_detector:
        raise ArtefactError(
            f"Output {name!r} is 1 for every sample row, so it may be that 1 is an anomaly. An anomaly model predicts "
            "-1 for an anomaly and 1 for other rows; export it with these labels."
        )
    if declared.classes or declared.scores:
        raise ArtefactError("The classes of an anomaly model are -1 and 1, and its score is given: state neither.")
    score_output = score["name"] if score is not None and score["is_finite"] else ""
    return ModelOutputs(
        TaskType.ANOMALY, _ANOMALY_CLASSES, name, score_output, ScoreKind.MARGINS if score_output else None
    )


def _classifier(
    label: OutputTensor, table: tuple[str, ...], numbers: list[OutputTensor], declared: Declaration, producer: str
) -> ModelOutputs:
    """Return the outputs of a classifier with labels; its classes are in the order of the scores."""
    remarks: list[str] = []
    positions = tuple(str(position) for position in range(len(declared.classes)))
    if declared.classes and table == positions and set(table) != set(declared.classes):
        table = ()  # positions, which some frameworks demand: the stated classes name them
    seen = set(label["labels"])
    if not table and seen <= set(declared.classes) and not seen <= set(positions):
        table = declared.classes  # the labels are the stated classes, not their positions
    expected = table or declared.classes
    fitting = [
        each for each in numbers if each["width"] == len(expected) or (each["width"] == 1 and len(expected) == 2)
    ]
    scores = scores_of(fitting or numbers, "score") if numbers else None
    if declared.classes and table and set(declared.classes) != set(table):
        raise ArtefactError(
            f"The file has its own classes ({', '.join(table[:10])}), which are predicted. Leave out the classes."
        )
    if not expected and (scores is None or label["dtype"] == "string"):
        raise ArtefactError(
            f"The model predicts labels ({label['name']!r}), but its file does not list its classes. State the "
            "classes, or export it with its class labels (skl2onnx and onnxmltools store them with the classifier)."
        )
    if scores is not None and not scores["is_finite"]:
        raise ArtefactError(f"The scores {scores['name']!r} are NaN or infinite for every sample row.")
    if not expected and scores is not None:
        expected = _numbered(scores, remarks)
    if scores is not None and scores["width"] != len(expected) and not (scores["width"] == 1 and len(expected) == 2):
        raise ArtefactError(
            f"The model has {len(expected)} classes, but {scores['width']} scores a row in {scores['name']!r}. "
            "Export one score for each class (for a support vector machine: decision_function_shape='ovr')."
        )
    if scores is not None and set(scores["stored_classes"]) == set(expected):
        expected = tuple(scores["stored_classes"])
    predicted = label["rows"]
    if not table and label["dtype"] != "string":
        # The labels are positions. Stated classes name them, so that the scores alone are read.
        predicted = [expected[int(each)] if 0 <= int(each) < len(expected) else each for each in label["rows"]]
    unknown = [each for each in (*label["labels"], *predicted) if each not in expected] if table else []
    unknown = unknown or [each for each in predicted if each not in expected]
    if unknown:
        raise ArtefactError(
            f"The model predicted {unknown[0]!r} for a sample row, which is not one of its classes "
            f"({', '.join(expected[:10])}). {advice_for(producer, 'label')}"
        )
    kind = None
    if scores is not None:
        kind, best = _compared_scores(scores, expected, predicted, declared)
        compared = [one == other for one, other in zip(best, predicted, strict=True) if one]
        agrees = all(compared)
        if not (agrees and compared) and (declared.scores or (declared.classes and not table)):
            raise ArtefactError(
                f"The largest score in {scores['name']!r} is not that of the predicted label for a sample row, so its "
                "columns are not the scores of the classes in this order."
            )
        if not agrees and table and kind is ScoreKind.PROBABILITIES and 2 * sum(compared) >= len(compared):
            # As of a support vector machine, whose labels do not come from its probabilities.
            remarks.append(
                f"The predicted label is not always the class with the largest probability in {scores['name']!r}."
            )
        elif not agrees:
            # Distances, as of a clusterer, which are smallest for the prediction; or columns in another order.
            remarks.append(f"The numbers in {scores['name']!r} are not used: they are not largest for the prediction.")
            scores = kind = None
    label_output = label["name"]
    if label["shape"][:1] == [1]:
        remarks.append(f"Output {label_output!r} has the shape 1 x rows; it is read as one label for each row.")
    if not table and declared.classes and label["dtype"] != "string":
        if scores is None:
            raise ArtefactError(
                f"The labels in {label['name']!r} are numbers without a table of classes. Leave out the classes."
            )
        label_output = ""
    if scores is not None and kind is ScoreKind.MARGINS and not declared.scores:
        is_vote = scores["origin"] == OutputOrigin.VOTES
        what, hint = ("shares of votes", "") if is_vote else ("not probabilities", " If they are logits, state it.")
        remarks.append(
            f"The scores in {scores['name']!r} are {what}, so predictions have a score and no confidence.{hint}"
        )
    score_output = scores["name"] if scores else ""
    return ModelOutputs(TaskType.CLASSIFICATION, expected, label_output, score_output, kind, remarks)


def _of_number(number: OutputTensor, declared: Declaration) -> ModelOutputs:
    """Return the outputs of a model with one number for each row."""
    name, origin = number["name"], number["origin"]
    proves_regression = origin in (OutputOrigin.REGRESSOR, OutputOrigin.LABEL_EXPORTER)
    if declared.task is TaskType.REGRESSION and number["width"] != 1:
        raise ArtefactError(
            f"The model predicts {number['width']} numbers a row (multi-output regression). Export one model for each "
            "target."
        )
    task = declared.task or (TaskType.REGRESSION if proves_regression and not declared.classes else None)
    if task is None and declared.classes:
        task = TaskType.CLASSIFICATION
    is_sigmoid = origin == OutputOrigin.SIGMOID
    if task is None:
        kinds = (ScoreKind.PROBABILITIES,) if is_sigmoid else tuple(_BINARY)
        raise UndeclaredOutputError(
            f"The file does not say what output {name!r} means. It is one number for each row"
            f"{', the result of a sigmoid' if is_sigmoid else ''}; for sample rows: {_sample(number)}.",
            [
                *((TaskType.CLASSIFICATION, None if is_sigmoid else kind, _BINARY[kind]) for kind in kinds),
                (TaskType.REGRESSION, None, "the number is the prediction"),
            ],
        )
    if task is TaskType.REGRESSION:
        return ModelOutputs(TaskType.REGRESSION, label_output=name)
    if task is TaskType.ANOMALY:
        raise ArtefactError(
            f"An anomaly model needs an output with its label, -1 (anomaly) or 1; this one has the number {name!r}."
        )
    kind = declared.scores or (ScoreKind.PROBABILITIES if is_sigmoid else None)
    if kind is None:
        raise UndeclaredOutputError(
            f"The file does not say what output {name!r} of the classification means; for sample rows it is "
            f"{_sample(number)}.",
            [(TaskType.CLASSIFICATION, one, meaning) for one, meaning in _BINARY.items()],
        )
    _check_kind(number, kind)
    remarks: list[str] = []
    classes = declared.classes or _numbered(number, remarks)
    if len(classes) != 2:
        raise ArtefactError(f"{len(classes)} classes were stated; one number for each row can only decide between 2.")
    return ModelOutputs(TaskType.CLASSIFICATION, classes, "", name, kind, remarks)


def _of_numbers(numbers: OutputTensor, declared: Declaration, producer: str) -> ModelOutputs:
    """Return the outputs of a model with several numbers for each row."""
    name, origin, width = numbers["name"], numbers["origin"], numbers["width"] or 0
    stored = tuple(numbers["stored_classes"])
    is_proven = (numbers["is_probability"] and origin != OutputOrigin.VOTES) or origin in (
        OutputOrigin.SOFTMAX,
        OutputOrigin.LOG_SOFTMAX,
        OutputOrigin.CLASSIFIER,
    )
    is_regression = origin in (OutputOrigin.REGRESSOR, OutputOrigin.LABEL_EXPORTER) and not numbers["is_probability"]
    is_stated = declared.task is TaskType.CLASSIFICATION or bool(declared.classes)
    if declared.task is TaskType.REGRESSION or (is_regression and not is_stated):
        raise ArtefactError(
            f"The model predicts {width} numbers a row (multi-output regression). {advice_for(producer, 'targets')}"
        )
    if declared.task is TaskType.ANOMALY:
        raise ArtefactError("An anomaly model needs an output with its label, -1 (anomaly) or 1.")
    kinds = {ScoreKind.MARGINS: _MULTICLASS[ScoreKind.MARGINS]} if origin == OutputOrigin.SIGMOID else _MULTICLASS
    if not is_proven and not is_stated:
        raise UndeclaredOutputError(
            f"The file does not say what output {name!r} means. It is {width} numbers for each row, without a softmax; "
            f"for sample rows: {_sample(numbers)}. If they are several targets, export one model for each.",
            [(TaskType.CLASSIFICATION, kind, meaning) for kind, meaning in kinds.items()],
        )
    if not is_proven and declared.scores is None and not declared.classes:
        raise UndeclaredOutputError(
            f"The file does not say what the scores {name!r} are; for sample rows: {_sample(numbers)}.",
            [(TaskType.CLASSIFICATION, kind, meaning) for kind, meaning in kinds.items()],
        )
    if origin == OutputOrigin.SOFTMAX and not numbers["is_probability"]:
        raise ArtefactError(f"The softmax of output {name!r} is not over the {width} numbers of a row. Use axis=-1.")
    if origin == OutputOrigin.LOG_SOFTMAX and not numbers["is_log_probability"]:
        raise ArtefactError(f"The log-softmax of output {name!r} is not over the {width} numbers of a row.")
    kind = _score_kind(numbers, declared)
    remarks: list[str] = []
    if kind is ScoreKind.PROBABILITIES and origin not in (OutputOrigin.SOFTMAX, OutputOrigin.CLASSIFIER):
        remarks.append(f"The numbers in {name!r} are read as probabilities: for sample rows they sum to 1.")
    if stored and len(stored) == width and declared.classes and set(stored) != set(declared.classes):
        raise ArtefactError(f"The file has its own classes ({', '.join(stored[:10])}). Leave out the classes.")
    classes = stored if len(stored) == width else declared.classes or _numbered(numbers, remarks)
    if len(classes) != width:
        raise ArtefactError(f"{len(classes)} classes were stated; output {name!r} has {width} numbers a row.")
    if kind is ScoreKind.MARGINS and declared.scores is None:
        remarks.append(
            f"The file does not say that the scores {name!r} are logits, so predictions have a score and no confidence."
        )
    return ModelOutputs(TaskType.CLASSIFICATION, classes, "", name, kind, remarks)


def _compared_scores(
    scores: OutputTensor, classes: tuple[str, ...], predicted: list[str], declared: Declaration
) -> tuple[ScoreKind, list[str]]:
    """Return the kind of the scores beside a label, and for each sample row the class of the largest ("" for a tie)."""

    def best(rows: list[str]) -> list[str]:
        return [classes[int(position)] if position else "" for position in rows]

    if scores["width"] != 1:
        return _score_kind(scores, declared), best(scores["rows"])
    # One score for two classes: the second one is predicted from 0.5 on if it is a probability, else from 0 on.
    halves = best(scores["halves"])
    is_probability = scores["origin"] == OutputOrigin.SIGMOID or (scores["is_probability"] and halves == predicted)
    kind = declared.scores or (ScoreKind.PROBABILITIES if is_probability else ScoreKind.MARGINS)
    _check_kind(scores, kind)
    return kind, halves if kind is ScoreKind.PROBABILITIES else best(scores["rows"])


def _score_kind(scores: OutputTensor, declared: Declaration) -> ScoreKind:
    """Return what several scores are: as stated if that is possible, or as the graph and the trial show."""
    is_probability = scores["is_probability"] and scores["origin"] != OutputOrigin.VOTES
    if declared.scores:
        _check_kind(scores, declared.scores)
        return declared.scores
    if is_probability:
        return ScoreKind.PROBABILITIES
    return ScoreKind.LOGITS if scores["origin"] == OutputOrigin.LOG_SOFTMAX else ScoreKind.MARGINS


def _check_kind(scores: OutputTensor, kind: ScoreKind) -> None:
    """Raise ArtefactError if the scores cannot be what was stated."""
    name, is_single = scores["name"], scores["width"] == 1
    if kind is ScoreKind.LOGITS and scores["is_opposite"]:
        raise ArtefactError(
            f"The two scores {name!r} are each other's negative, so their softmax is not a probability. "
            "Export probabilities (scikit-learn: without raw_scores), or state margins."
        )
    if kind is ScoreKind.LOGITS and scores["is_probability"] and not is_single:
        raise ArtefactError(f"The scores {name!r} are probabilities, not logits: they sum to 1.")
    if scores["origin"] == OutputOrigin.SIGMOID and (kind is ScoreKind.LOGITS or (is_single and kind is not _P)):
        what = "probabilities" if is_single else "no logits"
        raise ArtefactError(f"Output {name!r} is the result of a sigmoid, so its numbers are {what}.")
    if kind is _P and scores["origin"] == OutputOrigin.VOTES:
        raise ArtefactError(f"Output {name!r} depends on the chosen classes only, so it is not a probability.")
    if kind is _P and not scores["is_probability"]:
        several = "" if is_single else ", or does not sum to 1"
        raise ArtefactError(
            f"Output {name!r} is not a probability: for a sample row it is outside 0 to 1{several} ({_sample(scores)})."
        )


def _numbered(scores: OutputTensor, remarks: list[str]) -> tuple[str, ...]:
    classes = tuple(str(position) for position in range(max(2, scores["width"] or 0)))
    remarks.append(
        f"The file does not list its classes, so they are numbered {classes[0]} to {classes[-1]}. State their names to "
        "change that."
    )
    return classes


def _sample(output: OutputTensor) -> str:
    return ", ".join(f"{number:.4g}" for number in output["sample"]) or "no finite number"
