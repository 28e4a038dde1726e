"""The heat map of features over the last checks: steps of colour, marks and texts."""

from datetime import UTC, datetime, timedelta

import pytest

from drift.models import FeatureDrift
from drift.rendering.heat_map import ABOVE, LISTED, HeatColumn, heat_map

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)


def columns(count: int) -> list[HeatColumn]:
    return [HeatColumn(pk, BEGIN + timedelta(hours=pk), is_shown=pk == count) for pk in range(1, count + 1)]


def past(score: float | None, *, threshold: float = 0.2, confirmed: bool = False) -> FeatureDrift:
    is_drifted = score is not None and score > threshold
    return FeatureDrift(score=score, threshold=threshold, is_drifted=is_drifted, is_confirmed=confirmed)


@pytest.mark.parametrize(
    ("score", "step", "mark"),
    [
        (0.0, 0, ""),
        (0.049, 0, ""),
        (0.05, 1, ""),
        (0.1, 2, ""),
        (0.199, 2, ""),
        (0.2, 3, ""),  # at the threshold, not above it
        (0.21, 3, ABOVE),
        (0.4, 4, ABOVE),
        (9.0, 4, ABOVE),
        (-0.01, 0, ""),  # a debiased measure may be a little below 0
    ],
)
def test_a_score_has_its_step_and_mark(score: float, step: int, mark: str) -> None:
    found = heat_map(["age"], columns(2), {(1, "age"): past(score)})
    assert found is not None
    cell = found.rows[0].cells[0]
    assert (cell.step, cell.mark) == (step, mark)
    assert found.rows[0].cells[1].text == "not measured"


def test_rows_keep_their_order_and_have_a_summary_of_their_cells() -> None:
    scores = {
        (1, "age"): past(0.1),
        (2, "age"): past(0.3),
        (3, "age"): past(0.5, confirmed=True),
        (3, "city"): past(0.1, confirmed=True),
    }
    found = heat_map(["city", "age"], columns(3), scores)
    assert found is not None
    assert [row.name for row in found.rows] == ["city", "age"]
    assert [[cell.mark for cell in row.cells] for row in found.rows] == [["", "", LISTED], ["", ABOVE, LISTED]]
    assert found.rows[1].summary == "above its threshold in 2 of 3 checks, listed by the verdict in 1"
    assert found.rows[1].cells[2].text == "score 0.500, threshold 0.200; listed"
    assert [column.is_shown for column in found.columns] == [False, False, True]


def test_a_threshold_of_zero_divides_nothing() -> None:
    found = heat_map(["age"], columns(2), {(1, "age"): past(0.0, threshold=0.0), (2, "age"): past(0.1, threshold=0.0)})
    assert found is not None
    assert [cell.step for cell in found.rows[0].cells] == [0, 4]


def test_one_check_has_no_heat_map() -> None:
    assert heat_map(["age"], columns(1), {}) is None


def test_the_legend_has_a_text_for_every_step() -> None:
    found = heat_map([], columns(2), {})
    assert found is not None
    assert found.legend[0] == (0, "0 to 0.25 of the threshold")
    assert found.legend[-1] == (4, "2 times the threshold or more")
