"""Judge whether the errors of a version have become more frequent or larger than those of its baseline."""

import numpy as np
from cattrs import unstructure
from numpy.typing import NDArray

from mlmon.detection.performance import (
    LONG_WINDOW,
    SMALLEST_BASELINE,
    DropStatus,
    PerformanceDrop,
    error_baseline,
    judge_performance,
)
from mlmon.schema import TaskType
from models_registry.models import ModelVersion, ReferenceDataset
from models_registry.selectors import active_reference, labelled_reference
from performance import selectors
from performance.measures.predictions import prediction_errors
from performance.models import GroundTruth, PerformanceBaseline, PerformanceReport


def judge_drop(report: PerformanceReport, *, last: PerformanceReport | None) -> None:
    """Fill in the drop of a report of the latest predictions.

    The baseline is the active reference if it has enough labels, and else the first labelled predictions in production.
    Each judgement costs a part of the false-alarm budget. The judgement of the last report is therefore kept until
    max(100, a tenth of the window) labels have arrived since, unless there is another baseline now.

    Parameters
    ----------
    report
        With `labels_changed_at`.
    last
        The version's report before it.
    """
    version = report.version
    policy = selectors.performance_policy_of(version.model)
    is_share = version.task_type != TaskType.REGRESSION
    baseline = _baseline(version)
    if isinstance(baseline, str):
        without = PerformanceDrop(DropStatus.INSUFFICIENT_DATA, is_share, "", 0, None, 0, reason=baseline)
        report.drop = unstructure(without)
        return
    name = str(baseline)
    if isinstance(baseline, ReferenceDataset):
        name = f"reference {baseline.pk}, {baseline.original_filename}"
    before = None if last is None else last.judged_drop
    if before is not None and (before.status == DropStatus.INSUFFICIENT_DATA or before.baseline != name):
        before = None
    if last is not None and before is not None and last.drop_includes_until is not None:
        new_labels = GroundTruth.objects.filter(version=version, refusal="", changed_at__gt=last.drop_includes_until)
        if new_labels.count() < max(100, policy.window_rows // 10):
            report.drop, report.drop_includes_until = last.drop, last.drop_includes_until
            return
    if isinstance(baseline, ReferenceDataset):
        errors, after = _reference_errors(version, baseline), None
    else:
        errors, after = np.frombuffer(baseline.errors, dtype="<f8").astype(np.float64), baseline.ended_at
    drop = judge_performance(
        error_baseline(name, errors, is_share=is_share, window_rows=policy.window_rows),
        selectors.latest_errors(version, rows=max(LONG_WINDOW, policy.window_rows), after=after),
        window_rows=policy.window_rows,
        false_alarm_budget=policy.false_alarm_budget,
        was_drop=before is not None and before.status == DropStatus.DROP,
    )
    report.drop, report.drop_includes_until = unstructure(drop), report.labels_changed_at


def _baseline(version: ModelVersion) -> ReferenceDataset | PerformanceBaseline | str:
    """Return the baseline of a version, or why it has none and what to do.

    The first labelled predictions in production are stored as soon as there are enough.
    """
    reference = active_reference(version.pk)
    if reference is not None and reference.predictions_file and (reference.labelled_rows or 0) >= SMALLEST_BASELINE:
        return reference
    stored = PerformanceBaseline.objects.filter(version=version).first()
    if stored is not None:
        return stored
    advice = f"upload reference data with at least {SMALLEST_BASELINE:,} labelled rows"
    if version.promoted_at is None:
        return (
            f"The active reference does not have {SMALLEST_BASELINE:,} labelled rows, and the version has never been "
            f"in production. Promote it, or {advice}."
        )
    first = selectors.new_baseline(version, rows=SMALLEST_BASELINE)
    if first.rows < SMALLEST_BASELINE:
        return (
            f"The first {SMALLEST_BASELINE:,} labelled predictions in production become the baseline; {first.rows:,} "
            f"have arrived. To judge earlier, {advice}."
        )
    first.save()
    return first


def _reference_errors(version: ModelVersion, reference: ReferenceDataset) -> NDArray[np.float64]:
    table = labelled_reference(reference)
    predictions = None if table is None else selectors.predictions_of_table(version, table)
    if table is None or predictions is None:
        return np.zeros(0)
    return prediction_errors(selectors.labels_array(version, table.column("actual").to_pylist()), predictions.predicted)
