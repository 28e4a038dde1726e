"""Reading answers, with and without ground truth, as arrays."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from inference.archive import read_observations
from inference.prediction_lookup import SCORE_TYPE
from mlmon.schema import TaskType
from models_registry.class_scores import scores_matrix
from models_registry.models import ModelVersion
from performance.measures.answers import Answers, LabelledAnswers, scores_from_confidence
from performance.models import GroundTruth

COLUMNS = ("prediction", "confidence", "scores")
LABELLED_FIELDS = ("actual", "prediction", "confidence", "scores", "predicted_at", "observed_at")


def labelled_answers(
    version: ModelVersion, *, rows: int, since: datetime | None = None, until: datetime | None = None
) -> LabelledAnswers | None:
    """Return the newest predictions of a version that have ground truth, `rows` at most; None where there are none.

    Parameters
    ----------
    since, until
        Bounds of when they were predicted; `until` is not included.
    """
    wanted = GroundTruth.objects.filter(version=version, refusal="").order_by("-predicted_at", "-prediction_id")
    if since is not None:
        wanted = wanted.filter(predicted_at__gte=since)
    if until is not None:
        wanted = wanted.filter(predicted_at__lt=until)
    found = list(wanted.values_list(*LABELLED_FIELDS)[:rows])[::-1]
    if not found:
        return None
    actual, prediction, confidence, scores, predicted_at, observed_at = zip(*found, strict=True)
    return LabelledAnswers(
        answers=Answers(
            predicted=_outputs(version, prediction),
            scores=_scores(version, prediction, _floats(confidence), _unpacked(scores, len(version.classes))),
        ),
        actual=_outputs(version, actual),
        predicted_at=_times(predicted_at),
        observed_at=_times(observed_at),
    )


def captured_answers(
    version: ModelVersion, *, since: datetime | None = None, until: datetime | None = None, rows: int | None = None
) -> Answers | None:
    """Return what a version answered, as `inference.archive.read_observations` finds it; None where that is nothing."""
    return answers_of_table(
        version, read_observations(version.pk, since=since, until=until, rows=rows, columns=COLUMNS)
    )


def answers_of_table(version: ModelVersion, table: pa.Table) -> Answers | None:
    """Return the answers in captured observations, or in those to a reference; None where there are no rows."""
    if table.num_rows == 0:
        return None
    prediction = table.column("prediction").to_pylist()
    confidence = table.column("confidence") if "confidence" in table.column_names else None
    scores: Any = table.column("scores").combine_chunks() if "scores" in table.column_names else None
    return Answers(
        predicted=_outputs(version, prediction),
        scores=_scores(
            version,
            prediction,
            np.full(table.num_rows, np.nan) if confidence is None else _floats(confidence.to_pylist()),
            None if scores is None else scores_matrix(scores),
        ),
    )


def _outputs(version: ModelVersion, texts: Sequence[Any]) -> NDArray[Any]:
    kind = np.float64 if version.task_type == TaskType.REGRESSION else object
    return np.array(texts, dtype=kind)


def _floats(values: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _times(values: Sequence[datetime]) -> NDArray[np.datetime64]:
    return np.array([value.replace(tzinfo=None) for value in values], dtype="datetime64[us]")


def _unpacked(packed: Sequence[bytes | memoryview | None], width: int) -> NDArray[np.float64] | None:
    if all(one is None for one in packed):
        return None
    missing = np.full(width, np.nan)
    return np.array([missing if one is None else np.frombuffer(one, dtype=SCORE_TYPE) for one in packed], dtype=float)


def _scores(
    version: ModelVersion,
    prediction: Sequence[Any],
    confidence: NDArray[np.float64],
    recorded: NDArray[np.float64] | None,
) -> NDArray[np.float64] | None:
    if recorded is not None or version.task_type == TaskType.REGRESSION:
        return recorded
    return scores_from_confidence(np.array(prediction, dtype=object), confidence, version.classes)
