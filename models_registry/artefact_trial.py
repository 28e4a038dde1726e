"""Loads an uploaded model and lets it predict sample rows, in a process that may break: ``python -m`` this module.

A JSON specification comes on standard input and a JSON report goes to standard output. The process holds neither
Django nor a secret, and limits its own memory and CPU time before it opens the file.
"""

import json
import resource
import sys
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from models_registry.exceptions import ArtefactError
from models_registry.onnx_session import load_session

_Tensor = NDArray[Any]


class TrialInput(TypedDict):
    """An input tensor to fill; ``dtype`` is a NumPy name or "string"."""

    name: str
    dtype: str
    width: int
    rank: int


class TrialSpecification(TypedDict):
    """What to load, and within which limits."""

    path: str
    memory_bytes: int
    cpu_seconds: int
    batch_rows: int
    inputs: list[TrialInput]


class TrialOutput(TypedDict):
    """What an output held over all sample rows.

    ``width`` is the number of columns where every result had shape rows or rows x width, else None.
    ``is_probability`` means that every finite row is in [0, 1] and sums to 1. ``rows`` holds, for each row but those
    of the large batch, the label or the position of the largest number ("" where there are several, or none).
    """

    name: str
    dtype: str
    shape: list[int]
    width: int | None
    is_finite: bool
    is_probability: bool
    labels: list[str]
    rows: list[str]


class TrialReport(TypedDict):
    """Either outputs, or why there are none: ``failure`` is "memory", "text", "load" or "predict"."""

    outputs: list[TrialOutput]
    failure: str
    message: str


# float32 sums of a few thousand classes
_SUM_TOLERANCE = 1e-3
_MOST_LABELS = 20
_LONGEST_LABEL = 256
_MEMORY_WORDS = ("bad_alloc", "failed to allocate", "bad allocation", "out of memory", "bfcarena")


def run_trial(specification: TrialSpecification) -> TrialReport:
    """Load the model, predict one row, another row, three rows and many rows, and describe the outputs."""
    try:
        session = load_session(Path(specification["path"]))
        results = [
            session.run(None, _sample(specification["inputs"], rows))
            for rows in _sample_rows(specification["batch_rows"])
        ]
    except MemoryError as error:
        return _failure("memory", error)
    except UnicodeDecodeError as error:
        return _failure("text", error)
    except ArtefactError as error:
        return _failure("memory" if _is_memory(error) else "load", error)
    except Exception as error:  # onnxruntime's exceptions share no base class of their own
        return _failure("memory" if _is_memory(error) else "predict", error)
    names = [output.name for output in session.get_outputs()]
    rows_of = [len(rows) for rows in _sample_rows(specification["batch_rows"])]
    outputs = [_described(name, [batch[position] for batch in results], rows_of) for position, name in enumerate(names)]
    return TrialReport(outputs=outputs, failure="", message="")


def _sample_rows(batch_rows: int) -> list[NDArray[np.float64]]:
    """Return one number a row, for each batch: zeros, ones, unequal numbers, and as many rows as a request may have."""
    return [np.zeros(1), np.ones(1), np.array([0.0, 1.0, 2.0]), np.arange(batch_rows) % 7.0]


def _sample(inputs: list[TrialInput], rows: NDArray[np.float64]) -> dict[str, _Tensor]:
    return {each["name"]: _tensor(each, rows) for each in inputs}


def _tensor(each: TrialInput, rows: NDArray[np.float64]) -> _Tensor:
    shape = (len(rows), each["width"])
    values: _Tensor
    if each["dtype"] == "string":
        values = np.full(shape, "", dtype=np.object_)
    else:
        values = np.broadcast_to(rows[:, None], shape).astype(each["dtype"])
    return values.reshape(-1) if each["rank"] == 1 else values


def _described(name: str, results: list[Any], rows_of: list[int]) -> TrialOutput:
    arrays = [np.asarray(result) for result in results]
    widths = {_width(array, rows) for array, rows in zip(arrays, rows_of, strict=True)}
    width = widths.pop() if len(widths) == 1 else None
    first = arrays[0]
    output = TrialOutput(
        name=name,
        dtype="string" if first.dtype.kind in "OU" else str(first.dtype),
        shape=list(arrays[2].shape),
        width=width,
        is_finite=False,
        is_probability=False,
        labels=[],
        rows=[],
    )
    if width is not None and first.dtype.kind == "f":
        _describe_numbers(output, np.concatenate([array.reshape(-1, width) for array in arrays]))
        output["rows"] = [_largest(row) for array in arrays[:-1] for row in array.reshape(-1, width)]
    elif width == 1:
        labels = [str(label)[:_LONGEST_LABEL] for array in arrays for label in array.ravel().tolist()]
        output["labels"] = sorted(set(labels))[:_MOST_LABELS]
        output["rows"] = labels[: -rows_of[-1]]
    return output


def _largest(row: _Tensor) -> str:
    positions = np.flatnonzero(row == row.max())
    return str(positions[0]) if len(positions) == 1 else ""


def _describe_numbers(output: TrialOutput, numbers: _Tensor) -> None:
    numbers = numbers[np.isfinite(numbers).all(axis=1)].astype(np.float64)
    output["is_finite"] = len(numbers) > 0
    output["is_probability"] = bool(
        numbers.shape[1] > 1
        and len(numbers)
        and (numbers >= -_SUM_TOLERANCE).all()
        and (numbers <= 1 + _SUM_TOLERANCE).all()
        and (np.abs(numbers.sum(axis=1) - 1) <= _SUM_TOLERANCE).all()
    )


def _width(array: _Tensor, rows: int) -> int | None:
    if array.ndim not in (1, 2) or len(array) != rows:
        return None
    return 1 if array.ndim == 1 else array.shape[1] or None


def _is_memory(error: Exception) -> bool:
    return any(word in str(error).lower() for word in _MEMORY_WORDS)


def _failure(failure: str, error: Exception) -> TrialReport:
    return TrialReport(outputs=[], failure=failure, message=str(error)[:2000])


def confine(*, memory_bytes: int, cpu_seconds: int) -> None:
    """Limit this process: address space beyond what the interpreter and ONNX Runtime hold already, CPU time, files.

    Only Linux tells a process its address space; elsewhere it is not limited.
    """
    statm = Path("/proc/self/statm")
    if statm.exists():
        held = int(statm.read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + memory_bytes, held + memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    """Read the specification, confine the process, report."""
    specification: TrialSpecification = json.load(sys.stdin)
    ort.disable_telemetry_events()
    confine(memory_bytes=specification["memory_bytes"], cpu_seconds=specification["cpu_seconds"])
    json.dump(run_trial(specification), sys.stdout)


if __name__ == "__main__":
    main()
