"""What of an answer is remembered: which rows, and which of their features."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.metrics import CAPTURE_SAMPLED_OUT
from inference.recorder import ObservationBatch, Recorder

DRAWN_BYTES = 8


@dataclass(frozen=True, slots=True)
class CaptureRule:
    """A model's capture policy, as the request path needs it.

    Attributes
    ----------
    sampling_rate
        Share of the rows that are remembered, above 0 and up to 1.
    never_stored
        Names of features whose values are left out.
    """

    sampling_rate: float = 1.0
    never_stored: frozenset[str] = frozenset()

    def captured(self, batch: ObservationBatch) -> ObservationBatch | None:
        """Return what is remembered of a batch; None where that is no row."""
        kept = self._stored_features_of(batch)
        if self.sampling_rate >= 1:
            return kept
        rows = drawn(batch.prediction_ids, self.sampling_rate)
        return rows_of_batch(kept, rows) if rows.any() else None

    def _stored_features_of(self, batch: ObservationBatch) -> ObservationBatch:
        if self.never_stored.isdisjoint(batch.columns):
            return batch
        features = tuple(feature for feature in batch.features if feature.name not in self.never_stored)
        columns = {feature.name: batch.columns[feature.name] for feature in features}
        return replace(batch, features=features, columns=columns)


def remember(batch: ObservationBatch, rule: CaptureRule, recorder: Recorder) -> None:
    """Record what the rule keeps of a batch, and count what it does not draw."""
    captured = rule.captured(batch)
    if captured is not None:
        recorder.record(captured)
    count_sampled_out(batch, captured)


def count_sampled_out(batch: ObservationBatch, captured: ObservationBatch | None) -> None:
    """Count the rows of a batch that are not remembered."""
    left_out = batch.rows - (captured.rows if captured else 0)
    if left_out:
        CAPTURE_SAMPLED_OUT.labels(batch.model_name).inc(left_out)


def drawn(prediction_ids: Sequence[bytes], rate: float) -> NDArray[np.bool_]:
    """Return which ids are drawn, shape (n,): a share `rate` of them, by a hash, so the same whenever it is asked.

    An id that is drawn at one rate is drawn at every higher one.
    """
    least_left_out = int(rate * 2 ** (8 * DRAWN_BYTES))
    points = (hashlib.blake2b(one, digest_size=DRAWN_BYTES).digest() for one in prediction_ids)
    return np.array([int.from_bytes(point, "big") < least_left_out for point in points], dtype=np.bool_)


def rows_of_batch(batch: ObservationBatch, rows: NDArray[np.bool_]) -> ObservationBatch:
    """Return those rows of a batch that `rows`, shape (n,), says."""
    return replace(
        batch,
        prediction_ids=[one for one, is_kept in zip(batch.prediction_ids, rows.tolist(), strict=True) if is_kept],
        columns={name: values[rows] for name, values in batch.columns.items()},
        predictions=batch.predictions[rows],
        confidence=None if batch.confidence is None else batch.confidence[rows],
        scores=None if batch.scores is None else batch.scores[rows],
        observed_at_us=_at(batch.observed_at_us, rows),
        latency_ms=_at(batch.latency_ms, rows),
    )


def _at(value: Any, rows: NDArray[np.bool_]) -> Any:
    """Return those values, or the one that all rows have."""
    return value[rows] if isinstance(value, np.ndarray) else value
