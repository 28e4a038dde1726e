"""The first alarm of each rule on a simulated stream, all from the same calls of the shipped check."""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.stats import beta

from benchmarks.false_alarm_streams import CHANGED, PREDICTIONS, QUIET, Columns, Stream
from mlmon.comparison import compare
from mlmon.criteria import Criteria, Thresholds
from mlmon.prepared import PreparedReference, prepare
from mlmon.profile import from_bytes
from mlmon.profiling import profile_of
from mlmon.results import (
    ComparisonResult,
    FeatureResult,
    PredictionResult,
    VerdictStatus,
)
from mlmon.schema import FeatureKind, TaskType

WINDOW_ROWS, STEP_ROWS = 1_000, 100
CRITERIA = Criteria(Thresholds(feature=0.1, prediction=0.1), extra_window_rows=(500,))
ALPHA, LARGEST_KS = 0.05, 0.1
CLASSES = ("no", "yes")


class Rule(StrEnum):
    """When a check is an alarm."""

    MLMON = "mlmon"  # the verdict
    KS_BONFERRONI = "ks_bonferroni"  # p < .05 / d of any of d columns, by KS or chi-squared
    TUTORIAL = "tutorial"  # KS > .1 of a number, p < .05 of a categorical column


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the checks of one stream found.

    Attributes
    ----------
    alarms
        By rule: rows from the first check, or from the change, to the first alarm; None without an alarm.
    insufficient
        The share of features that the verdict does not judge, or whose missing values it does not judge.
    alarmed
        What the verdict's first alarm is about: channel and test.
    """

    alarms: Mapping[Rule, int | None]
    insufficient: float
    alarmed: tuple[str, ...] = ()


def outcome_of(name: str, seed: int) -> Outcome:
    """Return what the rules find in the stream of this name and seed."""
    return checked({**QUIET, **CHANGED}[name], np.random.default_rng([seed, zlib.crc32(name.encode())]))


def checked(stream: Stream, rng: np.random.Generator) -> Outcome:
    """Return what the rules find in a stream, in checks of the latest 1,000 and 500 rows every 100 rows.

    A quiet stream is checked from the first window on, another one from 100 rows after the change.
    """
    start = stream.reference_rows
    rows = stream.make(rng, start + WINDOW_ROWS + STEP_ROWS * stream.checks)
    first = 0
    if stream.change is not None:
        after = {name: values[start + WINDOW_ROWS :] for name, values in rows.items()}
        changed = stream.change(rng, after)
        rows = {name: np.concatenate([rows[name][: start + WINDOW_ROWS], changed[name]]) for name in rows}
        first = STEP_ROWS
    reference = prepared({name: values[:start] for name, values in rows.items()})
    features, predictions = observed({name: values[start:] for name, values in rows.items()})
    alarms: dict[Rule, int | None] = dict.fromkeys(Rule)
    alarmed: tuple[str, ...] = ()
    insufficient = 0.0
    for passed in range(first, first + STEP_ROWS * stream.checks, STEP_ROWS):
        result = compare(
            reference,
            features.slice(passed, WINDOW_ROWS),
            None if predictions is None else predictions.slice(passed, WINDOW_ROWS),
            CRITERIA,
            window_rows=WINDOW_ROWS,
            with_details=False,
        )
        insufficient = float(np.mean([is_insufficient(feature) for feature in result.features]))
        for rule, is_alarm in ALARMS.items():
            if alarms[rule] is None and is_alarm(result):
                alarms[rule] = passed
                if rule is Rule.MLMON:
                    found = {f"{each.channel}: {each.test}" for each in result.hypotheses if each.is_alarm}
                    alarmed = tuple(sorted(found))
        if None not in alarms.values():
            break
    return Outcome(alarms, insufficient, alarmed)


def prepared(columns: Columns, times: NDArray[np.int64] | None = None, zone: str = "UTC") -> PreparedReference:
    """Return a reference as a check reads it: profiled, written, read and prepared."""
    features, predictions = observed(columns)
    if predictions is None:
        predictions = pa.chunked_array([pa.array([CLASSES[0]] * features.num_rows)])
    profile = profile_of(
        features, predictions.combine_chunks(), CLASSES, TaskType.CLASSIFICATION, times=times, zone=zone
    )
    return prepare(from_bytes(profile.to_bytes()))


def observed(columns: Columns) -> "tuple[pa.Table, pa.ChunkedArray[Any] | None]":
    """Return the features, and the predictions if there are any, as the check expects them."""
    arrays: dict[str, Any] = {}
    for name, values in columns.items():
        if values.dtype.kind == "f":
            arrays[name] = pa.array(values, from_pandas=True)  # NaN becomes null
            continue
        names = CLASSES if name == PREDICTIONS else [f"category {code}" for code in range(int(values.max()) + 1)]
        codes: Any = pa.array(values, mask=values < 0)
        arrays[name] = pa.array(names, pa.string()).take(codes)
    predictions = arrays.pop(PREDICTIONS, None)
    return pa.table(arrays), None if predictions is None else pa.chunked_array([predictions])


def is_insufficient(feature: FeatureResult) -> bool:
    """Return whether the reference is too short to judge the values of a feature, or its missing values."""
    has_missing = feature.n_missing_reference + feature.n_missing_current > 0
    return bool(feature.no_verdict_reason) or (has_missing and feature.missing_verdict is None)


def _columns(result: ComparisonResult) -> list[FeatureResult | PredictionResult]:
    """Return the features, and the predictions if they were compared."""
    predictions = [result.prediction] if result.prediction.p_value is not None else []
    return [*result.features, *predictions]


def _is_significant(column: FeatureResult | PredictionResult, alpha: float) -> bool:
    return column.p_value is not None and column.p_value < alpha


def _is_bonferroni_alarm(result: ComparisonResult) -> bool:
    columns = _columns(result)
    return any(_is_significant(column, ALPHA / len(columns)) for column in columns)


def _is_tutorial_alarm(result: ComparisonResult) -> bool:
    return any(
        (column.statistic or 0.0) > LARGEST_KS
        if isinstance(column, FeatureResult) and column.kind is FeatureKind.NUMERIC
        else _is_significant(column, ALPHA)
        for column in _columns(result)
    )


ALARMS: Mapping[Rule, Callable[[ComparisonResult], bool]] = {
    Rule.MLMON: lambda result: result.verdict.status is VerdictStatus.ALARM,
    Rule.KS_BONFERRONI: _is_bonferroni_alarm,
    Rule.TUTORIAL: _is_tutorial_alarm,
}


def lower_bound(alarms: int, streams: int) -> float:
    """Return the lower 95 % bound of the share of streams with an alarm (Clopper and Pearson, 1934), one-sided."""
    return float(beta.ppf(0.05, alarms, streams - alarms + 1)) if alarms else 0.0
