"""The sandboxed process that reads, loads and tries an uploaded model: run this module with ``python -m``.

It reads a JSON specification from standard input and writes a JSON report to standard output. The process holds neither
Django nor a secret, and limits its own memory and CPU time before it opens the file.
"""

import contextlib
import json
import os
import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import onnxruntime as ort
from numpy.typing import NDArray

from models_registry.artefacts.advice import advice_for
from models_registry.artefacts.graph import (
    graph_inputs,
    origin_of,
    read_graph,
    stored_classes,
)
from models_registry.artefacts.normalisation import (
    merge_external_data,
    with_free_rows,
    without_dictionaries,
)
from models_registry.artefacts.report import (
    ABSOLUTE_TOLERANCE,
    InputTensor,
    OutputOrigin,
    OutputTensor,
    TrialReport,
    TrialSpecification,
    features_of,
)
from models_registry.artefacts.safety import refuse_other_widths, refuse_unsafe
from models_registry.artefacts.sample_runs import (
    LoadError,
    Runner,
    SampleHints,
    generic_rows,
    joined,
    load,
    sample,
    sample_hints,
)
from models_registry.artefacts.verification import refuse_changed_results, refuse_dependent_rows, rows_of_freed_model
from models_registry.exceptions import ArtefactError
from models_registry.onnx_session import ONNX_RUNTIME_ERRORS, label_text

_SUM_TOLERANCE = 1e-3  # of float32 sums over a few thousand classes
_GENERIC_ROWS = 60
_MOST_LABELS = 100
_LONGEST_LABEL = 256
_MEMORY_WORDS = ("bad_alloc", "failed to allocate", "bad allocation", "out of memory", "bfcarena")


# What Python and onnx raise for a graph that no exporter writes, apart from `ArtefactError`.
_DAMAGES = (IndexError, KeyError, TypeError, ValueError, OverflowError, RuntimeError, onnx.checker.ValidationError)


@dataclass(frozen=True, slots=True)
class _Graph:
    """What is kept of the parsed file, which takes several times its size."""

    framework: str
    inputs: list[InputTensor]
    stored_classes: dict[str, list[str]]
    origins: dict[str, OutputOrigin]
    changes: list[str]
    is_normalised: bool
    rows_at_once: int
    hints: SampleHints


def run_trial(specification: TrialSpecification) -> TrialReport:
    """Read the graph, normalise and load the model, predict sample rows, and describe inputs and outputs."""
    producer, tried_rows = "", 0
    try:
        model = read_graph(Path(specification["path"]))
        producer = model.producer_name
        try:
            graph, served = _prepare(model, specification)
        except _DAMAGES as error:
            return _failure("memory" if _is_about_memory(error) else "damaged", error, producer)
        del model  # it takes several times the size of the file
        # One number a row: zeros, ones, unequal numbers. Then rows of unlike values, up to as many as the engine runs
        # at once.
        numbers: list[NDArray[Any]] = [np.zeros(1), np.ones(1), np.array([0.0, 1.0, 2.0])]
        feeds = [{each["name"]: sample(each, of_row) for each in graph.inputs} for of_row in numbers]
        rows_of = [*map(len, numbers), _GENERIC_ROWS, specification["batch_rows"]]
        feeds += [generic_rows(graph.inputs, rows, graph.hints) for rows in rows_of[-2:]]
        runner = Runner(served, graph.rows_at_once)
        batches = []
        for feed, tried_rows in zip(feeds, rows_of, strict=True):
            batches.append(runner.results(feed, tried_rows))
        if graph.rows_at_once > 1:
            for feed, results, rows in zip(feeds[-2:], batches[-2:], rows_of[-2:], strict=True):
                refuse_dependent_rows(served, feed, results, rows, producer)
    except MemoryError as error:
        return _failure("memory", error, producer)
    except UnicodeDecodeError as error:
        return _failure("encoding", error, producer)
    except LoadError as error:
        return _failure("memory" if _is_about_memory(error) else "load", error, producer)
    except ArtefactError as error:
        return _failure("refused", error, producer)
    except ONNX_RUNTIME_ERRORS as error:
        return _failure("memory" if _is_about_memory(error) else "predict", error, producer, tried_rows)
    outputs = [
        _described(output.name, [batch[output.name] for batch in batches], rows_of, graph)
        for output in served.get_outputs()
    ]
    return TrialReport(
        framework=graph.framework,
        producer=producer,
        inputs=graph.inputs,
        outputs=outputs,
        changes=graph.changes,
        is_normalised=graph.is_normalised,
        rows_at_once=graph.rows_at_once,
        failure="",
        message="",
        tried_rows=0,
    )


