"""Inspection of an uploaded model: is it safe to serve, which inputs does it take, what does it predict?

A sandboxed process with limits on memory and time (`models_registry.artefacts.trial`) opens the file, because two bytes
of it can become a hundred when they are parsed. It checks the first bytes and the graph before it runs anything, and
only then loads the model and predicts sample rows. This module turns its report into a schema, or into an error message
for the uploader.
"""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from mlmon.schema import Feature, TaskType
from models_registry.artefacts.report import (
    LONGEST_NAME,
    LONGEST_TENSOR_NAME,
    OutputTensor,
    TrialReport,
    TrialSpecification,
    features_of,
    refuse_name,
)
from models_registry.exceptions import ArtefactError
from models_registry.onnx_session import MOST_ROWS_AT_ONCE
from models_registry.schema import ModelSchema

_PROJECT_ROOT = Path(__file__).resolve().parents[2]
_MIB = 1024 * 1024
_LABEL_TYPES = frozenset({"int32", "int64", "string"})
_NUMBER_TYPES = frozenset({"float32", "float64"})


@dataclass(frozen=True, slots=True)
class ArtefactLimits:
    """Limits of an accepted file and of its trial.

    Attributes
    ----------
    size_bytes
        Largest file.
    max_features, max_classes
        Both become columns of every window; classes also become metric labels.
    memory_bytes
        Address space of the trial, in addition to what the interpreter and ONNX Runtime use and to `memory_per_size`
        times the file.
    memory_per_size
        A forest of 28 MiB took 12 times the size of its file while it was loaded, plus its parsed graph.
    cpu_seconds, wall_seconds
        Time of the trial, including its start.
    batch_rows
        The largest batch of the trial, which is the largest that the engine runs at once: memory grows with it.
    """

    size_bytes: int = 256 * _MIB
    max_features: int = 2_000
    max_classes: int = 1_000
    memory_bytes: int = 512 * _MIB
    memory_per_size: int = 20
    cpu_seconds: int = 20
    wall_seconds: float = 30.0
    batch_rows: int = MOST_ROWS_AT_ONCE


@dataclass(frozen=True, slots=True)
class ArtefactReport:
    """What an accepted artefact is."""

    sha256: str
    size_bytes: int
    framework: str
    schema: ModelSchema


def inspect_artefact(path: Path, *, limits: ArtefactLimits) -> ArtefactReport:
    """Return what the model file is, after it was loaded and has predicted in a sandboxed process.

    Parameters
    ----------
    path
        A complete file that does not change meanwhile.
    limits
        Limits of the file and of its trial.

    Raises
    ------
    ArtefactError
        The file cannot be served; the message says why and what to do.
    """
    size = path.stat().st_size
    if size == 0:
        raise ArtefactError("The file is empty. Upload it again.")
    if size > limits.size_bytes:
        raise ArtefactError(
            f"The file has {size / _MIB:,.1f} MiB; the limit is {limits.size_bytes / _MIB:,.1f} MiB. "
            "Use a smaller model (fewer or shallower trees, float32 weights)."
        )
    report = _run_trial(path, size, limits)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    schema = _schema_of(features_of(report["inputs"]), report["outputs"], limits)
    return ArtefactReport(sha256=sha256, size_bytes=size, framework=report["framework"], schema=schema)


