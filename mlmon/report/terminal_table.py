"""A comparison as lines of text for a terminal."""

from collections.abc import Iterator, Sequence

from mlmon.figures import plain_text
from mlmon.report.views import FeatureView

LONGEST_NAME = 32
HEADINGS = ("feature", "state", "score", "threshold", "p-value", "effect", "missing", "quality", "what changed")
NUMBERS = slice(2, 8)  # the columns that are aligned to the right


def table_lines(features: Sequence[FeatureView]) -> Iterator[str]:
    """Yield a heading, a rule and a line for each feature; control characters of names are escaped."""
    rows = [_cells(feature) for feature in features]
    widths = [max(len(row[column]) for row in [HEADINGS, *rows]) for column in range(len(HEADINGS) - 1)]
    yield _line(HEADINGS, widths)
    yield "  ".join("-" * width for width in [*widths, len(HEADINGS[-1])])
    for row in rows:
        yield _line(row, widths)


def _cells(feature: FeatureView) -> tuple[str, ...]:
    name = plain_text(feature.name)
    return (
        name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…",
        feature.tag.text,
        feature.score,
        feature.threshold,
        feature.p_value,
        feature.effect,
        feature.missing,
        str(len(feature.quality) or "-"),
        plain_text(feature.what or feature.status_detail),
    )


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    columns = range(len(HEADINGS))[NUMBERS]
    padded = [
        cell.rjust(width) if index in columns else cell.ljust(width)
        for index, (cell, width) in enumerate(zip(cells, widths, strict=False))
    ]
    return "  ".join([*padded, cells[-1]]).rstrip()
