"""What a request costs with a normalised model, compared with an export of the same model that needs no change.

``python -m benchmarks.normalised_models [--json FILE]`` predicts with the engine, one row and a hundred rows at a time.
docs/benchmarks.md has the details.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import argument_parser, conditions, progress, table, write_json
from benchmarks.timing import PairedTimes, paired_calls, spread_text
from mlmon.schema import TaskType
from models_registry.artefacts.inspection import ArtefactLimits, inspect_artefact
from models_registry.engine import Engine
from models_registry.schema import Declaration, ScoreKind
from tests.models_registry.zoo import ZooModel, read_model

# The default of an exporter, and the options with which the file needs no change.
EXPORTS = {
    "torch-hidden-64-legacy": "torch-hidden-64-legacy-dynamic",
    "torch-hidden-64-dynamo": "torch-hidden-64-dynamo-dynamic-inline",
    "sklearn-forest-3-strings-defaults": "sklearn-forest-3-strings-no-zipmap",
    "lightgbm-3-strings": "lightgbm-3-strings-no-zipmap",
    "sklearn-knn-3": "sklearn-knn-3-no-zipmap",
}
ROWS = (1, 100)
CALLS, PAIRS, BUDGET_SECONDS = 300, 31, 20.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argument_parser("normalised_models", __doc__)
    parser.add_argument("--pairs", type=int, default=PAIRS, help="at most, for each comparison (%(default)s)")
    parser.add_argument("--calls", type=int, default=CALLS, help="predictions of one run (%(default)s)")
    parsed = parser.parse_args(arguments)
    times = measured(pairs=parsed.pairs, calls=parsed.calls)
    rows = [[name, str(rows), f"{one.ratio.median:.3f}", spread_text(one.ratio)] for (name, rows), one in times.items()]
    sys.stdout.write(table(["export", "rows", "normalised / as it is", "quartiles"], rows) + "\n")
    figures = {f"{name}, {rows} rows": asdict(one.ratio) for (name, rows), one in times.items()}
    write_json(parsed.json, {**conditions(), "ratios": figures})


def measured(*, pairs: int = PAIRS, calls: int = CALLS) -> dict[tuple[str, int], PairedTimes]:
    """Return the times of the engine with the normalised and the unchanged file, by export and number of rows."""
    times = {}
    for name, unchanged in EXPORTS.items():
        progress(f"{name} …")
        with tempfile.TemporaryDirectory() as folder:
            ours, theirs = (_engine(read_model(each), Path(folder)) for each in (name, unchanged))
            for rows in ROWS:
                one, other = (_calls(engine, read_model(name), rows, calls) for engine in (ours, theirs))
                if one() != other():
                    raise RuntimeError(f"{name} and {unchanged} predict different classes.")
                times[name, rows] = paired_calls(one, other, pairs=pairs, budget_seconds=BUDGET_SECONDS)
    return times


def _engine(model: ZooModel, folder: Path) -> Engine:
    normalised = folder / f"{model.name}.onnx"
    stated = (
        Declaration(TaskType.CLASSIFICATION, ScoreKind.LOGITS) if model.producer_name == "pytorch" else Declaration()
    )
    report = inspect_artefact(
        model.path,
        limits=ArtefactLimits(),
        normalised_path=normalised,
        data_files={path.name: path for path in model.data_files},
        declared=stated,
    )
    return Engine(normalised if report.is_normalised else model.path, report.schema, timeout_seconds=60)


def _calls(engine: Engine, model: ZooModel, rows: int, calls: int) -> Callable[[], Any]:
    values = np.resize(np.array(model.rows, np.float64), (rows, len(model.features)))
    columns = {feature.name: values[:, place].copy() for place, feature in enumerate(engine.schema.features)}

    def predict() -> Any:
        for _ in range(calls):
            predictions = engine.predict(columns)
        return predictions.class_index.tolist()  # type: ignore[union-attr]

    return predict


if __name__ == "__main__":
    main()
