"""Numbers and durations as text, for every page and the terminal."""

import math
import re
from collections.abc import Sequence
from datetime import datetime

UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60))
JUST_NOW_SECONDS = 10
MOST_DIGITS = 7  # of two numbers that are written differently
LONGEST_CATEGORY = 40  # characters
LONG_FRACTION = re.compile(r"-?\d{1,6}\.\d{9,}")


def number_text(value: float, digits: int = 3) -> str:
    """Return a number with `digits` significant digits: "4.41", "1,040", "2.5e-07"."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    magnitude = _magnitude(value, digits)
    if not -4 <= magnitude < 9:
        return f"{value:.{digits - 1}e}"
    return f"{value:,.{max(0, digits - 1 - magnitude)}f}"


def _magnitude(value: float, digits: int) -> int:
    """Return the power of ten of the first digit after rounding: 9.996 has three digits as 10.0, not as 10.00."""
    return int(f"{value:.{digits - 1}e}".partition("e")[2])


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
    return f"{percent:.{max(0, digits - 1 - _magnitude(percent, digits))}f} %"


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


def share_pair(first: float, second: float) -> tuple[str, str]:
    """Return two shares with enough digits to differ."""
    for digits in range(2, MOST_DIGITS + 1):
        pair = share_text(first, digits=digits), share_text(second, digits=digits)
        if pair[0] != pair[1]:
            break
    return pair


def number_pair(first: float, second: float) -> tuple[str, str]:
    """Return two numbers with enough digits to differ."""
    for digits in range(3, MOST_DIGITS + 1):
        pair = number_text(first, digits), number_text(second, digits)
        if pair[0] != pair[1]:
            break
    return pair


def category_text(name: str) -> str:
    """Return a category for a sentence: in quotation marks if it is not one word.

    A float32 number is written with its significant digits: 0.0599999986588955 is 0.06.
    """
    if LONG_FRACTION.fullmatch(name):
        return f"{float(name):.6g}"
    shown = name if len(name) <= LONGEST_CATEGORY else f"{name[: LONGEST_CATEGORY - 1]}…"
    if shown.isprintable() and shown and not any(character in shown for character in " ,\"'"):
        return shown
    return repr(shown)


def listing(words: Sequence[str], conjunction: str) -> str:
    """Return words as a list: "a", "a or b", "a, b or c"."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {conjunction} {words[-1]}"
