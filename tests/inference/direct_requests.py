"""Models of several kinds and the bodies that are sent to them, for the two ways of a predict request."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from sklearn.datasets import load_diabetes, load_iris

from tests.factories import diabetes_onnx, uploaded_version

DEMO = Path(__file__).resolve().parent.parent.parent / "demo"
OPTIONAL_OF_FLIGHTS = ("seats", "plane_age", "wind_speed", "precip", "visib")
ROWS = 50

Names = tuple[str, ...]
Rows = list[list[Any]]


def uploaded_models(model: str) -> tuple[Names, Rows]:
    """Upload a model under its name; return the names of its features and some rows."""
    if model == "iris":
        version = uploaded_version(model)
        rows = load_iris().data[:ROWS].tolist()
    elif model == "diabetes":  # a regression
        names = tuple(f"f{number}" for number in range(10))
        version = uploaded_version(model, onnx=diabetes_onnx(), features=names, optional=("f1",))
        rows = load_diabetes().data[:ROWS].tolist()
    else:  # strings, and numbers that may be missing
        onnx = (DEMO / "flight-delay-1.0.0.onnx").read_bytes()
        version = uploaded_version(model, onnx=onnx, features=None, optional=OPTIONAL_OF_FLIGHTS)
    names = tuple(feature.name for feature in version.schema().features)
    if model == "flights":
        table = pq.read_table(DEMO / "flight-delay-reference.parquet", columns=list(names)).slice(0, ROWS)
        rows = [[row[name] for name in names] for row in table.to_pylist()]
    return names, rows


MODELS = ("iris", "diabetes", "flights")


def _changed(row: list[Any], value: Any) -> list[Any]:
    return [*row[:1], value, *row[2:]]


BODIES: dict[str, Callable[[Names, Rows], dict[str, Any]]] = {
    "list": lambda names, rows: {"features": rows[0]},
    "named": lambda names, rows: {"features": dict(zip(names, rows[0], strict=True))},
    "named in another order": lambda names, rows: {"features": dict(reversed(list(zip(names, rows[0], strict=True))))},
    "lists": lambda names, rows: {"rows": rows},
    "named rows": lambda names, rows: {"rows": [dict(zip(names, row, strict=True)) for row in rows]},
    "mixed forms": lambda names, rows: {"rows": [rows[0], dict(zip(names, rows[1], strict=True))]},
    "with a routing key": lambda names, rows: {"features": rows[0], "routing_key": "a"},
    "whole numbers": lambda names, rows: {
        "features": [int(value) if isinstance(value, float) else value for value in rows[0]]
    },
    "refused type": lambda names, rows: {"rows": [rows[0], _changed(rows[1], {"a": 1})]},
    "refused: too large": lambda names, rows: {"features": [1e39 if type(v) is float else v for v in rows[0]]},
    "refused: too long": lambda names, rows: {"features": [*rows[0], 1]},
    "refused name": lambda names, rows: {"features": {"x": 1}},
    "refused form": lambda names, rows: {"features": 7},
    "many rows": lambda names, rows: {"rows": [rows[place % ROWS] for place in range(1000)]},
}
