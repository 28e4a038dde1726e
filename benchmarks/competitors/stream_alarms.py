"""Which checks of simulated streams are an alarm for evidently or nannyml, with their defaults.

``python -m benchmarks.competitors.stream_alarms NAME FOLDER`` runs in the competitor's environment. Each file in FOLDER
is a stream: its columns, with the rows of the reference first. It writes a line of JSON for each file.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

REFERENCE_ROWS, WINDOW_ROWS, STEP_ROWS = 10_000, 1_000, 1_000
# Returns for a window, by rule, whether it is an alarm.
Check: TypeAlias = Callable[[Any], Mapping[str, bool]]


def evidently(reference: Any) -> Check:
    """Return the check of `DataDriftPreset`: one measure for each column, and a share of columns that drift."""
    from evidently import DataDefinition, Dataset, Report  # type: ignore[import-not-found]
    from evidently.presets import DataDriftPreset  # type: ignore[import-not-found]

    is_number = [column.dtype.kind == "f" for _, column in reference.items()]
    names = list(reference)
    definition = DataDefinition(
        numerical_columns=[name for name, number in zip(names, is_number, strict=True) if number],
        categorical_columns=[name for name, number in zip(names, is_number, strict=True) if not number],
    )
    before = Dataset.from_pandas(reference, data_definition=definition)

    def check(window: Any) -> Mapping[str, bool]:
        after = Dataset.from_pandas(window, data_definition=definition)
        metrics = Report([DataDriftPreset()]).run(after, before).dict()["metrics"]
        drifted = next(each["value"] for each in metrics if "DriftedColumnsCount" in each["metric_name"])
        return {"a column drifts": drifted["count"] > 0, "half of the columns drift": drifted["share"] >= 0.5}

    return check


def nannyml(reference: Any) -> Check:
    """Return the check of `UnivariateDriftCalculator`: alerts outside three deviations of the reference's chunks."""
    from nannyml import UnivariateDriftCalculator  # type: ignore[import-not-found]

    calculator = UnivariateDriftCalculator(column_names=list(reference), chunk_size=WINDOW_ROWS)
    calculator.fit(reference)

    def check(window: Any) -> Mapping[str, bool]:
        found = calculator.calculate(window).filter(period="analysis").to_df(multilevel=True)
        alerts = found.xs("alert", axis=1, level=-1)
        return {"an alert of a column": bool(alerts.to_numpy(dtype=bool).any())}

    return check


def first_alarms(prepare: Callable[[Any], Check], stream: Path) -> dict[str, bool]:
    """Return by rule whether any of the checks, one every 1,000 rows, was an alarm."""
    import pandas as pd

    columns = {
        name: values if values.dtype.kind == "f" else pd.Categorical([f"category {code}" for code in values])
        for name, values in np.load(stream).items()
    }
    rows = pd.DataFrame(columns)
    check = prepare(rows[:REFERENCE_ROWS].reset_index(drop=True))
    found: dict[str, bool] = {}
    for start in range(REFERENCE_ROWS, len(rows) - WINDOW_ROWS, STEP_ROWS):
        for rule, is_alarm in check(rows[start : start + WINDOW_ROWS].reset_index(drop=True)).items():
            found[rule] = found.get(rule, False) or is_alarm
    return found


def _main(name: str, folder: str) -> None:
    # What a library prints goes to the log, because standard output carries only results.
    with os.fdopen(os.dup(sys.stdout.fileno()), "w") as results:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        for stream in sorted(Path(folder).glob("*.npz")):
            found = first_alarms({"evidently": evidently, "nannyml": nannyml}[name], stream)
            results.write(json.dumps({"stream": stream.stem, "alarms": found}) + "\n")
            results.flush()


if __name__ == "__main__":
    _main(*sys.argv[1:])
