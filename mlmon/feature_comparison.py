"""Comparing the features of a window with those of its reference: scores, measures and findings on quality.

One feature that cannot be compared never stops the others.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlmon.criteria import Criteria
from mlmon.detection.dependence import OutcomeBlocks
from mlmon.detection.rule import SMALLEST_MISSING_DIFFERENCE
from mlmon.detection.shares import share_p_values
from mlmon.detector import Detector
from mlmon.measures import MEASURES, Measure, Method
from mlmon.prepared import PreparedCategories, PreparedColumn
from mlmon.profile import compared_kind
from mlmon.results import NotCompared, QualityEvent, QualityFinding, ResultStatus
from mlmon.schema import FeatureKind
from mlmon.verdict import VerdictPlan
from mlmon.window_tests import SMALLEST_SAMPLE
from mlmon.windowed_columns import ColumnRows
from mlmon.windows import Column, ColumnWindow, ConstantValue, NumericWindow, numbers_of, open_window, test_together

logger = logging.getLogger(__name__)

# The exceptions that the values of a column can raise. A time limit or a lost connection is none of them and ends the
# comparison.
COLUMN_ERRORS = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError, pa.ArrowException)

# Fields of a FeatureResult that are known so far: a new result for each step would cost more than the statistics.
Fields: TypeAlias = dict[str, Any]

LARGEST_CATEGORY_SHARE = 0.5  # categories for each reference row; a column with more identifies rows
DEFAULT_METHODS = {FeatureKind.NUMERIC: Method.KOLMOGOROV_SMIRNOV, FeatureKind.CATEGORICAL: Method.CHI_SQUARED}
SMALLEST_QUALITY_SHARE = 0.01
QUALITY_SIGNIFICANCE = 1e-3
CATEGORIES_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Scope:
    """What is computed of each column.

    Attributes
    ----------
    detector
        Without phases: findings on quality compare with all rows of the reference.
    """

    criteria: Criteria
    plan: VerdictPlan
    with_details: bool
    detector: Detector


@dataclass(slots=True)
class _Opened:
    """A feature's latest rows beside their reference.

    Attributes
    ----------
    fields
        The status with its reason is among them. Only a feature whose status is OK is measured.
    measures
        All of them, or the score alone.
    """

    fields: Fields
    window: ColumnWindow
    column: Column
    measures: dict[Method, Measure] = field(default_factory=dict)

    @property
    def is_measured(self) -> bool:
        """Whether there are enough values."""
        return self.fields["status"] is ResultStatus.OK


def compare_features(
    features: Sequence["tuple[str, PreparedColumn, Column | None]"], scope: Scope
) -> list[tuple[Fields, ColumnRows | None]]:
    """Return the results of features without their verdicts, and what those need of the columns.

    The features are given by name, with the reference and the window's column; None if the window has none.
    """
    found: list[Fields | _Opened] = []
    for name, reference, column in features:
        try:
            found.append(_open(name, reference, column, scope))
        except COLUMN_ERRORS as error:
            found.append(_failed(name, reference.kind, error, scope))
    measured = {place: each for place, each in enumerate(found) if isinstance(each, _Opened) and each.is_measured}
    try:
        _measure(list(measured.values()), with_details=scope.with_details)
    except COLUMN_ERRORS:  # of one of them: the others are measured without it
        for place, each in measured.items():
            try:
                _measure([each], with_details=scope.with_details)
            except COLUMN_ERRORS as error:
                found[place] = _failed(each.fields["name"], each.fields["kind"], error, scope)
    results: list[tuple[Fields, ColumnRows | None]] = []
    for feature in found:
        if not isinstance(feature, _Opened):
            results.append((feature, None))
            continue
        try:
            results.append((_fields_of(feature, scope), _tested_rows(feature, scope)))
        except COLUMN_ERRORS as error:
            results.append((_failed(feature.fields["name"], feature.fields["kind"], error, scope), None))
    return results


def _first_fields(name: str, kind: FeatureKind, scope: Scope) -> Fields:
    thresholds = scope.criteria.thresholds
    return {
        "name": name,
        "kind": kind,
        "threshold": thresholds.by_feature.get(name, thresholds.feature),
        "method": scope.criteria.methods.get(name),
    }


def not_compared_fields(failed: NotCompared, kind: FeatureKind, scope: Scope) -> Fields:
    """Return the result of a feature that could not be compared."""
    event = {
        ResultStatus.MISSING_COLUMN: QualityEvent.COLUMN_MISSING,
        ResultStatus.TYPE_CHANGED: QualityEvent.TYPE_CHANGED,
    }.get(failed.reason)
    rows = scope.plan.window_rows[0]
    quality = () if event is None else (QualityFinding(event, rows, 1.0, failed.detail, is_notable=True),)
    fields = _first_fields(failed.feature, kind, scope)
    return fields | {"status": failed.reason, "status_detail": failed.detail, "quality": quality}


def column_rows(name: str, window: ColumnWindow, column: Column, plan: VerdictPlan, *, is_judged: bool) -> ColumnRows:
    """Return what the verdict needs of a column: the rows of the longest window."""
    longest, reference = max(plan.window_rows), window.reference
    if window.rows == longest:
        if isinstance(window, NumericWindow):
            return ColumnRows(name, reference, window.values, is_judged, ordered=window.finite, ranks=window.ranks)
        return ColumnRows(name, reference, window.column, is_judged, window.codes)
    latest = column.slice(len(column) - longest)
    return ColumnRows(name, reference, numbers_of(latest) if isinstance(window, NumericWindow) else latest, is_judged)


def status_of_sizes(n_reference: int, n_current: int) -> tuple[ResultStatus, str]:
    """Return OK, or that a sample has too few values."""
    fewer, side = min((n_reference, "reference"), (n_current, "window"))
    if fewer >= SMALLEST_SAMPLE:
        return ResultStatus.OK, ""
    return (
        ResultStatus.INSUFFICIENT_DATA,
        f"The {side} has {fewer or 'no'} values; a comparison needs {SMALLEST_SAMPLE}.",
    )


def _open(name: str, reference: PreparedColumn, column: "Column | None", scope: Scope) -> Fields | _Opened:
    if column is None:
        failed = NotCompared(name, ResultStatus.MISSING_COLUMN, "The window has no such column.")
        return not_compared_fields(failed, reference.kind, scope)
    if compared_kind(column.type) is not reference.kind:
        detail = f"The reference is {reference.kind}, the window's column is {column.type}."
        return not_compared_fields(NotCompared(name, ResultStatus.TYPE_CHANGED, detail), reference.kind, scope)
    window = open_window(reference, column, scope.plan.window_rows[0])
    status, detail = status_of_sizes(reference.n_values, window.n_values)
    if status is ResultStatus.OK and isinstance(reference, PreparedCategories):
        n_categories = len(reference.profile.categories)
        if n_categories > LARGEST_CATEGORY_SHARE * reference.n_values:
            status = ResultStatus.IDENTIFIER
            detail = f"{n_categories} categories in {reference.n_values} reference rows: an identifier is not compared."
    fields = _first_fields(name, reference.kind, scope) | {
        "status": status,
        "status_detail": detail,
        "n_reference": reference.n_values,
        "n_current": window.n_values,
        "n_missing_reference": reference.profile.n_missing,
        "n_missing_current": window.rows - window.n_values,
    }
    if status is ResultStatus.OK:
        definition = MEASURES.get(fields["method"])
        has_order = isinstance(window, NumericWindow)
        if definition is None or not (has_order or definition.categorical):
            fields["method"] = DEFAULT_METHODS[reference.kind]
    return _Opened(fields, window, column)


def _failed(name: str, kind: FeatureKind, error: Exception, scope: Scope) -> Fields:
    logger.error("Feature %r could not be compared.", name, exc_info=error)
    detail = f"The comparison failed: {type(error).__name__}: {error}"
    return not_compared_fields(NotCompared(name, ResultStatus.ERROR, detail), kind, scope)


def _measure(opened: Sequence[_Opened], *, with_details: bool) -> None:
    """Compute the measures of features side by side, all of them or the scores alone."""
    numbers = [each for each in opened if isinstance(each.window, NumericWindow)]
    categories = [each for each in opened if not isinstance(each.window, NumericWindow)]
    test_together([each.window for each in numbers if isinstance(each.window, NumericWindow)])
    for method, definition in MEASURES.items():
        for function, of_kind in ((definition.numeric, numbers), (definition.categorical, categories)):
            wanted = [each for each in of_kind if with_details or each.fields["method"] is method]
            if function is None or not wanted:
                continue
            windows: Any = [each.window for each in wanted]
            for each, measure in zip(wanted, function(windows), strict=True):
                each.measures[method] = measure


def _fields_of(each: _Opened, scope: Scope) -> Fields:
    """Return the result of a feature without its verdict."""
    fields, window = each.fields, each.window
    missing, n_missing = fields["n_missing_current"], fields["n_missing_reference"]
    rise = missing / window.rows - n_missing / scope.plan.reference_rows if window.rows else 0.0
    quality: list[QualityFinding] = []
    if rise > 0:
        latest = each.column.slice(len(each.column) - window.rows)
        quality.append(_missing_finding(fields["name"], latest, missing, n_missing, scope))
    if not each.is_measured:
        # If enough rows have too few values, the missing ones are a change of its own.
        are_missing = fields["n_current"] < SMALLEST_SAMPLE <= min(window.rows, fields["n_reference"])
        if are_missing and rise > fields["threshold"]:
            fields |= {"method": None, "score": rise, "is_drifted": True}
        return fields | {"quality": tuple(quality)}
    score, constant = each.measures[fields["method"]].value, window.constant
    fields |= {
        "score": score,
        "is_drifted": score is not None and score > fields["threshold"],
        "statistic": window.simple_test.statistic,
        "p_value": window.simple_test.p_value,
        "reference_mean": window.reference_mean,
        "current_mean": window.mean,
        "measures": each.measures if scope.with_details else {},
        "distribution": window.distribution() if scope.with_details else None,
    }
    quality += _value_findings(window, constant)
    if constant is not None and constant.reference_share == 1.0:
        detail = f"Every value of both is {constant.name}."
        fields |= {"status": ResultStatus.CONSTANT, "status_detail": detail, "score": 0.0, "is_drifted": False}
    return fields | {"quality": tuple(quality)}


def _tested_rows(each: _Opened, scope: Scope) -> ColumnRows | None:
    """Return what the verdict needs of a feature; None if there is no verdict or the window is too short."""
    if not scope.criteria.gives_verdict or each.window.rows < SMALLEST_SAMPLE:
        return None
    return column_rows(each.fields["name"], each.window, each.column, scope.plan, is_judged=each.is_measured)


def _missing_finding(name: str, latest: Column, missing: int, reference_missing: int, scope: Scope) -> QualityFinding:
    rows, reference_rows = len(latest), scope.plan.reference_rows
    share, before = missing / rows, reference_missing / reference_rows
    spread = scope.detector.dispersion(rows)[name].missing
    if isinstance(spread, OutcomeBlocks):
        p_value = share_p_values(*spread.counts(np.asarray(pc.is_null(latest, nan_is_null=True))))
    else:
        counts = missing, rows, reference_missing, reference_rows
        p_value = share_p_values(*counts, phi=spread.phi, nu=max(spread.nu, 1.0))
    return QualityFinding(
        event=QualityEvent.MISSING_VALUES,
        count=missing,
        share=share,
        detail=f"{share:.1%} are missing, {before:.1%} in the reference.",
        is_notable=share - before >= SMALLEST_MISSING_DIFFERENCE and float(p_value) <= QUALITY_SIGNIFICANCE,
    )


def _value_findings(window: ColumnWindow, constant: ConstantValue | None) -> list[QualityFinding]:
    """Return what is wrong with the values of a window: out of range, unseen, or all the same."""
    findings, n = [], window.n_values
    if isinstance(window, NumericWindow):
        values = window.reference.ordered.values
        low, high, m = float(values[0]), float(values[-1]), values.size
        below, above = int(window.ordered.searchsorted(low)), n - int(window.ordered.searchsorted(high, "right"))
        if outside := below + above:
            sides = [f"{below} below {low:g}"] * bool(below) + [f"{above} above {high:g}"] * bool(above)
            detail = f"{' and '.join(sides)}, where the reference ends."
            # The probability that as many rows of the window are the most extreme of both samples, on both sides.
            p_value = float((n / (n + m)) ** outside) * (1 + outside)
            is_notable = outside / n >= SMALLEST_QUALITY_SHARE and p_value <= QUALITY_SIGNIFICANCE
            findings.append(QualityFinding(QualityEvent.OUT_OF_RANGE, outside, outside / n, detail, is_notable))
    categories = window.categories
    if categories is not None and categories.n_unseen:
        shown = ", ".join(repr(name) for name in categories.unseen_names[:CATEGORIES_SHOWN])
        more = len(categories.unseen_names) - CATEGORIES_SHOWN
        detail = f"{shown}{f' and {more} more' if more > 0 else ''}."
        share, stands_alone = categories.n_unseen / n, window.test.unseen is not None
        event = QualityEvent.UNSEEN_CATEGORIES
        findings.append(QualityFinding(event, categories.n_unseen, share, detail, is_notable=stands_alone))
    if constant is not None and constant.reference_share**n <= QUALITY_SIGNIFICANCE:
        detail = f"Every value is {constant.name}; {constant.reference_share:.1%} of the reference are."
        findings.append(QualityFinding(QualityEvent.BECAME_CONSTANT, n, 1.0, detail, is_notable=True))
    return findings
