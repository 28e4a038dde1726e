"""Comparison of a changed model with the file as it was uploaded, and of rows together with rows one by one."""

import contextlib
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from models_registry.artefacts.advice import advice_for
from models_registry.artefacts.normalisation import NormalisedGraph
from models_registry.artefacts.report import InputTensor
from models_registry.artefacts.sample_runs import Runner, SampleHints, Tensor, generic_rows, is_equal, joined, load
from models_registry.exceptions import ArtefactError
from models_registry.onnx_session import ONNX_RUNTIME_ERRORS, results_by_row

_COMPARED_ROWS = 5


def rows_of_freed_model(
    free: onnx.ModelProto,
    fixed: onnx.ModelProto,
    inputs: list[InputTensor],
    fixed_rows: int,
    most: int,
    hints: SampleHints,
) -> int:
    """Return how many rows the freed model may predict in one run: `most`, or 1 if its results would differ."""
    rows = 5 * fixed_rows
    feed = generic_rows(inputs, rows, hints)
    runner = Runner(load(fixed.SerializeToString()), fixed_rows)
    expected = runner.results(feed, rows)
    with contextlib.suppress(ArtefactError, *ONNX_RUNTIME_ERRORS):
        together = Runner(load(free.SerializeToString()), most).results(feed, rows)
        if all(is_equal(joined(together[name], rows), joined(expected[name], rows)) for name in expected):
            return most
    if fixed_rows == 1:
        return 1
    # The first row beside others, and beside itself.
    first = generic_rows(inputs, fixed_rows, hints)
    beside_itself = {name: tensor[:1].repeat(fixed_rows, axis=0) for name, tensor in first.items()}
    _refuse_dependence(
        _tables(runner, first, fixed_rows), _tables(runner, beside_itself, fixed_rows), 1, free.producer_name
    )
    raise ArtefactError(
        f"The exporter has fixed the number of rows at {fixed_rows:,}, and the model fails or computes another result "
        f"for other numbers of rows. {advice_for(free.producer_name, 'rows')}"
    )


def refuse_changed_results(
    normalised: NormalisedGraph,
    before: ort.InferenceSession,
    after: ort.InferenceSession,
    inputs: list[InputTensor],
    fixed_rows: int,
) -> None:
    """Compare the outputs of the file with the tensors that replace them."""
    rows = fixed_rows or 5
    feed = generic_rows(inputs, rows)
    expected, served = Runner(before, rows).results(feed, rows), Runner(after, rows).results(feed, rows)
    found: Tensor | None
    wanted: Tensor | None
    for name, (result,) in expected.items():
        if name in normalised.maps:
            tensor, classes = normalised.maps[name]
            labels = [int(label) if label not in result[0] else label for label in classes]
            wanted = np.array([[row[label] for label in labels] for row in result])
            found = joined(served[tensor], rows)
        elif name in normalised.columns:
            tensor, position = normalised.columns[name]
            found = joined(served[tensor], rows)
            of_tensor = sum(name == tensor for name, _ in normalised.columns.values())
            if found is not None and found.shape[1] != of_tensor:
                raise ArtefactError(
                    f"The tensor {tensor!r} has {found.shape[1]} columns, of which {of_tensor} are outputs. Export the "
                    "tensor, or all of its columns."
                )
            found = None if found is None else found[:, position : position + 1]
            wanted = results_by_row(result, rows)
        else:
            wanted, found = results_by_row(result, rows), joined(served[name], rows)
        if not is_equal(found, wanted):
            raise ArtefactError(
                f"Output {name!r} has another value when it is read as a tensor. Export the model with a tensor of "
                "scores for each row."
            )


def refuse_dependent_rows(
    session: ort.InferenceSession, feed: dict[str, Tensor], results: dict[str, list[Any]], rows: int, producer: str
) -> None:
    """Compare the first of `rows` rows that were predicted together with the same rows predicted separately."""
    few = {name: tensor[:_COMPARED_ROWS] for name, tensor in feed.items()}
    together = {name: joined(result, rows) for name, result in results.items()}
    _refuse_dependence(together, _tables(Runner(session, 1), few, _COMPARED_ROWS), _COMPARED_ROWS, producer)


def _tables(runner: Runner, feed: dict[str, Tensor], rows: int) -> dict[str, Tensor | None]:
    return {name: joined(results, rows) for name, results in runner.results(feed, rows).items()}


def _refuse_dependence(
    one: dict[str, Tensor | None], other: dict[str, Tensor | None], rows: int, producer: str
) -> None:
    """Refuse a model if an output of the first `rows` rows differs between two requests that begin with them."""
    for name, table in one.items():
        second = other[name]
        if table is not None and second is not None and not is_equal(table[:rows], second[:rows]):
            raise ArtefactError(
                f"The prediction of a row depends on the other rows of the request: output {name!r} of a sample row "
                f"differs when the row is predicted with others. {advice_for(producer, 'rows depend')}"
            )
