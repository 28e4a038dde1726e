"""The sandboxed process that reads, loads and tries an uploaded model: run this module with ``python -m``.

It reads a JSON specification from standard input and writes a JSON report to standard output. The process holds neither
Django nor a secret, and limits its own memory and CPU time before it opens the file.
"""

import json
import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models_registry.artefacts.graph import (
    graph_inputs,
    is_regressor,
    read_graph,
    refuse_unsafe,
    stored_classes,
)
from models_registry.artefacts.report import (
    InputTensor,
    OutputTensor,
    TrialReport,
    TrialSpecification,
    features_of,
)
from models_registry.exceptions import ArtefactError
from models_registry.onnx_session import ONNX_RUNTIME_ERRORS, load_session

_Tensor = NDArray[Any]

_SUM_TOLERANCE = 1e-3  # of float32 sums over a few thousand classes
_MOST_LABELS = 20
_LONGEST_LABEL = 256
_MEMORY_WORDS = ("bad_alloc", "failed to allocate", "bad allocation", "out of memory", "bfcarena")


@dataclass(frozen=True, slots=True)
class _Graph:
    """What is kept of the parsed file, which takes several times its size."""

    framework: str
    inputs: list[InputTensor]
    stored_classes: dict[str, list[str]]
    regressors: frozenset[str]


def run_trial(specification: TrialSpecification) -> TrialReport:
    """Read the graph, load the model, predict sample rows, and describe inputs and outputs."""
    path = Path(specification["path"])
    try:
        graph = _read(path, specification["max_features"])
    except MemoryError as error:
        return _failure("memory", error)
    except ArtefactError as error:
        return _failure("refused", error)
    # One number a row: zeros, ones, unequal numbers, and as many rows as the engine runs at once.
    batches = [np.zeros(1), np.ones(1), np.array([0.0, 1.0, 2.0]), np.arange(specification["batch_rows"]) % 7.0]
    try:
        session = load_session(path)
        results = [
            session.run(None, {each["name"]: _sample(each, numbers) for each in graph.inputs}) for numbers in batches
        ]
    except MemoryError as error:
        return _failure("memory", error)
    except UnicodeDecodeError as error:
        return _failure("encoding", error)
    except ArtefactError as error:
        return _failure("memory" if _is_about_memory(error) else "load", error)
    except ONNX_RUNTIME_ERRORS as error:
        return _failure("memory" if _is_about_memory(error) else "predict", error)
    outputs = [
        _described(output.name, [batch[position] for batch in results], [len(rows) for rows in batches], graph)
        for position, output in enumerate(session.get_outputs())
    ]
    return TrialReport(framework=graph.framework, inputs=graph.inputs, outputs=outputs, failure="", message="")


def _read(path: Path, max_features: int) -> _Graph:
    model = read_graph(path)
    refuse_unsafe(model)
    inputs = graph_inputs(model.graph, max_features=max_features)
    features_of(inputs)  # refuses invalid names before anything runs
    outputs = [output.name for output in model.graph.output]
    framework = f"{model.producer_name} {model.producer_version}".strip()
    return _Graph(
        framework="".join(character for character in framework if character.isprintable())[:128],
        inputs=inputs,
        stored_classes={name: list(stored_classes(model.graph, name)) for name in outputs},
        regressors=frozenset(name for name in outputs if is_regressor(model.graph, name)),
    )


def _sample(each: InputTensor, numbers: NDArray[np.float64]) -> _Tensor:
    """Return an input tensor whose rows repeat one number each, or empty strings."""
    shape = (len(numbers), each["width"])
    values: _Tensor
    if each["tensor_type"] == "string":
        values = np.full(shape, "", dtype=np.object_)
    else:
        values = np.broadcast_to(numbers[:, None], shape).astype(each["tensor_type"])
    return values.reshape(-1) if each["rank"] == 1 else values


def _described(name: str, results: list[Any], rows_of: list[int], graph: _Graph) -> OutputTensor:
    arrays = [np.asarray(result) for result in results]
    widths = {
        (array.size // rows or None) if array.ndim in (1, 2) and len(array) == rows else None
        for array, rows in zip(arrays, rows_of, strict=True)
    }
    width = widths.pop() if len(widths) == 1 else None
    first = arrays[0]
    output = OutputTensor(
        name=name,
        dtype="string" if first.dtype.kind in "OU" else str(first.dtype),
        shape=list(arrays[2].shape),
        width=width,
        is_finite=False,
        is_probability=False,
        labels=[],
        rows=[],
        stored_classes=graph.stored_classes[name],
        is_regressor=name in graph.regressors,
    )
    if width is not None and first.dtype.kind == "f":
        numbers = np.concatenate([array.reshape(-1, width) for array in arrays])
        numbers = numbers[np.isfinite(numbers).all(axis=1)].astype(np.float64)
        output["is_finite"] = len(numbers) > 0
        output["is_probability"] = bool(
            width > 1
            and len(numbers)
            and (numbers >= -_SUM_TOLERANCE).all()
            and (numbers <= 1 + _SUM_TOLERANCE).all()
            and (np.abs(numbers.sum(axis=1) - 1) <= _SUM_TOLERANCE).all()
        )
        rows = np.concatenate([array.reshape(-1, width) for array in arrays[:-1]])
        is_largest = rows == rows.max(axis=1, keepdims=True)
        output["rows"] = [str(row.argmax()) if row.sum() == 1 else "" for row in is_largest]
    elif width == 1:
        labels = [str(label)[:_LONGEST_LABEL] for array in arrays for label in array.ravel().tolist()]
        output["labels"] = sorted(set(labels))[:_MOST_LABELS]
        output["rows"] = labels[: -rows_of[-1]]
    return output


def _is_about_memory(error: Exception) -> bool:
    return any(word in str(error).lower() for word in _MEMORY_WORDS)


def _failure(failure: str, error: Exception) -> TrialReport:
    return TrialReport(framework="", inputs=[], outputs=[], failure=failure, message=str(error)[:2000])


def limit_process(*, memory_bytes: int, cpu_seconds: int) -> None:
    """Limit this process: address space beyond what the interpreter and ONNX Runtime use, CPU time, file sizes.

    Address space is limited on Linux only, because elsewhere a process cannot read how much it uses.
    """
    statm = Path("/proc/self/statm")
    if statm.exists():
        used = int(statm.read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + memory_bytes, used + memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    received: TrialSpecification = json.load(sys.stdin)
    limit_process(memory_bytes=received["memory_bytes"], cpu_seconds=received["cpu_seconds"])
    json.dump(run_trial(received), sys.stdout)
