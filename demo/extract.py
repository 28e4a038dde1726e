"""Flights of the extract ``flight-delay-year.parquet``, as rows for the predict API with their outcomes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

FEATURES = (
    "carrier",
    "origin",
    "dest",
    "scheduled_hour",
    "distance",
    "seats",
    "plane_age",
    "wind_speed",
    "precip",
    "visib",
)
OUTCOMES = {True: "late", False: "on_time", None: None}
SHUFFLED = "shuffled"


@dataclass(frozen=True, slots=True)
class Flight:
    """One row of the extract.

    Attributes
    ----------
    period
        Where results of this flight are reported: its month, or `SHUFFLED`.
    outcome
        The true class; None if the flight was cancelled or diverted.
    """

    features: Mapping[str, Any]
    departs_at: datetime
    period: str
    outcome: str | None


def read_flights(path: Path, *, months: Sequence[int], limit: int | None, shuffle_seed: int | None) -> list[Flight]:
    """Return the flights of some months in the order of their scheduled departures, or shuffled.

    Parameters
    ----------
    path
        The extract, sorted by scheduled departure.
    months
        1 to 12, in New York.
    limit
        Maximum number of flights.
    shuffle_seed
        The same seed gives the same order. None keeps the order of the extract.
    """
    table = pq.read_table(path)
    rows = np.flatnonzero(np.isin(table["month"].to_numpy(), list(months)))
    if shuffle_seed is not None:
        rows = np.random.default_rng(shuffle_seed).permutation(rows)
    flights = []
    for row in table.take(rows[:limit]).to_pylist():
        departure = row["scheduled_departure"].replace(tzinfo=UTC)
        flights.append(
            Flight(
                features={name: row[name] for name in FEATURES},
                departs_at=departure,
                period=f"{date(departure.year, row['month'], 1):%B}" if shuffle_seed is None else SHUFFLED,
                outcome=OUTCOMES[row["late"]],
            )
        )
    return flights
