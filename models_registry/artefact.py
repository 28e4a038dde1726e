"""Inspection of an uploaded model: is it safe to serve, what does it take, what does it answer?

The file is opened in a process of its own with limits on memory and time (`artefact_trial`), for two bytes of it can
become a hundred when it is parsed. There its first bytes are looked at, then the graph, without running it, and only
then is it loaded for a trial prediction. This side makes a schema, or a sentence for the uploader, of the report.
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
from models_registry.artefact_features import LONGEST_NAME, LONGEST_TENSOR_NAME, features_of, refuse_name
from models_registry.artefact_report import OutputTensor, TrialReport, TrialSpecification
from models_registry.exceptions import ArtefactError
from models_registry.onnx_session import MOST_ROWS_AT_ONCE
from models_registry.schema import ModelSchema

_PACKAGE_ROOT = Path(__file__).resolve().parent.parent
_MIB = 1024 * 1024
_LABEL_TYPES = frozenset({"int32", "int64", "string"})
_NUMBER_TYPES = frozenset({"float32", "float64"})


@dataclass(frozen=True, slots=True)
class ArtefactLimits:
    """Bounds of what is accepted, and of what its trial may take.

    Attributes
    ----------
    size_bytes
        Of the file.
    max_features, max_classes
        Both become columns of every window; classes become metric labels too.
    memory_bytes
        Address space of the trial, beyond what the interpreter and ONNX Runtime hold and `memory_per_size` times the
        file.
    memory_per_size
        A forest of 28 MiB took 12 times its file while it was loaded, and its parsed graph comes on top.
    cpu_seconds, wall_seconds
        Of the trial, with its start.
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
    """Return what the model file is, after it was loaded and has predicted in a confined process.

    Parameters
    ----------
    path
        A complete file that nobody changes meanwhile.
    limits
        Bounds of the file and of its trial.

    Raises
    ------
    ArtefactError
        The file cannot be served; the message says why, and what to do.
    """
    size = path.stat().st_size
    if size == 0:
        raise ArtefactError("The file is empty. Upload it again.")
    if size > limits.size_bytes:
        raise ArtefactError(
            f"The file has {size / _MIB:,.1f} MiB; {limits.size_bytes / _MIB:,.1f} MiB are accepted at most. "
            "Use a smaller model (fewer or shallower trees, float32 weights)."
        )
    report = _try_out(path, size, limits)
    return ArtefactReport(
        sha256=_sha256(path),
        size_bytes=size,
        framework=report["framework"],
        schema=_schema_of(features_of(report["inputs"]), report["outputs"], limits),
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _try_out(path: Path, size: int, limits: ArtefactLimits) -> TrialReport:
    specification = TrialSpecification(
        path=str(path.resolve()),
        memory_bytes=limits.memory_bytes + limits.memory_per_size * size,
        cpu_seconds=limits.cpu_seconds,
        batch_rows=limits.batch_rows,
        max_features=limits.max_features,
    )
    try:
        finished = subprocess.run(
            [sys.executable, "-m", "models_registry.artefact_trial"],
            input=json.dumps(specification).encode(),
            capture_output=True,
            timeout=limits.wall_seconds,
            cwd=_PACKAGE_ROOT,
            env=clean_environment(),
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ArtefactError(
            f"The model did not load and answer {limits.batch_rows} sample rows within {limits.wall_seconds:g} s. "
            "Use a smaller or simpler model."
        ) from None
    if finished.returncode != 0:
        raise ArtefactError(_why_it_died(finished, limits))
    report: TrialReport = json.loads(finished.stdout)
    if report["failure"]:
        raise ArtefactError(_why_it_failed(report, limits))
    return report


def clean_environment() -> dict[str, str]:
    """Return an environment without the server's secrets, and with one thread: each reserves address space."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT") if name in os.environ}
    return kept | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONUTF8": "1"}


def _why_it_died(finished: subprocess.CompletedProcess[bytes], limits: ArtefactLimits) -> str:
    if finished.returncode == -signal.SIGXCPU:
        return (
            f"The model used more than {limits.cpu_seconds} s of CPU time to load and answer sample rows. "
            "Use a smaller or simpler model."
        )
    was_killed = finished.returncode == -signal.SIGKILL  # by the kernel, when the machine ran out of memory
    if was_killed or b"MemoryError" in finished.stderr or b"bad_alloc" in finished.stderr:
        return _too_much_memory(limits)
    if finished.returncode < 0:
        name = signal.Signals(-finished.returncode).name
        return f"ONNX Runtime crashed ({name}) on the model. Export it again with current versions of the exporter."
    last = finished.stderr.decode(errors="replace").strip().splitlines()[-1:]
    return f"The trial of the model failed: {''.join(last) or f'exit status {finished.returncode}'}"


def _why_it_failed(report: TrialReport, limits: ArtefactLimits) -> str:
    if report["failure"] == "refused":
        return report["message"]
    message = _plain(report["message"])
    if report["failure"] == "memory":
        return _too_much_memory(limits)
    if report["failure"] == "text":
        return f"The model answers text that is not UTF-8. Export it with readable labels. ({message})"
    if "Unsupported model IR version" in message:
        return f"The file's ONNX IR version is newer than this server's. Export with an older one. ({message})"
    if "opset" in message.lower():
        return f"This server's ONNX Runtime does not know the model's opset. Export with target_opset=21. ({message})"
    if "Unknown Category" in message:
        return (
            "The model fails on a category that it did not learn, so one unknown value would be an error instead of a "
            "prediction. Train with OneHotEncoder(handle_unknown='ignore') and export again."
        )
    if report["failure"] == "load":
        return message
    return (
        f"The model fails on sample rows (zeros, ones, empty strings; 1, 3 and {limits.batch_rows} rows). Check that "
        f"it takes any number of rows. ({message})"
    )


def _plain(message: str) -> str:
    """Return ONNX Runtime's message without this server's paths and the signatures of its functions."""
    message = re.sub(r"Load model from .*? failed:", "", message)
    return re.sub(r"/onnxruntime_src/\S+:\d+ .*[)\]] ", "", message, flags=re.DOTALL).strip()


def _too_much_memory(limits: ArtefactLimits) -> str:
    return (
        f"The model takes more memory than it may ({limits.memory_bytes / _MIB:,.0f} MiB and "
        f"{limits.memory_per_size} times its file) to load and answer sample rows. Use a smaller or simpler model."
    )


def _schema_of(features: tuple[Feature, ...], outputs: list[OutputTensor], limits: ArtefactLimits) -> ModelSchema:
    tables = [output for output in outputs if output["width"] is not None]
    labels = [output for output in tables if output["dtype"] in _LABEL_TYPES and output["width"] == 1]
    numbers = [output for output in tables if output["dtype"] in _NUMBER_TYPES]
    if labels:
        label = _preferred(labels, ("label", "class"), "label")
        return _classifier(features, label, numbers, limits)
    if not numbers:
        raise ArtefactError(_no_usable_output(outputs))
    number = _preferred(numbers, ("prob",), "number")
    refuse_name(number["name"], "Output name", LONGEST_TENSOR_NAME)
    if not number["is_finite"]:
        raise ArtefactError(f"Output {number['name']!r} was not a finite number for any sample row.")
    if number["width"] == 1:
        return ModelSchema(TaskType.REGRESSION, features, (), number["name"], "", scores_are_probabilities=False)
    if number["is_regressor"] or number["name"] == "variable":
        raise ArtefactError(
            f"The model answers {number['width']} numbers a row (multi-output regression). Export one model for each."
        )
    classes = tuple(number["stored_classes"])
    if len(classes) != number["width"]:
        classes = _numbered(number)
    return _checked(
        ModelSchema(TaskType.CLASSIFICATION, features, classes, "", number["name"], number["is_probability"]), limits
    )


def _classifier(
    features: tuple[Feature, ...],
    label: OutputTensor,
    numbers: list[OutputTensor],
    limits: ArtefactLimits,
) -> ModelSchema:
    classes = tuple(label["stored_classes"])
    fitting = [output for output in numbers if output["width"] == len(classes)]
    scores = _preferred(fitting or numbers, ("prob",), "score") if numbers else None
    if not classes and (scores is None or label["dtype"] == "string"):
        raise ArtefactError(
            f"The model answers labels ({label['name']!r}), but its file does not say which there are. Export it with "
            "its class labels (skl2onnx and onnxmltools store them with the classifier)."
        )
    if scores is not None and not scores["is_finite"]:
        raise ArtefactError(f"The scores {scores['name']!r} were not finite numbers for any sample row.")
    classes = classes or _numbered(scores)
    if scores is not None and scores["width"] != len(classes):
        raise ArtefactError(
            f"The model has {len(classes)} classes, but {scores['width']} scores a row in {scores['name']!r}. Export "
            "one score for each class (for a support vector machine: decision_function_shape='ovr')."
        )
    unknown = [name for name in label["labels"] if name not in classes]
    if unknown:
        raise ArtefactError(
            f"The model answered {unknown[0]!r} for a sample row, which is not one of its classes "
            f"({', '.join(classes[:10])}). Export it with its class labels."
        )
    if scores is not None and _are_distances(label, scores, classes):
        scores = None
    return _checked(
        ModelSchema(
            TaskType.CLASSIFICATION,
            features,
            classes,
            label["name"],
            scores["name"] if scores else "",
            scores["is_probability"] if scores else False,
        ),
        limits,
    )


def _are_distances(label: OutputTensor, scores: OutputTensor, classes: tuple[str, ...]) -> bool:
    """Return whether numbers beside a label are not its scores: a clusterer's distances are least at its label."""
    if scores["is_probability"]:
        return False
    best = [classes[int(position)] if position else "" for position in scores["rows"]]
    return any(name not in ("", answered) for name, answered in zip(best, label["rows"], strict=True))


def _numbered(scores: OutputTensor | None) -> tuple[str, ...]:
    return tuple(str(position) for position in range((scores or {"width": 0})["width"] or 0))


def _checked(schema: ModelSchema, limits: ArtefactLimits) -> ModelSchema:
    count = len(schema.classes)
    if not 2 <= count <= limits.max_classes:
        raise ArtefactError(f"The model has {count} class(es); 2 to {limits.max_classes:,} are served.")
    if len(set(schema.classes)) < count:
        raise ArtefactError("Two classes of the model have the same label. Give every class its own.")
    for name in schema.classes:
        refuse_name(name, "Class label", LONGEST_NAME)
    for name in filter(None, (schema.label_output, schema.score_output)):
        refuse_name(name, "Output name", LONGEST_TENSOR_NAME)
    return schema


def _preferred(outputs: list[OutputTensor], words: tuple[str, ...], what: str) -> OutputTensor:
    """Return the only output, or the only one whose name holds one of the words."""
    named = [output for output in outputs if any(word in output["name"].lower() for word in words)]
    for candidates in (outputs, named):
        if len(candidates) == 1:
            return candidates[0]
    names = ", ".join(repr(output["name"]) for output in outputs)
    raise ArtefactError(f"The model has several {what} outputs ({names}). Export it with one of them.")


def _no_usable_output(outputs: list[OutputTensor]) -> str:
    shapes = ", ".join(f"{output['name']!r}: {output['dtype']} {tuple(output['shape'])}" for output in outputs)
    return (
        "No output has one result for each row: three rows gave "
        f"{shapes or 'nothing'}. A label (rows), scores (rows x classes) or a number (rows) is needed; check that the "
        "first dimension of inputs and outputs is free."
    )