def sandbox_environment() -> dict[str, str]:
    """Return an environment without the server's secrets, and with one thread, as each thread reserves memory."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT") if name in os.environ}
    return kept | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONUTF8": "1"}


def _run_trial(path: Path, size: int, limits: ArtefactLimits) -> TrialReport:
    specification = TrialSpecification(
        path=str(path.resolve()),
        memory_bytes=limits.memory_bytes + limits.memory_per_size * size,
        cpu_seconds=limits.cpu_seconds,
        batch_rows=limits.batch_rows,
        max_features=limits.max_features,
    )
    try:
        finished = subprocess.run(
            [sys.executable, "-m", "models_registry.artefacts.trial"],
            input=json.dumps(specification).encode(),
            capture_output=True,
            timeout=limits.wall_seconds,
            cwd=_PROJECT_ROOT,
            env=sandbox_environment(),
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ArtefactError(
            f"The model did not load and predict {limits.batch_rows} sample rows within {limits.wall_seconds:g} s. "
            "Use a smaller or simpler model."
        ) from None
    if finished.returncode != 0:
        raise ArtefactError(_why_it_died(finished, limits))
    report: TrialReport = json.loads(finished.stdout)
    if report["failure"]:
        raise ArtefactError(_why_it_failed(report, limits))
    return report


def _why_it_died(finished: subprocess.CompletedProcess[bytes], limits: ArtefactLimits) -> str:
    if finished.returncode == -signal.SIGXCPU:
        return (
            f"The model used more than {limits.cpu_seconds} s of CPU time to load and predict sample rows. "
            "Use a smaller or simpler model."
        )
    was_killed = finished.returncode == -signal.SIGKILL  # by the kernel, if the machine ran out of memory
    if was_killed or b"MemoryError" in finished.stderr or b"bad_alloc" in finished.stderr:
        return _too_much_memory(limits)
    if finished.returncode < 0:
        name = signal.Signals(-finished.returncode).name
        return f"ONNX Runtime crashed ({name}) on the model. Export it again with a current version of the exporter."
    last = finished.stderr.decode(errors="replace").strip().splitlines()[-1:]
    return f"The trial of the model failed: {''.join(last) or f'exit status {finished.returncode}'}"


def _why_it_failed(report: TrialReport, limits: ArtefactLimits) -> str:
    if report["failure"] == "refused":
        return report["message"]
    # ONNX Runtime's messages hold paths of this server and signatures of C++ functions.
    message = re.sub(r"Load model from .*? failed:", "", report["message"])
    message = re.sub(r"/onnxruntime_src/\S+:\d+ .*[)\]] ", "", message, flags=re.DOTALL).strip()
    if report["failure"] == "memory":
        return _too_much_memory(limits)
    if report["failure"] == "encoding":
        return f"The model predicts strings that are not UTF-8. Export it with labels in UTF-8. ({message})"
    if "Unsupported model IR version" in message:
        return f"The file's ONNX IR version is newer than this server's. Export with an older one. ({message})"
    if "opset" in message.lower():
        return f"This server's ONNX Runtime does not support the model's opset. Use target_opset=21. ({message})"
    if "Unknown Category" in message:
        return (
            "The model fails on a category that it was not trained with, so one unknown value would be an error "
            "instead of a prediction. Train with OneHotEncoder(handle_unknown='ignore') and export again."
        )
    if report["failure"] == "load":
        return message
    return (
        f"The model fails on sample rows (zeros, ones, empty strings; 1, 3 and {limits.batch_rows} rows). Check that "
        f"it accepts any number of rows. ({message})"
    )


def _too_much_memory(limits: ArtefactLimits) -> str:
    return (
        f"The model needs more memory to load and predict sample rows than the limit "
        f"({limits.memory_bytes / _MIB:,.0f} MiB and {limits.memory_per_size} times the size of its file). "
        "Use a smaller or simpler model."
    )


# --- from the outputs to a schema -----------------------------------------------------------------------------------


def _schema_of(features: tuple[Feature, ...], outputs: list[OutputTensor], limits: ArtefactLimits) -> ModelSchema:
    tables = [output for output in outputs if output["width"] is not None]
    labels = [output for output in tables if output["dtype"] in _LABEL_TYPES and output["width"] == 1]
    numbers = [output for output in tables if output["dtype"] in _NUMBER_TYPES]
    if labels:
        label = _preferred(labels, ("label", "class"), "label")
        return _labelled_classifier(features, label, numbers, limits)
    if not numbers:
        shapes = ", ".join(f"{output['name']!r}: {output['dtype']} {tuple(output['shape'])}" for output in outputs)
        raise ArtefactError(
            f"No output has one result for each row; for three rows the model returned {shapes or 'nothing'}. A label "
            "(rows), scores (rows x classes) or a number (rows) is needed. Check that the first dimension of inputs "
            "and outputs is free."
        )
    number = _preferred(numbers, ("prob",), "number")
    refuse_name(number["name"], "Output name", LONGEST_TENSOR_NAME)
    if not number["is_finite"]:
        raise ArtefactError(f"Output {number['name']!r} is NaN or infinite for every sample row.")
    if number["width"] == 1:
        return ModelSchema(TaskType.REGRESSION, features, (), number["name"], "", scores_are_probabilities=False)
    if number["is_regressor"] or number["name"] == "variable":
        raise ArtefactError(
            f"The model predicts {number['width']} numbers a row (multi-output regression). Export one model for each."
        )
    classes = tuple(number["stored_classes"])
    if len(classes) != number["width"]:
        classes = _numbered_classes(number)
    return _classifier(features, classes, None, number, limits)


def _labelled_classifier(
    features: tuple[Feature, ...], label: OutputTensor, numbers: list[OutputTensor], limits: ArtefactLimits
) -> ModelSchema:
    classes = tuple(label["stored_classes"])
    fitting = [output for output in numbers if output["width"] == len(classes)]
    scores = _preferred(fitting or numbers, ("prob",), "score") if numbers else None
    if not classes and (scores is None or label["dtype"] == "string"):
        raise ArtefactError(
            f"The model predicts labels ({label['name']!r}), but its file does not list its classes. Export it with "
            "its class labels (skl2onnx and onnxmltools store them with the classifier)."
        )
    if scores is not None and not scores["is_finite"]:
        raise ArtefactError(f"The scores {scores['name']!r} are NaN or infinite for every sample row.")
    if scores is not None:
        classes = classes or _numbered_classes(scores)
        if scores["width"] != len(classes):
            raise ArtefactError(
                f"The model has {len(classes)} classes, but {scores['width']} scores a row in {scores['name']!r}. "
                "Export one score for each class (for a support vector machine: decision_function_shape='ovr')."
            )
    unknown = [name for name in label["labels"] if name not in classes]
    if unknown:
        raise ArtefactError(
            f"The model predicted {unknown[0]!r} for a sample row, which is not one of its classes "
            f"({', '.join(classes[:10])}). Export it with its class labels."
        )
    if scores is not None and not scores["is_probability"]:
        # Numbers beside a label may be distances, as of a clusterer: they are smallest at its label, not largest.
        best = [classes[int(position)] if position else "" for position in scores["rows"]]
        if any(name not in ("", predicted) for name, predicted in zip(best, label["rows"], strict=True)):
            scores = None
    return _classifier(features, classes, label, scores, limits)


def _numbered_classes(scores: OutputTensor) -> tuple[str, ...]:
    return tuple(str(position) for position in range(scores["width"] or 0))


def _classifier(
    features: tuple[Feature, ...],
    classes: tuple[str, ...],
    label: OutputTensor | None,
    scores: OutputTensor | None,
    limits: ArtefactLimits,
) -> ModelSchema:
    if not 2 <= len(classes) <= limits.max_classes:
        raise ArtefactError(f"The model has {len(classes)} class(es); 2 to {limits.max_classes:,} are supported.")
    if len(set(classes)) < len(classes):
        raise ArtefactError("Two classes of the model have the same label. Give every class its own.")
    for name in classes:
        refuse_name(name, "Class label", LONGEST_NAME)
    for output in filter(None, (label, scores)):
        refuse_name(output["name"], "Output name", LONGEST_TENSOR_NAME)
    return ModelSchema(
        task_type=TaskType.CLASSIFICATION,
        features=features,
        classes=classes,
        label_output=label["name"] if label else "",
        score_output=scores["name"] if scores else "",
        scores_are_probabilities=scores["is_probability"] if scores else False,
    )


def _preferred(outputs: list[OutputTensor], words: tuple[str, ...], what: str) -> OutputTensor:
    """Return the only output, or the only one whose name contains one of the words."""
    named = [output for output in outputs if any(word in output["name"].lower() for word in words)]
    for candidates in (outputs, named):
        if len(candidates) == 1:
            return candidates[0]
    names = ", ".join(repr(output["name"]) for output in outputs)
    raise ArtefactError(f"The model has several {what} outputs ({names}). Export it with one of them.")
