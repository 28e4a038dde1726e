"""Compare plain ONNX Runtime with the framework's own predictions."""

import warnings
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from tests.models_registry.zoo import ZooModel

RELATIVE = 1e-5
ABSOLUTE = 1e-6
_DTYPES = {"float": np.float32, "double": np.float64, "float16": np.float16, "bool": np.bool_, "string": np.object_}


def compare(model: ZooModel) -> tuple[str, dict[str, str | None]]:
    """Return how ONNX Runtime's outputs differ from the framework's, and which field each output holds."""
    try:
        outputs = run(model)
    except Exception as error:
        return f"fails: {str(error).strip().splitlines()[0].replace(str(model.path), model.path.name)}", {}
    expected = _expected(model)
    found: dict[str, str | None] = {}
    wrong = []
    for name, values in outputs.items():
        held, difference = _closest(values, expected)
        found[name] = held if not difference else None
        if difference:
            wrong.append(f"{name}: {difference}")
    return ("wrong: " + "; ".join(wrong) if wrong else "equal"), found


def run(model: ZooModel) -> dict[str, NDArray[Any]]:
    """Return the outputs for all rows, by name; the columns of `zipmap="columns"` are one output."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.path, options, providers=["CPUExecutionProvider"])
    inputs = session.get_inputs()
    batch = next((each.shape[0] for each in inputs if each.shape and isinstance(each.shape[0], int)), len(model.rows))
    rows = list(model.rows)
    rows += [rows[-1]] * (-len(rows) % batch)
    parts = [
        [_array(part) for part in session.run(None, _feeds(inputs, rows[start : start + batch]))]
        for start in range(0, len(rows), batch)
    ]
    names = [each.name for each in session.get_outputs()]
    joined = {
        name: column[0] if len(column) == 1 else np.concatenate(column)[: len(model.rows)]
        for name, column in zip(names, zip(*parts, strict=True), strict=True)
    }
    if model.task != "classification":
        return joined
    columns = [name for name in names[1:] if joined[name].dtype.kind == "f" and joined[name].size == len(model.rows)]
    if len(columns) > 1 and len(columns) == len(model.classes or []):
        joined[", ".join(columns)] = np.column_stack([joined.pop(name).ravel() for name in columns])
    return joined


def _feeds(inputs: list[Any], rows: list[list[Any]]) -> dict[str, NDArray[Any]]:
    """Return the rows as input tensors: each takes as many columns as it is wide."""
    feeds: dict[str, NDArray[Any]] = {}
    start = 0
    for each in inputs:
        width = each.shape[1] if len(each.shape) > 1 else 1
        width = width if isinstance(width, int) else len(rows[0]) - start
        kind = each.type.removeprefix("tensor(").removesuffix(")")
        dtype: Any = _DTYPES.get(kind, kind)
        missing: Any = "" if kind == "string" else np.nan
        values = [[missing if value is None else value for value in row[start : start + width]] for row in rows]
        array = np.array(values, dtype=dtype)
        feeds[each.name] = array if len(each.shape) > 1 else array.ravel()
        start += width
    return feeds


def _array(output: Any) -> NDArray[Any]:
    """Return an output as an array; ZipMap's list of dictionaries has a column for each key."""
    if isinstance(output, list) and output and isinstance(output[0], dict):
        return np.array([list(row.values()) for row in output])
    return np.asarray(output)


def _expected(model: ZooModel) -> dict[str, list[NDArray[Any]]]:
    """Return the arrays that an output may equal, by field."""
    expected = {"predictions": [np.array(model.predictions)]}
    if model.probabilities is not None:
        probabilities = np.array(model.probabilities)
        expected["probabilities"] = [probabilities]
        if probabilities.shape[1] == 2:
            expected["probabilities"].append(probabilities[:, 1])
    if model.score_samples is not None:
        expected["score_samples"] = [np.array(model.score_samples)]
    if model.classes is not None:
        expected["classes"] = [np.array(model.classes)]
    if model.scores is not None:
        scores = np.array(model.scores)
        expected["scores"] = [scores]
        if scores.ndim == 1 and len(model.classes or []) == 2:
            expected["scores"].append(np.column_stack([-scores, scores]))
    return expected


def _closest(values: NDArray[Any], expected: dict[str, list[NDArray[Any]]]) -> tuple[str | None, str]:
    """Return the field that the output holds, and how it differs from the closest one ("" if it does not)."""
    same_type = {
        field: [array for array in arrays if (array.dtype.kind == "f") == (values.dtype.kind == "f")]
        for field, arrays in expected.items()
    }
    if not any(same_type.values()):
        return None, ""  # such as the shares of votes of hard voting: the framework has no numbers
    best: tuple[float, str | None, str] = (np.inf, None, f"shape {'x'.join(map(str, values.shape))}")
    for field, arrays in same_type.items():
        for array in arrays:
            if values.squeeze().shape == array.squeeze().shape:
                size, difference = _difference(values.squeeze(), array.squeeze())
                best = min(best, (size, field, difference), key=lambda each: each[0])
    return best[1], best[2]


def _difference(values: NDArray[Any], expected: NDArray[Any]) -> tuple[float, str]:
    if values.dtype.kind != "f":
        differ = [
            _label(a) != _label(b) for a, b in zip(values.ravel().tolist(), expected.ravel().tolist(), strict=True)
        ]
        return sum(differ), f"{sum(differ)} of {len(differ)} labels differ" if any(differ) else ""
    if np.allclose(values, expected, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True):
        return 0.0, ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        size = float(np.max(np.abs(values - expected) / np.maximum(np.abs(expected), ABSOLUTE)))
    return (size if np.isfinite(size) else 1e300), f"max relative difference {size:.1e}"


def _label(value: Any) -> str:
    """Return the label as text; True and 1, and 2.0 and 2, are one label (values.md)."""
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        value = int(value)
    return str(value)
