"""Numbers and durations as text. Expected texts are worked out by hand."""

from datetime import UTC, datetime, timedelta

import pytest
from django.template import Context, Template

from mlmon.figures import ago_text, duration_text, number_text, share_text

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "less than a second"),
        (0.9, "less than a second"),
        (1, "1 second"),
        (59.9, "59 seconds"),
        (60, "1 minute"),
        (119, "1 minute"),
        (3_599, "59 minutes"),
        (3_600, "1 hour"),
        (5_100, "1 hour, 25 minutes"),
        (86_400 + 300, "1 day"),
        (86_400 * 3 + 7_200, "3 days, 2 hours"),
        (86_400 * 1_500, "1,500 days"),
    ],
)
def test_a_duration_has_its_largest_unit_and_the_next(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-60, "just now"),
        (9, "just now"),
        (10, "10 seconds ago"),
        (5_100, "1 hour ago"),
        (86_400 * 1_500, "1,500 days ago"),
    ],
)
def test_an_age_has_its_largest_unit(seconds: float, text: str) -> None:
    assert ago_text(NOW - timedelta(seconds=seconds), NOW) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0 %"),
        (0.00005, "less than 0.01 %"),
        (0.0034, "0.34 %"),
        (0.06, "6.0 %"),
        (0.1249, "12 %"),
        (1.0, "100 %"),
    ],
)
def test_shares_are_readable(share: float, text: str) -> None:
    assert share_text(share) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (4.4129, "4.41"),
        (1040.4, "1,040"),
        (-0.00123, "-0.00123"),
        (2.5e-7, "2.50e-07"),
        (3e12, "3.00e+12"),
        (float("inf"), "inf"),
    ],
)
def test_numbers_are_readable(value: float, text: str) -> None:
    assert number_text(value) == text


@pytest.mark.parametrize(("value", "text"), [(5, "5"), (12.5, "12.5"), (1_000_000, "1,000,000"), (2.5e-7, "2.500e-07")])
def test_templates_add_no_digits(value: float, text: str) -> None:
    assert Template("{% load figures %}{{ value|number }}").render(Context({"value": value})) == text


def test_templates_write_counts_with_commas() -> None:
    assert Template("{% load figures %}{{ value|count }}").render(Context({"value": 12_400})) == "12,400"
