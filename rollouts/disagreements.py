"""Requests for which a shadow predicted another class than the champion, as examples for a person."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from inference.stream import read_window, redis_client
from mlmon.values import category_name
from rollouts.models import Rollout

SEARCHED_ROWS = 2_000  # the latest of each version
MOST_EXAMPLES = 10


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A request with both predictions.

    Attributes
    ----------
    prediction_id, predicted_at
        Of the request.
    champion, challenger
        The classes that the versions predicted.
    values
        The captured values by feature, as they are compared; "" for a missing one.
    """

    prediction_id: UUID
    predicted_at: datetime
    champion: str
    challenger: str
    values: Mapping[str, str]


def latest_disagreements(rollout: Rollout, *, most: int = MOST_EXAMPLES) -> list[Disagreement]:
    """Return the latest examples, newest first, among the captured rows; none for a canary or a regression.

    Raises
    ------
    redis.RedisError
        Redis, which has the latest rows, is unavailable.
    """
    if not rollout.is_shadow or rollout.started_at is None:
        return []
    client = redis_client()
    champion, challenger = (
        read_window(client, version_id, SEARCHED_ROWS) for version_id in (rollout.champion_id, rollout.challenger_id)
    )
    if not (champion.end_id and challenger.end_id) or not pa.types.is_string(challenger.table["prediction"].type):
        return []
    # A copy has the prediction id of its request.
    place = pc.index_in(challenger.table["prediction_id"], value_set=champion.table["prediction_id"].combine_chunks())
    theirs = champion.table["prediction"].take(place)  # null if the champion's row is not in its window
    is_later = pc.greater_equal(challenger.table["observed_at"], pa.scalar(rollout.started_at))
    is_different = pc.and_(is_later, pc.not_equal(challenger.table["prediction"], theirs))
    found = pc.indices_nonzero(is_different)[-most:]  # nulls are zero
    rows = challenger.table.take(found)
    features = challenger.features.take(found).to_pylist()
    columns = (rows[name].to_pylist() for name in ("prediction_id", "observed_at", "prediction"))
    examples = [
        Disagreement(
            UUID(bytes=prediction_id),
            observed_at.astimezone(UTC),
            of_champion,
            of_challenger,
            {name: _text(value) for name, value in values.items()},
        )
        for prediction_id, observed_at, of_challenger, of_champion, values in zip(
            *columns, theirs.take(found).to_pylist(), features, strict=True
        )
    ]
    return examples[::-1]


def _text(value: object) -> str:
    if isinstance(value, float):
        return category_name(value)
    return "" if value is None else str(value)
