"""Numbers and durations as text, for every page and the terminal."""

import math
from datetime import datetime

UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60))
JUST_NOW_SECONDS = 10


def number_text(value: float, digits: int = 3) -> str:
    """Return a number with `digits` significant digits: "4.41", "1,040", "2.5e-07"."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    magnitude = math.floor(math.log10(abs(value)))
    if not -4 <= magnitude < 9:
        return f"{value:.{digits - 1}e}"
    return f"{value:,.{max(0, digits - 1 - magnitude)}f}"


def short_number_text(value: float, digits: int = 4) -> str:
    """Return a number with at most `digits` significant digits: 5 is "5", not "5.000"."""
    text = number_text(value, digits)
    return text if "." not in text or "e" in text else text.rstrip("0").rstrip(".")


def share_text(share: float, digits: int = 2) -> str:
    """Return a share between 0 and 1 as a percentage with `digits` significant digits: "6.0 %", "12 %", "0 %"."""
    percent = 100 * share
    if percent == 0 or abs(percent) >= 100:
        return f"{percent:.0f} %"
    if abs(percent) < 0.01:
        return "less than 0.01 %"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(percent))))
    return f"{percent:.{decimals}f} %"


def duration_text(seconds: float) -> str:
    """Return a duration in its largest unit and the next one: "1 hour, 25 minutes", "3 days", "42 seconds".

    Nothing is rounded up, and seconds are left out from a minute on.
    """
    whole = max(0, int(seconds))
    for place, (name, length) in enumerate(UNITS):
        if whole >= length:
            count, rest = divmod(whole, length)
            parts = [_counted(count, name)]
            if place + 1 < len(UNITS):
                next_name, next_length = UNITS[place + 1]
                parts += [_counted(rest // next_length, next_name)] if rest >= next_length else []
            return ", ".join(parts)
    return _counted(whole, "second") if whole else "less than a second"


def ago_text(at: datetime, now: datetime) -> str:
    """Return how long ago something was, in its largest unit: "5 minutes ago"; "just now" below 10 seconds."""
    seconds = (now - at).total_seconds()
    return "just now" if seconds < JUST_NOW_SECONDS else f"{duration_text(seconds).partition(', ')[0]} ago"


def _counted(count: int, name: str) -> str:
    return f"{count:,} {name}" if count == 1 else f"{count:,} {name}s"


def plain_text(text: str) -> str:
    """Return a string with control characters escaped, so that a terminal shows them and does not execute them."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
