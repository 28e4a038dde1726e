"""Numbers and durations as text. Expected texts are worked out by hand."""

from datetime import UTC, datetime, timedelta

import pytest
from django.template import Context, Template

from mlmon.figures import (
    ago_text,
    category_text,
    duration_text,
    listing,
    number_pair,
    number_text,
    share_pair,
    share_text,
    short_number_text,
)

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
        (0.126 - 0.116, "1.0 %"),  # .00999...
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
        (9.996, "10.0"),
        (-0.00123, "-0.00123"),
        (2.5e-7, "2.50e-07"),
        (3e12, "3.00e+12"),
        (float("inf"), "inf"),
    ],
)
def test_numbers_are_readable(value: float, text: str) -> None:
    assert number_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(5.0, "5"), (412.0, "412"), (412.34, "412.3"), (0.5, "0.5"), (12_345.0, "12,345"), (2.5e-7, "2.500e-07")],
)
def test_short_numbers_have_no_digits_that_say_nothing(value: float, text: str) -> None:
    assert short_number_text(value) == text


def test_two_numbers_or_shares_have_enough_digits_to_differ() -> None:
    assert number_pair(3.758, 4.413) == ("3.76", "4.41")
    assert number_pair(1013.24, 1013.31) == ("1,013.2", "1,013.3")
    assert number_pair(1.0, 1.0 + 1e-12) == ("1.000000", "1.000000")  # no more than seven
    assert share_pair(0.06, 0.0) == ("6.0 %", "0 %")
    assert share_pair(0.501, 0.503) == ("50.1 %", "50.3 %")


@pytest.mark.parametrize(
    ("words", "text"), [([], ""), (["a"], "a"), (["a", "b"], "a or b"), (["a", "b", "c"], "a, b or c")]
)
def test_words_are_listed(words: list[str], text: str) -> None:
    assert listing(words, "or") == text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ABQ", "ABQ"),
        ("New York", "'New York'"),
        ("", "''"),
        ("a\nb", "'a\\nb'"),
        ("x" * 50, "x" * 39 + "…"),
        # Numbers that were float32 have their significant digits.
        ("0.0599999986588955", "0.06"),
        ("-119.119999997", "-119.12"),
        ("0.06", "0.06"),
        ("1.2.3456789012", "1.2.3456789012"),
    ],
)
def test_categories_are_distinct_in_a_sentence(name: str, text: str) -> None:
    assert category_text(name) == text


@pytest.mark.parametrize(("value", "text"), [(5, "5"), (12.5, "12.5"), (1_000_000, "1,000,000"), (2.5e-7, "2.500e-07")])
def test_templates_add_no_digits(value: float, text: str) -> None:
    assert Template("{% load figures %}{{ value|number }}").render(Context({"value": value})) == text


def test_templates_write_counts_with_commas() -> None:
    assert Template("{% load figures %}{{ value|count }}").render(Context({"value": 12_400})) == "12,400"