def _prepare(model: onnx.ModelProto, specification: TrialSpecification) -> tuple[_Graph, ort.InferenceSession]:
    """Return what the graph proves and the session of the served model, whose file is written if it is another one."""
    changes = []
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
        changes.append("The functions of the model were inlined.")
    # After it, because the functions can hold such tensors too.
    merged = merge_external_data(model, {name: Path(place) for name, place in specification["data_files"].items()})
    if merged:
        changes.insert(0, f"{merged:,} tensors of the data files were stored in the model.")
    normalised = without_dictionaries(model)
    refuse_unsafe(normalised.model)
    inputs = graph_inputs(normalised.model, max_features=specification["max_features"])
    features_of(inputs)  # refuses invalid names before anything runs
    refuse_other_widths(normalised.model.graph, inputs)
    changes += normalised.changes
    rows_at_once, served, fixed_rows = specification["batch_rows"], normalised.model, _fixed_rows(inputs)
    if fixed_rows:
        served = with_free_rows(normalised.model, inputs)
        hints = sample_hints(normalised.model.graph, inputs)
        rows_at_once = rows_of_freed_model(served, normalised.model, inputs, fixed_rows, rows_at_once, hints)
        if rows_at_once == 1:
            changes.append(
                "The exporter has fixed the number of rows at 1, and the model computes several rows wrongly, so each "
                f"row is predicted separately, which is slower. {advice_for(model.producer_name, 'rows')}"
            )
            served = normalised.model
        else:
            changes.append(
                f"The exporter has fixed the number of rows at {fixed_rows:,}; it is free now. Rows predicted together "
                "and separately have the same results."
            )
    if changes:
        content = served.SerializeToString()
        if len(content) > specification["size_bytes"]:
            raise ArtefactError("The model and its data files are larger than the limit of one model file.")
        Path(specification["normalised_path"]).write_bytes(content)
        session = load(content)
        if normalised.changes:
            with contextlib.suppress(LoadError):  # ONNX Runtime has no ZipMap for doubles
                before = load(model.SerializeToString())
                refuse_changed_results(normalised, before, session, inputs, fixed_rows)
    else:
        session = load(Path(specification["path"]))
    graph = normalised.model.graph
    outputs = [output.name for output in graph.output]
    framework = f"{model.producer_name} {model.producer_version}".strip()
    classes = {name: stored_classes(graph, name) for name in outputs} | normalised.column_classes
    prepared = _Graph(
        framework="".join(character for character in framework.split("\n")[0] if character.isprintable())[:128],
        inputs=inputs,
        stored_classes={name: list(labels) for name, labels in classes.items()},
        origins={name: origin_of(normalised.model, name) for name in outputs},
        changes=changes,
        is_normalised=bool(changes),
        rows_at_once=rows_at_once,
        hints=sample_hints(graph, inputs),
    )
    return prepared, session


def _fixed_rows(inputs: list[InputTensor]) -> int:
    """Return the number of rows that the exporter has fixed, or 0."""
    numbers = {each["fixed_rows"] for each in inputs} - {0}
    if len(numbers) > 1:
        raise ArtefactError(f"The inputs have different numbers of rows ({', '.join(map(str, sorted(numbers)))}).")
    return numbers.pop() if numbers else 0


