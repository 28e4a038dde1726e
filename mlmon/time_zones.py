"""Time zones: whether a name is one, and the instants at which its clocks showed a time."""

import difflib
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

import numpy as np
from numpy.typing import NDArray

from mlmon.detection.phases import quarter_offsets
from mlmon.exceptions import TimeZoneError
from mlmon.values import shown

NOT_NAMES = frozenset({"Factory", "localtime"})  # of a zone, although some time zone databases have them


def check_time_zone(name: str) -> None:
    """Raise TimeZoneError, which suggests similar names, if the IANA database has no time zone of this name."""
    names = _time_zone_names()
    if name in names:
        return
    wanted = name.strip().replace(" ", "_").lower()
    spellings: dict[str, str] = {}
    for one in sorted(names, key=lambda one: (len(one), one)):
        if not any(character.isdigit() for character in one):  # Etc/GMT+2 is two hours behind UTC
            spellings.setdefault(one.lower(), one)
            spellings.setdefault(one.rpartition("/")[2].lower(), one)
    close = [wanted] if wanted in spellings else difflib.get_close_matches(wanted, spellings, n=3, cutoff=0.7)
    nearest = dict.fromkeys(spellings[spelling] for spelling in close)
    hint = f"Is it {' or '.join(nearest)}?" if nearest else "Use a name such as UTC, Europe/Berlin or America/New_York."
    raise TimeZoneError(f"There is no time zone {shown(name)}. {hint}")


@lru_cache(maxsize=1)
def _time_zone_names() -> frozenset[str]:
    return frozenset(available_timezones() - NOT_NAMES)  # which reads folders


def instants_of_clocks(local: NDArray[np.int64], zone: str) -> NDArray[np.int64]:
    """Return the first instant at which the clocks of a zone showed each time.

    Parameters
    ----------
    local
        Wall-clock times in microseconds, shape (rows,). One that the clocks skipped, because they were set forward, is
        moved forward by as much (`mlmon.detection.phases.local_times` then returns another time).
    zone
        The IANA name of the zone, with offsets as `local_times` needs them.

    Returns
    -------
    numpy.ndarray
        Microseconds since 1970 in UTC, shape (rows,).
    """
    first = datetime(1970, 1, 1, tzinfo=ZoneInfo(zone))
    # Added to a time with a zone, a duration moves its clock's hands.
    return local - quarter_offsets(local, lambda seconds: (first + timedelta(seconds=seconds)).utcoffset())
