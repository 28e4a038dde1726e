"""Inspection of an uploaded model: is it safe to serve, which inputs does it take, what does it predict?

A sandboxed process with limits on memory and time (`models_registry.artefacts.trial`) opens the file, because two bytes
of it can become a hundred when they are parsed. It checks the first bytes and the graph before it runs anything, and
only then loads the model and predicts sample rows. This module turns its report into a schema, or into an error message
for the uploader.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from models_registry.artefacts.advice import advice_for
from models_registry.artefacts.outputs import outputs_of
from models_registry.artefacts.report import TrialReport, TrialSpecification, features_of
from models_registry.exceptions import ArtefactError
from models_registry.schema import MOST_ROWS_AT_ONCE, Declaration, ModelSchema

_PROJECT_ROOT = Path(__file__).resolve().parents[2]
_MIB = 1024 * 1024


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
    """What an accepted artefact is.

    Attributes
    ----------
    framework
        The exporter and its version.
    remarks
        What was changed in the file to serve it, and what was assumed; a sentence each.
    is_normalised
        Whether the normalised model is served instead of the file.
    """

    framework: str
    schema: ModelSchema
    remarks: tuple[str, ...]
    is_normalised: bool


def inspect_artefact(
    path: Path,
    *,
    limits: ArtefactLimits,
    normalised_path: Path,
    data_files: Mapping[str, Path] | None = None,
    declared: Declaration = Declaration(),  # noqa: B008 -- immutable
) -> ArtefactReport:
    """Return what the model file is, after it was loaded and has predicted in a sandboxed process.

    Parameters
    ----------
    path
        A complete file that does not change meanwhile.
    limits
        Limits of the file and of its trial.
    normalised_path
        Where the model is written that is to be served, if it is not the file itself.
    data_files
        Uploaded files with tensors of the model (external data), by the name that the model uses.
    declared
        What the uploader states about the outputs.

    Raises
    ------
    UndeclaredOutputError
        The file does not prove what its outputs mean.
    ArtefactError
        The file cannot be served; the message says why and what to do.
    """
    data_files = data_files or {}
    size = path.stat().st_size + sum(each.stat().st_size for each in data_files.values())
    if path.stat().st_size == 0:
        raise ArtefactError("The file is empty. Upload it again.")
    if size > limits.size_bytes:
        raise ArtefactError(
            f"The file has {size / _MIB:,.1f} MiB; the limit is {limits.size_bytes / _MIB:,.1f} MiB. "
            "Use a smaller model (fewer or shallower trees, float32 weights)."
        )
    with tempfile.TemporaryDirectory(prefix="mlmon-trial-") as empty_folder:
        report = _run_trial(path, normalised_path, data_files, Path(empty_folder), size, limits)
    features = features_of(report["inputs"])
    outputs = outputs_of(report["outputs"], declared, producer=report["producer"], max_classes=limits.max_classes)
    schema = ModelSchema(
        outputs.task_type,
        features,
        outputs.classes,
        outputs.label_output,
        outputs.score_output,
        outputs.score_kind,
        report["rows_at_once"],
    )
    remarks = (*report["changes"], *outputs.remarks)
    return ArtefactReport(report["framework"], schema, remarks, report["is_normalised"])


def sandbox_environment() -> dict[str, str]:
    """Return an environment without the server's secrets, and with one thread, as each thread reserves memory."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT") if name in os.environ}
    return kept | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONUTF8": "1"}


def _run_trial(
    path: Path,
    normalised_path: Path,
    data_files: Mapping[str, Path],
    empty_folder: Path,
    size: int,
    limits: ArtefactLimits,
) -> TrialReport:
    specification = TrialSpecification(
        path=str(path.resolve()),
        empty_folder=str(empty_folder.resolve()),
        data_files={name: str(place.resolve()) for name, place in data_files.items()},
        normalised_path=str(normalised_path.resolve()),
        size_bytes=limits.size_bytes,
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
    if report["failure"] == "damaged":
        return f"The file's graph is damaged ({message[:200]}). Export the model again."
    if report["failure"] == "encoding":
        return f"The model predicts strings that are not UTF-8. Export it with labels in UTF-8. ({message})"
    producer = report["producer"]
    if "Unsupported model IR version" in message:
        return (
            "The file's ONNX IR version is newer than this server's. Set it to 10 before you save the model: "
            f"model.ir_version = 10; onnx.save(model, path). ({message})"
        )
    if "opset" in message.lower():
        advice = advice_for(producer, "opset")
        return f"This server's ONNX Runtime does not support the model's opset. {advice} ({message})"
    if "Unknown Category" in message:
        return (
            "The model fails on a category that it was not trained with, so one unknown value would be an error "
            "instead of a prediction. Train with OneHotEncoder(handle_unknown='ignore') and export again."
        )
    if "indices element out of data bounds" in message:
        return (
            "The model looks up a row of a table (an embedding) at a position that does not exist for a sample value "
            "(0 to 6), so one unknown category would be an error instead of a prediction. Limit the positions in the "
            f"model (x.clamp(0, n - 1)) or give unknown ones a row of their own. ({message})"
        )
    if report["failure"] == "load":
        return f"{message} {advice_for(producer, 'load')}"
    if report["tried_rows"] <= 1:
        return (
            "The model fails on a row of zeros, ones or empty strings, so a row unlike the training data would be an "
            f"error instead of a prediction. {advice_for(producer, 'values')} ({message})"
        )
    return (
        f"The model fails on {report['tried_rows']} sample rows together. Check that it accepts any number of rows. "
        f"{advice_for(producer, 'rows')} ({message})"
    )


def _too_much_memory(limits: ArtefactLimits) -> str:
    return (
        f"The model needs more memory to load and predict sample rows than the limit "
        f"({limits.memory_bytes / _MIB:,.0f} MiB and {limits.memory_per_size} times the size of its file). "
        "Use a smaller or simpler model."
    )