def _described(name: str, batches: list[list[Any]], rows_of: list[int], graph: _Graph) -> OutputTensor:
    tables = [joined(results, rows) for results, rows in zip(batches, rows_of, strict=True)]
    widths = {None if table is None else table.shape[1] for table in tables}
    width = widths.pop() if len(widths) == 1 else None
    first = np.asarray(batches[0][0])
    output = OutputTensor(
        name=name,
        dtype="string" if first.dtype.kind in "OU" else str(first.dtype),
        shape=list(np.shape(batches[2][0])),
        width=width or None,
        is_finite=False,
        is_probability=False,
        is_log_probability=False,
        is_opposite=False,
        is_whole=False,
        labels=[],
        rows=[],
        halves=[],
        sample=[],
        stored_classes=graph.stored_classes.get(name, []),
        origin=graph.origins.get(name, OutputOrigin.UNKNOWN),
    )
    if not width:
        return output
    everything = np.concatenate([table for table in tables if table is not None])
    small = everything[: -rows_of[-1]]
    if first.dtype.kind == "f":
        numbers = everything[np.isfinite(everything).all(axis=1)].astype(np.float64)
        output["is_finite"] = len(numbers) > 0
        output["is_probability"] = _are_probabilities(numbers)
        with np.errstate(over="ignore"):
            output["is_log_probability"] = _are_probabilities(np.exp(numbers))
        output["is_whole"] = bool((numbers == np.round(numbers)).all())
        output["is_opposite"] = width == 2 and bool(np.abs(numbers.sum(axis=1)).max(initial=0) <= ABSOLUTE_TOLERANCE)
        is_largest = small == small.max(axis=1, keepdims=True)
        output["rows"] = [str(row.argmax()) if row.sum() == 1 else "" for row in is_largest]
        if width == 1:
            output["rows"], output["halves"] = (
                ["" if np.isnan(number) else str(int(number >= limit)) for number in small[:, 0]] for limit in (0, 0.5)
            )
        generic = small[-_GENERIC_ROWS:][:3].astype(np.float64)
        output["sample"] = [float(number) for number in generic.ravel()[:6] if np.isfinite(number)]
    elif width == 1:
        texts = [label_text(label)[:_LONGEST_LABEL] for label in everything[:, 0].tolist()]
        output["labels"], output["rows"] = sorted(set(texts))[:_MOST_LABELS], texts[: -rows_of[-1]]
    return output


def _are_probabilities(numbers: NDArray[np.float64]) -> bool:
    is_inside = len(numbers) and (numbers >= -_SUM_TOLERANCE).all() and (numbers <= 1 + _SUM_TOLERANCE).all()
    has_sums = numbers.shape[1] == 1 or (np.abs(numbers.sum(axis=1) - 1) <= _SUM_TOLERANCE).all()
    return bool(is_inside and has_sums)


def _is_about_memory(error: Exception) -> bool:
    return any(word in str(error).lower() for word in _MEMORY_WORDS)


def _failure(failure: str, error: Exception, producer: str, tried_rows: int = 0) -> TrialReport:
    return TrialReport(
        framework="",
        producer=producer,
        inputs=[],
        outputs=[],
        changes=[],
        is_normalised=False,
        rows_at_once=0,
        failure=failure,
        message=str(error)[:2000],
        tried_rows=tried_rows,
    )


def limit_process(*, memory_bytes: int, cpu_seconds: int, file_bytes: int) -> None:
    """Limit this process: address space beyond what the interpreter and ONNX Runtime use, CPU time, file sizes.

    Address space is limited on Linux only, because elsewhere a process cannot read how much it uses.
    """
    statm = Path("/proc/self/statm")
    if statm.exists():
        used = int(statm.read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + memory_bytes, used + memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    received: TrialSpecification = json.load(sys.stdin)
    os.chdir(received["empty_folder"])  # so that no relative name in a model leads to a file
    limit_process(
        memory_bytes=received["memory_bytes"], cpu_seconds=received["cpu_seconds"], file_bytes=received["size_bytes"]
    )
    json.dump(run_trial(received), sys.stdout)
